from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pipelines.synthetic.walks as walks
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.synthetic.rig import build_rig
from pipelines.synthetic.walk_solver import solve_walk
from pipelines.synthetic.walks import (
    HELD_OUT_SUBJECTS,
    WalkEdit,
    edit_gait,
    lay_out,
    load_gait,
    repeat_gait,
    walk_clips,
)


def test_the_curated_clips_are_small_and_whole() -> None:
    folder = Path(walks.__file__).parent / "mocap"
    assert (folder / "cmu_walks.npz").stat().st_size < 2_000_000
    assert "NSF EIA-0196217" in (folder / "README.md").read_text()
    held_out, training = walk_clips(held_out=True), walk_clips(held_out=False)
    assert len(held_out) + len(training) == 69
    assert {name.split("_")[0] for name in held_out} == set(HELD_OUT_SUBJECTS)
    assert not {name.split("_")[0] for name in training} & set(HELD_OUT_SUBJECTS)


def test_a_walk_laid_out_again_keeps_its_speed() -> None:
    gait = load_gait("35_02")
    path = lay_out(gait, gait.leg_m, WalkEdit())
    speed = np.linalg.norm(np.diff(path.pelvis[:, :2], axis=0), axis=1).mean() * 30
    assert speed == pytest.approx(1.19, abs=0.05)  # index of the captured clips


def test_mirroring_twice_is_the_same_walk() -> None:
    gait = load_gait("07_01")
    twice = edit_gait(edit_gait(gait, WalkEdit(mirror=True)), WalkEdit(mirror=True))
    np.testing.assert_allclose(twice.pose, gait.pose, atol=1e-12)
    np.testing.assert_allclose(twice.velocity_m, gait.velocity_m, atol=1e-12)


def test_a_mirrored_walk_has_mirrored_joints(files: BodyFiles) -> None:
    rig = build_rig(load_smplx(files, "neutral"), np.zeros(10))
    gait = load_gait("07_01")
    joints = []
    for mirror in (False, True):
        path = lay_out(edit_gait(gait, WalkEdit(mirror=mirror)), rig.leg_m, WalkEdit())
        joints.append(solve_walk(rig, path, 30.0).joints)
    flip = list(walks.SMPL_FLIP)
    mirrored = joints[1][:, flip] * np.array([1.0, -1.0, 1.0])
    assert np.abs(mirrored - joints[0]).max() < 0.015  # the stand-in's joints are nearly symmetric


def test_walking_faster_takes_fewer_frames_for_the_same_way() -> None:
    gait = load_gait("35_02")
    fast = edit_gait(gait, WalkEdit(speed=1.25))
    assert len(fast.turn_rad) == pytest.approx(len(gait.turn_rad) / 1.25, abs=1)
    assert fast.speed_m_s == pytest.approx(1.25 * gait.speed_m_s, rel=0.03)


def test_curvature_turns_the_heading_by_the_way_walked() -> None:
    gait = load_gait("49_01")
    straight = lay_out(gait, gait.leg_m, WalkEdit())
    bent = lay_out(gait, gait.leg_m, WalkEdit(curvature_per_m=0.3))
    way = np.linalg.norm(gait.velocity_m[:-1], axis=1).sum()
    forward = [path.local[-1, 0][:2, 2] for path in (straight, bent)]
    angle = [np.arctan2(f[1], f[0]) for f in forward]
    assert angle[1] - angle[0] == pytest.approx(0.3 * way, abs=0.02)


def test_a_repeated_walk_goes_on_without_a_jump() -> None:
    gait = load_gait("10_04")
    longer = repeat_gait(gait, 260)
    assert len(longer.turn_rad) == 260
    usual = np.abs(np.diff(gait.pose, axis=0)).max()
    assert np.abs(np.diff(longer.pose, axis=0)).max() < 1.6 * usual
    assert longer.speed_m_s == pytest.approx(gait.speed_m_s, rel=0.1)


@pytest.mark.parametrize("name", ["02_02", "08_06", "39_02"])
def test_feet_of_a_bent_walk_stand_still_on_the_floor(files: BodyFiles, name: str) -> None:
    rig = build_rig(load_smplx(files, "male"), np.array([-1.0, 1.5, 0, 0, 0, 0, 0, 0, 0, 0]))
    path = lay_out(load_gait(name), rig.leg_m, WalkEdit(curvature_per_m=0.4))
    motion = solve_walk(rig, path, 30.0)
    assert motion.foot_contact.any(axis=1).mean() > 0.8
    for column, joint in enumerate((10, 7, 11, 8)):
        planted = motion.foot_contact[1:, column] & motion.foot_contact[:-1, column]
        slide = np.linalg.norm(np.diff(motion.joints[:, joint], axis=0), axis=1)[planted]
        assert slide.max() < 1.5e-3
