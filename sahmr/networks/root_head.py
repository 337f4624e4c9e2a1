"""The root branch of RCNet: image -> maps -> the root's pixel and depth -> initial root r0.

Source: SA-HMR, lib/networks/pose/root_contact/rc_net.py and supplement section 1.1, as told in the networks
page, section 3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sahmr.networks.crop_geometry import back_project, image_from_heatmap
from sahmr.networks.hrnet import Hrnet, HrnetSettings
from sahmr.types import CropCameras, RootMaps


class RootNet(nn.Module):
    """HRNet and one 1x1 convolution that yields all maps."""

    def __init__(self, backbone: HrnetSettings, feature_channels: int, contact_maps: int) -> None:
        super().__init__()
        self.channels = (1, 1, feature_channels, contact_maps)
        self.backbone = Hrnet(backbone)
        self.maps = nn.Conv2d(backbone.width, sum(self.channels), 1)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> RootMaps:
        """Maps f1 to f4 of normalised crops, at a quarter of their size."""
        return self.split(self.maps(self.backbone(images)))

    def split(self, maps: Float[Tensor, "batch channels height width"]) -> RootMaps:
        """Name the channels."""
        heatmap, depth, features, contact = maps.split(self.channels, dim=1)
        return RootMaps(heatmap[:, 0], depth[:, 0], features, contact)


@torch.no_grad()
def locate_root(
    maps: RootMaps, cameras: CropCameras
) -> tuple[Int[Tensor, "batch 2"], Float[Tensor, "batch 3"]]:
    """Heat map cell (u, v) of the maximum, and the root behind it at the depth read there.

    Outside the gradient: f1 and f2 learn from their own losses.
    """
    width = maps.root_heatmap.shape[2]
    peak = maps.root_heatmap.flatten(1).argmax(dim=1)  # row by row, whole cells
    cell = torch.stack([peak % width, peak // width], dim=1)
    depth_m = maps.depth.flatten(1).gather(1, peak[:, None])[:, 0] * cameras.unit_depth_m
    pixel = image_from_heatmap(cell, cameras, width)
    return cell, back_project(pixel, depth_m, cameras.K)
