from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.motion_prior.canonical import (
    from_local_frame,
    heading_rotmat,
    parse_floor,
    pelvis_offset,
    planar_shift,
    prior_frame,
    to_local_frame,
)
from pipelines.motion_prior.state import angular_velocity, linear_velocity, pack


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual.reshape(expected.shape) - expected).abs().max() / expected.abs().max())


def test_rotations_agree_with_the_official_code(goldens):
    assert relative(rotvec_to_rotmat(goldens.given("geo/aa")), goldens.recorded("geo/rodrigues")) < 1e-7
    rotvec = rotmat_to_rotvec(goldens.given("geo/rotmats"))
    assert relative(rotvec, goldens.recorded("geo/rotmat_to_aa")) < 1e-7


def test_floor_is_split_as_officially(goldens):
    normal, offset = parse_floor(goldens.given("geo/floor3"))
    found = torch.cat([normal, offset[:, None]], dim=-1)
    assert relative(found, goldens.recorded("geo/floor4")) < 1e-12


def test_floor_below_a_camera_has_a_negative_offset():
    normal, offset = parse_floor(torch.tensor([0.0, 1.5, 0.0]))
    assert normal.tolist() == [0, -1, 0]
    assert float(offset) == -1.5


def test_prior_frame_agrees_with_the_official_code(goldens):
    transl, root = goldens.given("geo/trans"), rotvec_to_rotmat(goldens.given("geo/root_aa"))
    frame = prior_frame(goldens.given("geo/floor3"), transl, root, goldens.given("geo/joints")[:, 0])
    assert relative(frame.R_prior_from_camera, goldens.recorded("geo/cam2prior_R")) < 1e-7
    assert relative(-frame.origin_camera, goldens.recorded("geo/cam2prior_t")) < 1e-12
    assert relative(frame.pelvis_height_m, goldens.recorded("geo/cam2prior_root_height")) < 1e-7


def test_heading_agrees_with_the_official_code(goldens):
    root = goldens.given("geo/root_rot")
    expected = goldens.recorded("geo/world2aligned")
    assert relative(heading_rotmat(root, "acos"), expected) < 1e-12
    assert relative(heading_rotmat(root, "atan2"), expected) < 1e-5


def test_velocities_agree_with_the_official_code(goldens):
    positions = goldens.given("geo/vel_pos")
    found = linear_velocity(positions.flatten(-2)).unflatten(-1, (22, 3))
    assert relative(found, goldens.recorded("geo/lin_vel")) < 1e-9
    assert (
        relative(angular_velocity(goldens.given("geo/vel_rot")), goldens.recorded("geo/ang_vel")) < 1e-9
    )


def test_turning_about_z_has_that_angular_velocity():
    angles = torch.arange(5.0, dtype=torch.float64) * 0.01
    rotvecs = torch.stack([angles * 0, angles * 0, angles], dim=-1)
    found = angular_velocity(rotvec_to_rotmat(rotvecs), 30.0)
    torch.testing.assert_close(found[2], torch.tensor([0, 0, 0.3]).double(), rtol=1e-3, atol=1e-9)


def _window(seed: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return {
        "floor": torch.tensor([[0.05, 1.4, 0.3]]).double() + 0.1 * draw(1, 3),
        "transl": draw(1, 6, 3),
        "root": rotvec_to_rotmat(draw(1, 6, 3)),
        "rest_pelvis": torch.tensor([[0.01, -0.25, 0.03]]).double(),
    }


@given(st.integers(0, 10_000))
def test_window_goes_to_the_prior_frame_and_back(seed):
    w = _window(seed)
    frame = prior_frame(
        w["floor"], w["transl"][:, 0], w["root"][:, 0], w["transl"][:, 0] + w["rest_pelvis"]
    )
    root, transl = frame.from_camera(w["root"], w["transl"], w["rest_pelvis"])
    root_back, transl_back = frame.to_camera(root, transl)
    torch.testing.assert_close(root_back, w["root"], rtol=0, atol=1e-10)
    torch.testing.assert_close(transl_back, w["transl"], rtol=0, atol=1e-10)
    # Key frame: at the origin, right along +x, pelvis joint at its height above the floor.
    torch.testing.assert_close(transl[0, 0, :2], torch.zeros(2).double(), rtol=0, atol=1e-10)
    assert abs(float(root[0, 0, 1, 0])) < 1e-10
    assert float(root[0, 0, 0, 0]) < 0
    height = float(transl[0, 0, 2] + w["rest_pelvis"][0, 2])
    assert math.isclose(height, float(frame.pelvis_height_m), abs_tol=1e-10)


def test_frame_has_gradients_everywhere():
    w = _window(3)
    inputs = [w["floor"], w["transl"], w["root"], w["rest_pelvis"]]

    def carry(floor, transl, root, rest):
        frame = prior_frame(floor, transl[:, 0], root[:, 0], transl[:, 0] + rest)
        return frame.from_camera(root, transl, rest)

    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(carry, inputs)


def test_local_frame_and_back(goldens):
    states = goldens.state("infer")
    R, shift = heading_rotmat(states.root_rotmat), planar_shift(states.transl)
    pivot = pelvis_offset(states[:, :1])
    there = to_local_frame(states, R, shift, pivot)
    back = from_local_frame(there, R, shift, pivot)
    torch.testing.assert_close(pack(back), pack(states), rtol=0, atol=1e-12)
    assert float(there.transl[..., :2].abs().max()) < 1e-12
