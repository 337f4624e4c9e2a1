from __future__ import annotations

import torch

from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.root_head import RootNet, locate_root
from sahmr.types import CropCameras, RootMaps

K = torch.tensor([[[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]]).repeat(2, 1, 1)
CAMERAS = CropCameras(torch.tensor([[440.0, 160.0, 840.0, 560.0]] * 2), K)


def maps(peaks, depths):
    heatmap, depth = torch.zeros(2, 5, 5), torch.full((2, 5, 5), 99.0)
    for sample, (u, v) in enumerate(peaks):
        heatmap[sample, v, u], depth[sample, v, u] = 1.0, depths[sample]
    return RootMaps(heatmap, depth, torch.zeros(2, 1, 5, 5), torch.zeros(2, 1, 5, 5))


def test_root_by_hand():
    """Cell (4, 1) of 5 is pixel (840, 260); f2 = 1.2 at 400 px and fx 1000 is 3 m."""
    cell, root = locate_root(maps([(4, 1), (0, 0)], [1.2, 0.8]), CAMERAS)
    assert cell.tolist() == [[4, 1], [0, 0]]
    torch.testing.assert_close(root, torch.tensor([[0.6, -0.3, 3.0], [-0.4, -0.4, 2.0]]))


def test_first_of_equal_maxima_is_taken_row_by_row():
    flat = maps([(0, 0), (0, 0)], [1.0, 1.0])
    flat.root_heatmap.zero_()
    flat.root_heatmap[0, 1, 3] = flat.root_heatmap[0, 2, 0] = 7.0
    cell, _ = locate_root(flat, CAMERAS)
    assert cell.tolist() == [[3, 1], [0, 0]]


def test_root_carries_no_gradient():
    values = maps([(1, 1), (2, 2)], [1.0, 1.0])
    values.depth.requires_grad_()
    _, root = locate_root(values, CAMERAS)
    assert not root.requires_grad


def test_channels_are_heat_map_depth_features_and_contact():
    net = RootNet(HrnetSettings(width=4, stem_width=4, blocks=1, modules=(1, 1, 1)), 3, 8)
    channels = torch.arange(13.0)[None, :, None, None].expand(2, 13, 4, 4)
    named = net.split(channels)
    assert (named.root_heatmap[0, 0, 0], named.depth[0, 0, 0]) == (0, 1)
    assert named.features[0, :, 0, 0].tolist() == [2, 3, 4]
    assert named.contact[0, :, 0, 0].tolist() == list(range(5, 13))
    assert net(torch.zeros(1, 3, 64, 64)).contact.shape == (1, 8, 16, 16)
