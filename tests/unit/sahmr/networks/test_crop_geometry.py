from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import DataInvalid
from pipelines.geometry.cameras import project_pinhole
from sahmr.networks.crop_geometry import (
    back_project,
    image_from_heatmap,
    in_frustum,
    require_finite,
    sample_map,
    unit_in_box,
)
from sahmr.types import CropCameras

K = torch.tensor([[[1000.0, 0.0, 640.0], [0.0, 1100.0, 360.0], [0.0, 0.0, 1.0]]])
CAMERAS = CropCameras(torch.tensor([[440.0, 160.0, 840.0, 560.0]]), K)


def test_back_projection_by_hand():
    point = back_project(torch.tensor([[740.0, 470.0]]), torch.tensor([2.0]), K)
    torch.testing.assert_close(point, torch.tensor([[0.2, 0.2, 2.0]]))


@given(u=st.floats(0, 1280), v=st.floats(0, 720), depth=st.floats(0.3, 20))
def test_projection_undoes_back_projection(u, v, depth):
    pixel = torch.tensor([[u, v]], dtype=torch.float64)
    point = back_project(pixel, torch.tensor([depth], dtype=torch.float64), K.double())
    torch.testing.assert_close(project_pinhole(point, K.double()), pixel)


def test_heat_map_corners_lie_on_the_box_corners():
    corners = image_from_heatmap(torch.tensor([[0, 55]]), CAMERAS, 56)
    torch.testing.assert_close(corners, torch.tensor([[440.0, 560.0]]))


def test_unit_depth_is_that_of_one_metre_per_box_width():
    """f2 = Z (box width) / fx: 400 px wide boxes at fx 1000 read 1 at 2.5 m."""
    assert float(CAMERAS.unit_depth_m) == 2.5


def test_fractions_of_the_box_by_hand():
    points = torch.tensor([[0.0, 0.0, 2.0], [0.2, 0.0, 1.0]])
    found = unit_in_box(points, torch.tensor([0, 0]), CAMERAS)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [1.0, 0.5]]))


def test_sampled_map_equals_grid_sample_in_and_outside_the_box():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    unit, batch = 1.6 * torch.rand(40, 2, dtype=torch.float64) - 0.3, torch.randint(0, 2, (40,))
    expected = torch.stack(
        [
            F.grid_sample(maps[b][None], 2 * p[None, None, None] - 1, align_corners=True)[0, :, 0, 0]
            for p, b in zip(unit, batch, strict=True)
        ]
    )
    torch.testing.assert_close(sample_map(maps, unit, batch), expected)


def test_sampled_map_has_the_right_gradient():
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    unit = torch.rand(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda m: sample_map(m, unit, torch.zeros(3, dtype=torch.long)), (maps,)
    )


def test_frustum_equals_six_planes_in_the_world():
    """The released test: outward normals of the faces of the unprojected box, origin behind none."""
    torch.manual_seed(0)
    points = torch.randn(4000, 3, dtype=torch.float64) * torch.tensor([2.0, 2.0, 6.0]) + torch.tensor(
        [0, 0, 6.0]
    )
    left, up, right, down = CAMERAS.boxes_px[0]
    corners = torch.tensor([[left, up], [right, up], [right, down], [left, down]], dtype=torch.float64)
    near, far = (
        back_project(corners, torch.full((4,), z).double(), K.double().expand(4, 3, 3))
        for z in (0.5, 12.5)
    )
    corners = torch.cat([near, far])
    inside = torch.ones(4000, dtype=torch.bool)
    for o, a, b in ((0, 4, 3), (0, 1, 4), (1, 2, 5), (2, 3, 6), (1, 0, 2), (4, 5, 7)):
        normal = torch.linalg.cross(corners[a] - corners[o], corners[b] - corners[o])
        inside &= (points - corners[o]) @ normal <= 0
    cameras = CropCameras(CAMERAS.boxes_px.double(), K.double())
    found = in_frustum(points, torch.zeros(4000, dtype=torch.long), cameras)
    assert torch.equal(found, inside)
    assert 100 < int(found.sum()) < 3900


def test_points_behind_the_camera_and_not_finite_ones_are_outside():
    points = torch.tensor([[0.0, 0, -2], [0, 0, 0], [0, 0, float("nan")], [0, 0, 2], [0, 0, 13]])
    found = in_frustum(points, torch.zeros(5, dtype=torch.long), CAMERAS)
    assert found.tolist() == [False, False, False, True, False]


def test_values_that_are_not_finite_are_refused_by_sample():
    images = torch.zeros(3, 3, 4, 4)
    require_finite("images", images)
    images[1, 2, 3, 3] = float("inf")
    with pytest.raises(DataInvalid, match=r"images hold values that are not finite[\s\S]*samples \[1\]"):
        require_finite("images", images)
