from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pipelines.geometry.transforms import (
    invert,
    is_rigid,
    rigid,
    to_tensor,
    transform_plane,
    transform_points,
)

vectors = arrays(np.float64, 3, elements=st.floats(-3, 3))
clouds = arrays(np.float64, (5, 3), elements=st.floats(-10, 10))


def rotation_about_z(degrees: float) -> np.ndarray:
    return Rotation.from_euler("z", degrees, degrees=True).as_matrix()


def any_rigid(rotvec: np.ndarray, translation: np.ndarray) -> np.ndarray:
    return rigid(Rotation.from_rotvec(rotvec).as_matrix(), translation)


def test_quarter_turn_then_shift_by_hand():
    T = rigid(rotation_about_z(90), np.array([10.0, 0.0, 0.0]))
    np.testing.assert_allclose(transform_points(T, np.array([1.0, 2.0, 3.0])), [8, 1, 3], atol=1e-15)


@given(vectors, vectors, clouds)
def test_round_trip_returns_the_same_points(rotvec, translation, points):
    T = any_rigid(rotvec, translation)
    np.testing.assert_allclose(
        transform_points(invert(T), transform_points(T, points)), points, atol=1e-9
    )


@given(vectors, vectors, vectors, vectors, clouds)
def test_composition_cancels_the_inner_frame(r1, t1, r2, t2, points):
    T_c_from_b, T_b_from_a = any_rigid(r1, t1), any_rigid(r2, t2)
    stepwise = transform_points(T_c_from_b, transform_points(T_b_from_a, points))
    np.testing.assert_allclose(transform_points(T_c_from_b @ T_b_from_a, points), stepwise, atol=1e-9)


@given(vectors, vectors, vectors, st.floats(-4, 4), clouds)
def test_points_keep_their_distance_to_a_moved_plane(rotvec, translation, direction, offset, points):
    length = np.linalg.norm(direction)
    plane = np.append(direction / length if length > 1e-3 else [0.0, 0.0, 1.0], offset)
    T = any_rigid(rotvec, translation)
    moved = transform_plane(T, plane)
    before = points @ plane[:3] - plane[3]
    after = transform_points(T, points) @ moved[:3] - moved[3]
    np.testing.assert_allclose(after, before, atol=1e-8)


def test_floor_below_a_camera_has_negative_offset():
    """Camera one metre above z = 0, looking along +y: up is -y in the camera, n . x = -1 below it."""
    forward_to_y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    T_world_from_camera = rigid(forward_to_y, np.array([0.0, 0.0, 1.0]))
    floor = transform_plane(invert(T_world_from_camera), np.array([0.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(floor, [0, -1, 0, -1], atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_keep_their_dtype_and_agree_with_arrays(dtype):
    T = any_rigid(np.array([0.3, -0.2, 1.0]), np.array([1.0, 2.0, 3.0]))
    points = np.random.default_rng(0).standard_normal((2, 4, 3))
    moved = transform_points(torch.as_tensor(T), torch.as_tensor(points, dtype=dtype))
    assert moved.dtype == dtype
    np.testing.assert_allclose(moved.numpy(), transform_points(T, points), atol=1e-6)
    assert transform_points(T, points.astype(np.float32)).dtype == np.float32


def test_gradient_reaches_the_points():
    T = torch.as_tensor(any_rigid(np.array([0.1, 0.2, 0.3]), np.ones(3)))
    points = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda p: transform_points(T, p), points.requires_grad_())


@pytest.mark.parametrize(
    ("spoil", "rigid_still"),
    [
        (lambda T: T, True),
        (lambda T: np.diag([1.0, 1.0, -1.0, 1.0]) @ T, False),
        (lambda T: np.diag([1.1, 1.0, 1.0, 1.0]) @ T, False),
        (lambda T: T + np.array([[0.0] * 4] * 3 + [[0, 0, 0.1, 0]]), False),
        (lambda T: T * np.nan, False),
    ],
    ids=["rotation", "mirror", "scale", "last row", "nan"],
)
def test_only_proper_rotations_are_rigid(spoil, rigid_still):
    T = any_rigid(np.array([0.4, 0.5, -0.6]), np.array([1.0, 2.0, 3.0]))
    assert is_rigid(spoil(T)) == rigid_still


def test_tensor_of_a_record_owns_its_memory():
    array = np.zeros(3)
    to_tensor(array).add_(1)
    to_tensor(array, torch.float64).add_(1)
    assert (array == 0).all()
