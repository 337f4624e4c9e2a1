from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from pipelines.geometry.rotations import rot6d_to_rotmat, rotmat_to_rotvec, rotvec_to_rotmat

rotvecs = arrays(np.float64, (4, 3), elements=st.floats(-2, 2))


def test_quarter_turn_about_z_by_hand():
    R = rotvec_to_rotmat(torch.tensor([0.0, 0.0, np.pi / 2], dtype=torch.float64))
    np.testing.assert_allclose(R.numpy(), [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-7)


def test_agrees_with_the_official_rodrigues(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        rotvec, expected = golden["in/geo/aa"], golden["out/geo/rodrigues"]
    found = rotvec_to_rotmat(torch.as_tensor(rotvec, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_agrees_with_the_official_inverse(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        rotmats, expected = golden["in/geo/rotmats"], golden["out/geo/rotmat_to_aa"]
    found = rotmat_to_rotvec(torch.as_tensor(rotmats, dtype=torch.float64))
    angles = np.linalg.norm(expected, axis=1)
    assert (np.linalg.norm(found.numpy(), axis=1) <= np.pi + 1e-9).all()
    # At exactly half a turn both signs are right; the recorded numbers come from float32 matrices.
    for ours, theirs, angle in zip(found.numpy(), expected, angles, strict=True):
        same = np.abs(ours - theirs).max()
        other = np.abs(ours + theirs).max() if angle > np.pi - 1e-3 else np.inf
        assert min(same, other) < 1e-6


@given(rotvecs)
def test_matrices_are_rotations_and_agree_with_scipy(rotvec):
    R = rotvec_to_rotmat(torch.as_tensor(rotvec)).numpy()
    np.testing.assert_allclose(R, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-6)


@given(rotvecs)
def test_round_trip_below_half_a_turn(rotvec):
    angle = np.linalg.norm(rotvec, axis=1, keepdims=True)
    rotvec = rotvec * np.minimum(1, 3 / np.maximum(angle, 1e-12))
    back = rotmat_to_rotvec(rotvec_to_rotmat(torch.as_tensor(rotvec))).numpy()
    np.testing.assert_allclose(back, rotvec, atol=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 1e-6, 90.0, 179.0, 179.9999, 180.0, 200.0])
def test_inverse_gives_the_shorter_way_round(degrees):
    R = torch.as_tensor(Rotation.from_euler("x", degrees, degrees=True).as_matrix())
    shorter = np.radians(min(degrees, 360 - degrees))
    np.testing.assert_allclose(np.linalg.norm(rotmat_to_rotvec(R).numpy()), shorter, atol=1e-7)


def test_gradient_is_finite_at_rest():
    rotvec = torch.zeros(2, 3, requires_grad=True)
    rotvec_to_rotmat(rotvec).square().sum().backward()
    assert rotvec.grad is not None
    assert torch.isfinite(rotvec.grad).all()


def test_inverse_has_a_finite_gradient_at_rest():
    rotmat = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1).requires_grad_()
    rotmat_to_rotvec(rotmat).sum().backward()
    assert rotmat.grad is not None
    assert torch.isfinite(rotmat.grad).all()


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_gradients_of_all_conversions(scale):
    generator = torch.Generator().manual_seed(1)
    rotvec = scale * torch.randn(3, 3, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(rotvec_to_rotmat, rotvec.clone().requires_grad_())
    columns = torch.randn(3, 3, 2, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(rot6d_to_rotmat, columns.requires_grad_())


def test_round_trip_has_the_identity_as_derivative():
    rotvec = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda r: rotmat_to_rotvec(rotvec_to_rotmat(r)), rotvec
    )
    np.testing.assert_allclose(jacobian.numpy(), np.eye(3), atol=1e-6)


def test_rot6d_keeps_the_columns_of_a_rotation():
    R = torch.as_tensor(Rotation.random(5, random_state=0).as_matrix())
    np.testing.assert_allclose(rot6d_to_rotmat(R[..., :2]).numpy(), R.numpy(), atol=1e-12)


def test_rot6d_makes_a_rotation_of_any_two_columns():
    columns = torch.randn(7, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    R = rot6d_to_rotmat(columns)
    np.testing.assert_allclose((R.mT @ R).numpy(), np.broadcast_to(np.eye(3), (7, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(torch.linalg.det(R).numpy(), 1, atol=1e-12)
    cosine = torch.nn.functional.cosine_similarity(R[..., 0], columns[..., 0], dim=-1)
    np.testing.assert_allclose(cosine.numpy(), 1, atol=1e-12)
