"""Every family on bodies of all genders: planted feet, true contact, human joints and accelerations."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import SmplxBody, load_smplx
from pipelines.errors import SettingsInvalid
from pipelines.records import Gender
from pipelines.synthetic.families import lying, reaching, seats, turning
from pipelines.synthetic.families import training as training_families
from pipelines.synthetic.furniture import depth_in
from pipelines.synthetic.motions import (
    HELD_OUT_FAMILIES,
    PROCEDURAL,
    TRAINING_FAMILIES,
    WALK,
    MotionClip,
    make_motion,
)

FRAMES = 75
GENDERS: tuple[Gender, ...] = ("female", "male", "neutral")
FAMILIES = (*HELD_OUT_FAMILIES, *TRAINING_FAMILIES)
# Vertices among the 127 output joints: big toe, small toe and heel of each foot.
SOLES = ((10, 60, 61), (7, 62), (11, 63, 64), (8, 65))


class Posed:
    """A clip with its skin and joints."""

    def __init__(self, clip: MotionClip) -> None:
        body = model(clip.gender)
        tensors = {
            name: torch.as_tensor(getattr(clip.parameters, name), dtype=torch.float32)
            for name in type(clip.parameters).__slots__
        }
        mesh = body(**tensors)
        self.clip = clip
        self.vertices = mesh.vertices.double().numpy()
        self.joints = mesh.joints.double().numpy()


@cache
def model(gender: Gender) -> SmplxBody:
    return load_smplx(resolve_body_files(None), gender)


@cache
def posed(family: str, num_frames: int = FRAMES) -> Posed:
    seed = FAMILIES.index(family)
    betas = np.clip(np.random.default_rng(seed).standard_normal(10), -2, 2)
    gender = GENDERS[seed % 3]
    return Posed(make_motion(family, num_frames, gender, betas, resolve_body_files(None), seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_clip_has_exactly_the_frames_asked_for(family: str) -> None:
    clip = posed(family).clip
    assert clip.parameters.transl.shape == (FRAMES, 3)
    assert clip.foot_contact.shape == (FRAMES, 4)
    assert all(np.isfinite(getattr(clip.parameters, name)).all() for name in clip.parameters.__slots__)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_below_the_floor_and_planted_soles_touch_it(family: str) -> None:
    body = posed(family)
    lowest = body.vertices[..., 2].min(axis=1)
    assert lowest.min() > -0.006
    planted = body.clip.foot_contact.any(axis=1)
    assert planted.any() or family == "bed_recline"
    assert (lowest[planted] < 0.003).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_planted_feet_do_not_slide(family: str) -> None:
    body = posed(family)
    for column, points in enumerate(SOLES):
        contact = body.clip.foot_contact[:, column]
        both = contact[1:] & contact[:-1]
        moved = np.linalg.norm(np.diff(body.joints[:, list(points)], axis=0), axis=-1)[both]
        assert moved.size == 0 or moved.max() < 0.0015


@pytest.mark.parametrize("family", FAMILIES)
def test_furniture_is_touched_and_hardly_entered(family: str) -> None:
    body = posed(family)
    for need in body.clip.furniture:
        depth = depth_in(need, body.vertices)
        assert 0.0005 < depth.max() < (0.012 if family == "bed_recline" else 0.005)


@pytest.mark.parametrize("family", FAMILIES)
def test_accelerations_are_human(family: str) -> None:
    joints = posed(family).joints[:, :22]
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0) * 30**2, axis=-1)
    assert acceleration[:, 0].max() < 15
    assert np.percentile(acceleration, 95) < 20
    assert acceleration.max() < 80


@pytest.mark.parametrize("family", FAMILIES)
def test_joints_stay_within_their_limits(family: str) -> None:
    degrees = np.rad2deg(posed(family).clip.parameters.body_pose.reshape(FRAMES, 21, 3))
    knees = degrees[:, [3, 4]]
    assert knees[..., 0].min() > -1
    assert np.linalg.norm(knees, axis=-1).max() < 150
    angle = np.linalg.norm(degrees, axis=-1).max(axis=0)
    assert angle[[6, 7]].max() < 60, "ankles"
    assert angle[[17, 18]].max() < 160, "elbows"
    assert angle[[19, 20]].max() < 90, "wrists"
    assert angle[[2, 5, 8]].max() < 30, "spine"


@pytest.mark.parametrize("family", ["sofa_sit", "sofa_rise", "stool_sit", "chair_rise"])
def test_the_sitter_is_carried_by_the_buttocks(family: str) -> None:
    body = posed(family)
    (need,) = body.clip.furniture
    seated = depth_in(need, body.vertices).max(axis=1) > -0.004
    assert seated.sum() > 10
    hips_z = body.joints[seated][:, 1:3, 2]
    assert (np.abs(hips_z - need.size_m[2] - 0.1) < 0.06).all()
    assert 0.25 < need.size_m[2] < 0.65


def test_lying_ends_flat_on_the_bed() -> None:
    body = posed("lie_down", 105)
    (bed,) = body.clip.furniture
    spine = body.joints[-1, 12] - body.joints[-1, 0]
    assert abs(spine[2]) < 0.15 * np.linalg.norm(spine)
    assert not body.clip.foot_contact[-1].any()
    near = depth_in(bed, body.vertices[-1]) > -0.02
    assert near.sum() > 100


def test_reaching_lays_the_hand_on_the_sideboard() -> None:
    body = posed("shelf_reach")
    (table,) = body.clip.furniture
    hands = body.joints[:, 66:76]  # finger tips
    assert (depth_in(table, hands) > -0.05).any()


def test_equal_arguments_give_equal_clips_and_another_seed_another() -> None:
    files, betas = resolve_body_files(None), np.zeros(10)
    first, again, other = (make_motion("pivot_turn", 40, "male", betas, files, s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.parameters.body_pose, again.parameters.body_pose)
    assert np.abs(first.parameters.body_pose - other.parameters.body_pose).max() > 0.01


def test_a_long_walk_fits_into_a_room() -> None:
    clip = make_motion(WALK, 180, "female", np.zeros(10), resolve_body_files(None), 1)
    assert np.ptp(clip.parameters.transl[:, :2], axis=0).max() < 4.2
    assert clip.source.startswith("CMU ")


def test_training_and_recording_families_share_no_generator() -> None:
    recorded = [family for group in (seats, reaching, turning, lying) for family in group.FAMILIES]
    trained = training_families.FAMILIES
    assert not {family.direct for family in recorded} & {family.direct for family in trained}
    assert set(HELD_OUT_FAMILIES) == {WALK, *(family.name for family in recorded)}
    assert set(TRAINING_FAMILIES) == {family.name for family in trained}
    assert len(PROCEDURAL) == len(recorded) + len(trained)


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(SettingsInvalid, match=r"(?s)no such family.*sofa_sit.*found: dance"):
        make_motion("dance", 30, "male", np.zeros(10), resolve_body_files(None), 0)


def test_one_frame_is_no_motion() -> None:
    with pytest.raises(SettingsInvalid, match="at least two frames"):
        make_motion("sofa_sit", 1, "male", np.zeros(10), resolve_body_files(None), 0)
