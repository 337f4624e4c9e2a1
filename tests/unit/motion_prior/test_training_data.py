from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.joints import SMPL_FLIP
from pipelines.errors import DataInvalid
from pipelines.motion_prior.augmentation import (
    AugmentationSettings,
    augmented,
    resampled,
    with_upper_body_of,
)
from pipelines.motion_prior.training_data import (
    TrainingClip,
    label_contacts,
    mirrored,
    prepare_motions,
)

UPRIGHT = np.array([np.pi / 2, 0.0, 0.0])
"""Root rotation that stands the rest pose (y up) on the floor (z up)."""


def walk_like(seed: int = 0, frames: int = 40) -> TrainingClip:
    rng = np.random.default_rng(seed)
    rotvecs = np.zeros((frames, 22, 3))
    waves = np.sin(np.arange(frames)[:, None, None] * rng.uniform(0.05, 0.3, (1, 21, 3)))
    rotvecs[:, 1:] = 0.3 * waves * rng.uniform(0, 1, (1, 21, 3))
    rotvecs[:, 0] = UPRIGHT
    transl = np.stack(
        [0.01 * np.arange(frames), -0.03 * np.arange(frames), np.full(frames, 1.1)], axis=1
    )
    return TrainingClip(f"walk {seed}", "walk", "neutral", rng.uniform(-1, 1, 10), rotvecs, transl)


@pytest.fixture(scope="module")
def files():
    return resolve_body_files(None)


def test_end_frames_are_dropped_and_clips_stay_apart(files):
    motions = prepare_motions([walk_like(0), walk_like(1, frames=30)], files)
    assert motions.num_frames.tolist() == [38, 28]
    assert motions.first_frame.tolist() == [0, 38]
    starts = motions.possible_starts(20)
    assert starts.tolist() == [*range(19), *range(38, 47)]


def test_windows_do_not_cross_a_flip(files):
    clip = walk_like()
    clip.rotvecs[20:, 18] += [1.5, 0.0, 0.0]  # an elbow turns by 86 degrees between frames 19 and 20
    motions = prepare_motions([clip], files)
    assert motions.jump_before.nonzero().flatten().tolist() == [19]
    assert motions.possible_starts(10).tolist() == [*range(10), *range(19, 29)]


def test_windows_start_in_their_canonical_frame(files):
    motions = prepare_motions([walk_like()], files)
    states, contacts, rest = motions.windows(torch.tensor([0, 5]), 11)
    assert contacts.shape == (2, 11, 9)
    assert rest.shape == (2, 22, 3)
    torch.testing.assert_close(states.transl[:, 0, :2], torch.zeros(2, 2), rtol=0, atol=1e-6)
    right = -states.root_rotmat[:, 0, :2, 0]
    torch.testing.assert_close(right[:, 1], torch.zeros(2), rtol=0, atol=1e-6)
    assert (right[:, 0] > 0).all()


def test_velocities_are_those_of_the_positions(files):
    motions = prepare_motions([walk_like()], files)
    torch.testing.assert_close(motions.states.transl_velocity[0], torch.tensor([0.3, -0.9, 0.0]))


def test_mirrored_clip_has_mirrored_joints(files):
    clip = replace(walk_like(), betas=np.zeros(10))
    motions = prepare_motions([clip, mirrored(clip)], files)
    original, mirror = motions.states.joints[:38], motions.states.joints[38:]
    expected = original[:, list(SMPL_FLIP)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirror, expected, rtol=0, atol=1e-3)


def test_mirroring_twice_changes_nothing():
    clip = walk_like()
    twice = mirrored(mirrored(clip))
    np.testing.assert_allclose(twice.rotvecs, clip.rotvecs, atol=1e-12)
    np.testing.assert_allclose(twice.transl, clip.transl, atol=1e-12)


def test_playing_at_speed_one_changes_nothing_and_backwards_twice_neither():
    clip = walk_like()
    np.testing.assert_allclose(resampled(clip, 1.0).rotvecs, clip.rotvecs[:-1], atol=1e-9)
    there_and_back = resampled(resampled(clip, -1.0), -1.0)
    np.testing.assert_allclose(there_and_back.transl, clip.transl[1:-1], atol=1e-9)


def test_half_speed_takes_twice_as_long():
    clip = walk_like()
    assert len(resampled(clip, 0.5).transl) == 2 * (len(clip.transl) - 1)


def test_upper_body_comes_from_the_donor_and_legs_stay():
    clip, donor = walk_like(0), walk_like(1, frames=15)
    mixed = with_upper_body_of(clip, donor)
    np.testing.assert_array_equal(mixed.rotvecs[:15, 16], donor.rotvecs[:, 16])
    np.testing.assert_array_equal(mixed.rotvecs[15, 16], donor.rotvecs[13, 16])
    np.testing.assert_array_equal(mixed.rotvecs[:, 4], clip.rotvecs[:, 4])


def test_augmentation_is_deterministic_and_keeps_the_clips():
    clips, settings = [walk_like(0), walk_like(1)], AugmentationSettings(copies=2)
    first, second = augmented(clips, settings, 3), augmented(clips, settings, 3)
    assert len(first) == 6
    assert first[0] is clips[0]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.rotvecs, b.rotvecs)
    assert not np.array_equal(augmented(clips, settings, 4)[2].transl, first[2].transl)


def test_contact_needs_both_low_height_and_low_speed():
    joints = torch.full((5, 22, 3), 1.0)
    joints[:, 10, 2] = 0.03  # left toe rests
    joints[:, 11, 2] = 0.03  # right toe slides at 0.6 m/s
    joints[:, 11, 0] = 0.02 * torch.arange(5)
    joints[:, 7, 2] = 0.10  # left ankle rests
    joints[:, 0, 2] = 0.02  # hips are never labelled
    labels = label_contacts(joints, toe_height_m=0.025)
    assert labels.all(0).nonzero().flatten().tolist() == [3, 5]
    assert labels.any(0).nonzero().flatten().tolist() == [3, 5]


def test_too_short_and_broken_clips_are_named(files):
    with pytest.raises(DataInvalid, match=r"too short[\s\S]*walk 0"):
        prepare_motions([walk_like(frames=3)], files)
    broken = walk_like()
    broken.transl[3, 1] = np.nan
    with pytest.raises(DataInvalid, match="not finite"):
        prepare_motions([broken], files)
