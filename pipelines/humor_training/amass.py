"""The priors on a user's AMASS: `train-priors motions=amass`.

    python -m flows train-priors motions=amass amass.root=/data/AMASS body_models=/data/body_models

Writes the three priors, `training.json`, and `measured.json` with the errors of the motion prior on each
held-out split that is there, beside those of the prior that comes with the package.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final, Literal

from pipelines.artifacts import write_json
from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataMissing
from pipelines.humor_training.measure import measure_motion_prior
from pipelines.humor_training.settings import HumorScheduleSettings
from pipelines.humor_training.train import train_by_humor
from pipelines.motion_prior.checkpoint import SHIPPED_MOTION, load_motion_prior
from pipelines.motion_prior.train import MotionTrainer, TrainedMotion, TrainingSettings, train_priors
from pipelines.motion_prior.training_data import TrainingMotions, prepare_motions
from pipelines.other_datasets.amass.dataset import AmassDataset
from pipelines.other_datasets.amass.motions import Split

logger = logging.getLogger(__name__)

Schedule = Literal["ours", "humor"]
TRAINING: Final = "training.json"
MEASURED: Final = "measured.json"
_HELD_OUT: Final[tuple[Split, ...]] = ("val", "test")


def train_on_amass(
    data: AmassDataset,
    files: BodyFiles,
    schedule: Schedule,
    training: TrainingSettings,
    humor: HumorScheduleSettings,
    out_dir: Path,
) -> Path:
    """Train the three priors on AMASS's training split and measure the motion prior; returns the folder.

    Args:
        data: the tree; absent subsets are told, not an error.
        files: body models of the motions' genders.
        schedule: of the motion prior: ours, for one core, or HuMoR's.
        training: pose prior, initial states, seed, and our schedule.
        humor: HuMoR's schedule.
        out_dir: where everything goes.

    Raises:
        DataMissing: no motion of the training split.
    """
    train = data.clips("train")
    held_out = _held_out(data, files)
    trainer = None if schedule == "ours" else _by_humor(held_out.get("val"), humor, training.seed)
    summary = train_priors(train.clips, files, training, out_dir, trainer)
    told = {"motions": "AMASS", "schedule": schedule, "left_out": train.skipped, **summary}
    write_json(out_dir / TRAINING, told)
    write_json(out_dir / MEASURED, _measured(out_dir / SHIPPED_MOTION.name, held_out))
    return out_dir


def _held_out(data: AmassDataset, files: BodyFiles) -> dict[str, TrainingMotions]:
    found: dict[str, TrainingMotions] = {}
    for split in _HELD_OUT:
        try:
            found[split] = prepare_motions(data.clips(split).clips, files)
        except DataMissing as error:
            logger.warning("%s", error)
    return found


def _by_humor(
    validation: TrainingMotions | None, settings: HumorScheduleSettings, seed: int
) -> MotionTrainer:
    def train(motions: TrainingMotions, partial: Path) -> TrainedMotion:
        prior, losses = train_by_humor(motions, validation, settings, seed, partial)
        told = {"schedule": "humor", "settings": settings.model_dump(mode="json")}
        return TrainedMotion(prior, losses, told)

    return train


def _measured(path: Path, held_out: dict[str, TrainingMotions]) -> dict[str, Any]:
    priors = {"trained": load_motion_prior(path), "shipped": load_motion_prior(SHIPPED_MOTION)}
    return {
        split: {name: measure_motion_prior(prior, motions) for name, prior in priors.items()}
        for split, motions in held_out.items()
    }
