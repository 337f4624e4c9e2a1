from __future__ import annotations

import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.synthetic.footsteps import FootMotion, FootPlan, Plant, lowest_skin, minimum_jerk
from pipelines.synthetic.inverse_kinematics import apply
from pipelines.synthetic.rig import BodyRig, build_rig

TIMES = np.arange(90) / 30


@pytest.fixture(scope="module")
def rig(files: BodyFiles) -> BodyRig:
    return build_rig(load_smplx(files, "female"), np.array([1.0, -0.5, 0.3, 0, 0, 0, 0, 0, 0, 0]))


@pytest.fixture(scope="module")
def step(rig: BodyRig) -> FootMotion:
    plan = FootPlan(
        [
            Plant(0.1, 0.2, 0.3, 0.0, 1.0, push_rad=0.5),
            Plant(0.6, 0.25, 0.1, 1.5, np.inf, strike_rad=0.25),
        ]
    )
    return plan.evaluate(rig.feet[0], TIMES)


def test_minimum_jerk_starts_and_ends_at_rest() -> None:
    s = np.linspace(0, 1, 1001)
    ease = minimum_jerk(s)
    assert ease[0] == 0
    assert ease[-1] == pytest.approx(1)
    assert np.abs(np.diff(ease)[[0, -1]]).max() < 1e-7


def test_toe_base_does_not_move_while_planted(rig: BodyRig, step: FootMotion) -> None:
    ball = step.ankle + apply(step.ankle_rotation, rig.feet[0].ball)
    planted = step.toe_planted[1:] & step.toe_planted[:-1]
    assert planted.sum() > 40
    assert np.linalg.norm(np.diff(ball, axis=0), axis=1)[planted].max() < 1.5e-3


def test_ankle_does_not_move_while_the_heel_is_planted(step: FootMotion) -> None:
    planted = step.heel_planted[1:] & step.heel_planted[:-1]
    assert np.linalg.norm(np.diff(step.ankle, axis=0), axis=1)[planted].max() < 1.5e-3


def test_the_foot_never_cuts_the_floor_and_stands_on_it(rig: BodyRig, step: FootMotion) -> None:
    low = lowest_skin(rig.feet[0], step.ankle, step.ankle_rotation, step.toe_rotation)
    assert low.min() > -1e-6
    assert low[step.toe_planted | step.heel_planted].max() < 3e-3


def test_the_heel_leaves_before_the_toes_and_lands_before_them(step: FootMotion) -> None:
    last_heel = np.flatnonzero(step.heel_planted[:40])[-1]
    last_toe = np.flatnonzero(step.toe_planted[:40])[-1]
    assert last_heel < last_toe
    swing = ~(step.toe_planted | step.heel_planted)
    assert step.ankle[swing, 2].max() > step.ankle[0, 2] + 0.03


def test_the_foot_arrives_where_it_was_planned(rig: BodyRig, step: FootMotion) -> None:
    np.testing.assert_allclose(step.ankle[-1, :2], [0.6, 0.25], atol=1e-9)
    assert step.ankle[-1, 2] == pytest.approx(rig.feet[0].ankle_height_m)
