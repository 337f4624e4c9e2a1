from __future__ import annotations

import numpy as np
import pytest
import torch

from sahmr.evaluation.metro_placement import place_metro
from sahmr.networks.metro import MetroPrediction
from sahmr.types import CropCameras

K = torch.tensor([[[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]])
CAMERAS = CropCameras(torch.tensor([[440.0, 160.0, 840.0, 560.0]]), K)


def metro(joints, vertices, camera):
    nothing = torch.zeros(len(joints), 1, 3)
    return MetroPrediction(joints, nothing, nothing, vertices, camera)


@pytest.fixture
def body():
    torch.manual_seed(0)
    return 0.4 * torch.randn(1, 14, 3), 0.4 * torch.randn(1, 30, 3)


def test_weak_perspective_body_stands_where_its_scale_says(body):
    """A metre is s x 112 crop pixels of 400/223 image pixels, so Z = fx / (s x 112 x 400/223)."""
    joints, vertices = body
    joints = joints * torch.tensor([1.0, 1.0, 0.05])  # flat, so that weak perspective is nearly exact
    scale = 0.9
    placed = place_metro(joints, metro(joints, vertices, torch.tensor([[scale, 0.1, -0.05]])), CAMERAS)
    depth = 1000 / (scale * 112 * 400 / 223)
    assert placed.found == (True,)
    centre = placed.joints_camera.mean(dim=1)[0] - joints.mean(dim=1)[0]
    # Shift t is in metres of the body; crop centre 112 lies at 112/223 of the box, not at its half.
    half_px = 440 + 112 / 223 * 400 - 640
    expected = torch.tensor([0.1 + half_px / 1000 * depth, -0.05 + half_px / 1000 * depth, depth])
    torch.testing.assert_close(centre, expected, atol=0.05 * depth, rtol=0)


def test_joints_project_where_the_crop_says(body):
    joints, vertices = body
    joints = joints * torch.tensor([1.0, 1.0, 0.2])
    placed = place_metro(joints, metro(joints, vertices, torch.tensor([[0.8, 0.0, 0.0]])), CAMERAS)
    pixels = placed.joints_camera[0, :, :2] / placed.joints_camera[0, :, 2:] * 1000 + K[0, :2, 2]
    crop = 112 * 0.8 * joints[0, :, :2] + 112
    expected = torch.tensor([440.0, 160.0]) + crop / 223 * 400
    assert float((pixels - expected).norm(dim=1).median()) < 10


def test_body_is_moved_rigidly(body):
    joints, vertices = body
    placed = place_metro(joints, metro(joints, vertices, torch.tensor([[0.8, 0.0, 0.0]])), CAMERAS)
    both = torch.cat([joints, vertices], dim=1)[0]
    moved = torch.cat([placed.joints_camera, placed.vertices_camera], dim=1)[0]
    torch.testing.assert_close(torch.pdist(moved), torch.pdist(both), atol=1e-5, rtol=1e-5)
    again = place_metro(joints, metro(joints, vertices, torch.tensor([[0.8, 0.0, 0.0]])), CAMERAS)
    assert torch.equal(again.vertices_camera, placed.vertices_camera)


def test_no_pose_leaves_the_body_at_the_origin(body):
    joints, vertices = body
    placed = place_metro(joints, metro(joints, vertices, torch.tensor([[np.nan, 0.0, 0.0]])), CAMERAS)
    assert placed.found == (False,)
    assert torch.equal(placed.vertices_camera, vertices)
