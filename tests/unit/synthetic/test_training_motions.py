from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.motion_prior.training_data import TrainingClip, prepare_motions
from pipelines.synthetic.motions import TRAINING_FAMILIES
from pipelines.synthetic.training_motions import training_clips
from pipelines.synthetic.walks import HELD_OUT_SUBJECTS


@pytest.fixture(scope="module")
def clips(files: BodyFiles) -> list[TrainingClip]:
    return training_clips(files, seed=0, minutes=0.4)


def test_clips_hold_about_the_minutes_asked_for(clips: list[TrainingClip]) -> None:
    minutes = sum(len(clip.transl) for clip in clips) / 1800
    assert 0.4 <= minutes < 1.2  # at least one clip of each family


def test_nothing_held_out_is_trained_on(clips: list[TrainingClip]) -> None:
    assert {clip.family for clip in clips} == {"walk", *TRAINING_FAMILIES}
    walked = {clip.name.split()[1].split("_")[0] for clip in clips if clip.family == "walk"}
    assert walked
    assert not walked & set(HELD_OUT_SUBJECTS)


def test_smplh_feet_stand_on_the_floor_where_labelled(
    clips: list[TrainingClip], files: BodyFiles
) -> None:
    for clip in clips:
        body = load_smplh(files, clip.gender)
        frames = len(clip.transl)
        mesh = body(
            torch.as_tensor(np.repeat(clip.betas[None], frames, axis=0), dtype=torch.float32),
            torch.as_tensor(clip.rotvecs[:, 0], dtype=torch.float32),
            torch.as_tensor(clip.rotvecs[:, 1:].reshape(frames, 63), dtype=torch.float32),
            torch.as_tensor(clip.transl, dtype=torch.float32),
        )
        lowest = mesh.vertices[..., 2].amin(dim=1).numpy()
        assert clip.contacts is not None
        assert lowest.min() > -0.006
        assert clip.family == "bed_recline" or lowest[clip.contacts.any(axis=1)].max() < 0.004


def test_clips_are_what_the_prior_reads(clips: list[TrainingClip], files: BodyFiles) -> None:
    motions = prepare_motions(clips[:3], files)
    assert torch.isfinite(motions.states.joints_velocity).all()
    assert motions.contacts.shape[1] == 9


def test_equal_seeds_give_equal_clips(clips: list[TrainingClip], files: BodyFiles) -> None:
    again = training_clips(files, seed=0, minutes=0.02)
    np.testing.assert_array_equal(again[0].rotvecs, clips[0].rotvecs)
