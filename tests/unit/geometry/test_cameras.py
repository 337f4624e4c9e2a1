from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pipelines.geometry.cameras import RigCamera, project_pinhole
from pipelines.geometry.transforms import invert, rigid, transform_points

K_BY_HAND = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])


def camera(k: tuple[float, ...], T: np.ndarray | None = None, K: np.ndarray = K_BY_HAND) -> RigCamera:
    return RigCamera(K, np.array(k, dtype=np.float64), np.eye(4) if T is None else T, 1920, 1080)


@pytest.mark.parametrize(
    ("k", "expected"),
    [((0.1, 0, 0, 0, 0), (1161.0, 640.5)), ((0.1, 0, 0.01, -0.02, 0), (1158.8, 640.4))],
)
def test_distorted_projection_by_hand(k, expected):
    """Datasets page 1.6."""
    found = camera(k).project(np.array([[0.2, 0.1, 1.0]]))
    np.testing.assert_allclose(found, [expected], atol=1e-9)


def test_unprojection_by_hand():
    ray = camera((0.1, 0, 0, 0, 0)).rays(np.array([[1161.0, 640.5]]))
    np.testing.assert_allclose(ray * 2, [[0.4, 0.2, 2.0]], atol=1e-9)


def test_depth_pixel_to_colour_pixel_by_hand():
    """Datasets page 1.6: that point lies at (0.35, 0.2, 2) of a colour camera 5 cm to the right."""
    T = rigid(np.eye(3), np.array([-0.05, 0.0, 0.0]))
    infrared, color = camera((0.1, 0, 0, 0, 0)), camera((0, 0, 0, 0, 0), T)
    point_rig = infrared.points_to_rig(infrared.rays(np.array([[1161.0, 640.5]])) * 2)
    np.testing.assert_allclose(transform_points(T, point_rig), [[0.35, 0.2, 2.0]], atol=1e-9)
    np.testing.assert_allclose(color.project(point_rig), [[1135.0, 640.0]], atol=1e-6)


@given(arrays(np.float64, (6, 2), elements=st.floats(-0.7, 0.7)), st.floats(0.3, 8))
def test_unprojection_undoes_projection(plane, depth):
    # Kinect-like distortion: monotonic out to the corners of the image.
    eye = camera((0.03, -0.04, 0.001, -0.001, 0.002))
    points = np.column_stack([plane, np.ones(len(plane))]) * depth
    np.testing.assert_allclose(eye.rays(eye.project_camera(points)) * depth, points, atol=1e-6 * depth)


def test_strong_infrared_distortion_is_undone_in_the_corners():
    K = np.array([[365.0, 0, 257], [0, 365.0, 205], [0, 0, 1]])
    infrared = RigCamera(K, np.array([0.09, -0.27, 0.0, 0.0, 0.09]), np.eye(4), 512, 424)
    corners = np.array([[0.0, 0.0], [511, 0], [0, 423], [511, 423]])
    np.testing.assert_allclose(infrared.project_camera(infrared.rays(corners)), corners, atol=1e-6)


@given(
    arrays(np.float64, 3, elements=st.floats(-1, 1)), arrays(np.float64, 3, elements=st.floats(-1, 1))
)
def test_rig_and_camera_frames_are_inverse(rotvec, translation):
    T = rigid(Rotation.from_rotvec(rotvec).as_matrix(), translation)
    points = np.random.default_rng(0).standard_normal((5, 3)) + np.array([0, 0, 4])
    eye = camera((0.1, 0, 0, 0, 0), T)
    rig = eye.points_to_rig(points)
    np.testing.assert_allclose(rig, transform_points(invert(T), points), atol=1e-9)
    np.testing.assert_allclose(eye.project(rig), eye.project_camera(points), atol=1e-6)


def test_no_points_give_no_pixels():
    eye = camera((0, 0, 0, 0, 0))
    assert eye.project(np.zeros((0, 3))).shape == (0, 2)
    assert eye.rays(np.zeros((0, 2))).shape == (0, 3)


def test_bodies_are_projected_without_distortion():
    points = torch.tensor([[0.2, 0.1, 1.0], [-0.4, 0.2, 2.0]], dtype=torch.float64)
    pixels = project_pinhole(points, torch.as_tensor(K_BY_HAND))
    np.testing.assert_allclose(pixels.numpy(), [[1160, 640], [760, 640]], atol=1e-12)
    undistorted = camera((0, 0, 0, 0, 0)).project_camera(points.numpy())
    np.testing.assert_allclose(pixels.numpy(), undistorted, atol=1e-9)


def test_projection_has_the_right_gradient_for_batches():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator)
    points[..., 2] += 5
    K = torch.as_tensor(K_BY_HAND)
    assert torch.autograd.gradcheck(lambda p: project_pinhole(p, K), points.requires_grad_())
