from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthetic.inverse_kinematics import (
    LimbRest,
    angle_about,
    apply,
    blend,
    bone_frame,
    fraction_of,
    rotmat_about,
    rotmat_to_rotvec,
    smallest_rotation,
    solve_two_bone,
    unit,
)

LEG = LimbRest(np.array([0.01, -0.4, 0.0]), np.array([0.0, -0.42, -0.02]), np.array([0.0, 0.0, 1.0]))


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    turned = apply(rotmat_about(np.array([0.0, 0.0, 1.0]), np.array(np.pi / 2)), np.array([1.0, 0, 0]))
    np.testing.assert_allclose(turned, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(
    "target", [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.3, -0.2, 0.9]]
)
def test_smallest_rotation_reaches_its_target_even_when_opposite(target: list[float]) -> None:
    R = smallest_rotation(np.array([1.0, 0.0, 0.0]), np.array(target))
    np.testing.assert_allclose(R @ [1.0, 0, 0], unit(np.array(target)), atol=1e-9)
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_half_of_a_turn_done_twice_is_the_turn() -> None:
    R = rotmat_about(np.array([1.0, 2.0, 3.0]), np.array(1.3))
    half = fraction_of(R, 0.5)
    np.testing.assert_allclose(half @ half, R, atol=1e-12)
    np.testing.assert_allclose(blend(np.eye(3), R, np.array(0.5)), half, atol=1e-12)


def test_angle_about_an_axis_ignores_what_lies_along_it() -> None:
    up = np.array([0.0, 0.0, 1.0])
    angle = angle_about(up, np.array([1.0, 0.0, 5.0]), np.array([0.0, 2.0, -3.0]))
    assert angle == pytest.approx(np.pi / 2)


@given(
    st.floats(0.3, 0.8),
    st.floats(-1.2, 1.2),
    st.floats(-1.2, 1.2),
)
def test_two_bones_reach_the_target_and_bend_one_way(distance: float, tilt: float, turn: float) -> None:
    direction = apply(
        rotmat_about(np.array([1.0, 0, 0]), np.array(tilt))
        @ rotmat_about(np.array([0, 0, 1.0]), np.array(turn)),
        np.array([0.0, -1.0, 0.0]),
    )
    start, target = np.array([0.1, 0.9, 0.0]), np.array([0.1, 0.9, 0.0]) + distance * direction
    pole = apply(rotmat_about(np.array([1.0, 0, 0]), np.array(tilt)), np.array([0.0, 0.0, 1.0]))
    upper, lower = solve_two_bone(LEG, start, target, pole)
    end = start + upper @ LEG.upper + lower @ LEG.lower
    np.testing.assert_allclose(end, target, atol=1e-9)
    flexion = rotmat_to_rotvec(upper.T @ lower)
    assert flexion[0] >= -1e-6, "a knee bends backwards only"
    assert np.abs(flexion[1:]).max() < 0.05, "a knee is a hinge"


def test_a_limb_at_rest_is_not_turned() -> None:
    upper, lower = solve_two_bone(LEG, np.zeros(3), LEG.upper + LEG.lower, LEG.pole)
    np.testing.assert_allclose(rotmat_to_rotvec(upper), 0, atol=0.03)
    np.testing.assert_allclose(rotmat_to_rotvec(lower), 0, atol=0.03)


def test_a_target_out_of_reach_is_approached_along_the_straight_limb() -> None:
    target = np.array([0.0, -3.0, 0.0])
    upper, lower = solve_two_bone(LEG, np.zeros(3), target, LEG.pole)
    end = upper @ LEG.upper + lower @ LEG.lower
    assert np.linalg.norm(end) == pytest.approx(LEG.reach_m, abs=1e-6)
    np.testing.assert_allclose(unit(end), [0, -1, 0], atol=1e-6)


def test_bone_frames_are_rotations() -> None:
    frame = bone_frame(np.array([[0.2, -1.0, 0.3]]), np.array([[1.0, 0.1, 0.0]]))
    np.testing.assert_allclose(frame[0] @ frame[0].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame[0]) == pytest.approx(1.0)
