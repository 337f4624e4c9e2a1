from __future__ import annotations

import json

import pytest

from pipelines.motion_prior.augmentation import AugmentationSettings
from pipelines.motion_prior.checkpoint import PriorSettings, load_priors
from pipelines.motion_prior.network import MotionPriorSettings
from pipelines.motion_prior.pose_prior import PosePriorSettings
from pipelines.motion_prior.train import TrainingSettings
from pipelines.motion_prior.train_initial_state import MixtureTrainingSettings
from pipelines.motion_prior.train_motion import MotionPhase, MotionTrainingSettings
from pipelines.motion_prior.train_pose import PoseTrainingSettings
from pipelines.prior_training import PriorTrainingSettings, train_shipped_priors
from pipelines.synthetic.motions import HELD_OUT_FAMILIES
from pipelines.synthetic.walks import HELD_OUT_SUBJECTS


@pytest.mark.slow
def test_verb_trains_on_nothing_the_recordings_show(tmp_path):
    network = MotionPriorSettings(
        encoder_widths=(64,) * 4, prior_widths=(64,) * 4, decoder_widths=(64, 64, 64)
    )
    settings = PriorTrainingSettings(
        minutes=1.0,
        augmentation=AugmentationSettings(copies=1),
        training=TrainingSettings(
            motion=MotionTrainingSettings(
                network=network, phases=(MotionPhase(iterations=2, steps=2, windows=4),)
            ),
            pose=PoseTrainingSettings(network=PosePriorSettings(width=64), iterations=2),
            initial_state=MixtureTrainingSettings(components=2, max_frames=500),
        ),
        out_dir=tmp_path,
    )
    assert train_shipped_priors(settings) == tmp_path
    summary = json.loads((tmp_path / "training.json").read_text())
    procedural = set(HELD_OUT_FAMILIES) - {"walk"}
    assert not procedural & set(summary["frames_by_family"])
    subjects = {name.split()[1].split("_")[0] for name in summary["clips"] if name.startswith("walk")}
    assert subjects
    assert not subjects & set(HELD_OUT_SUBJECTS)
    priors = load_priors(
        PriorSettings(
            motion=tmp_path / "motion_prior.safetensors",
            pose=tmp_path / "pose_prior.safetensors",
            initial_state=tmp_path / "initial_state.safetensors",
        )
    )
    assert priors.motion.settings == network
