"""The verb `train-priors`: generate training motions, train the three priors, write them.

The motions are those of `pipelines.synthetic.training_motions`: CMU walks of the subjects that no
embedded recording shows, and procedural families of their own. Copies of every clip are changed at
random (`motion_prior.augmentation`), since the priors must follow motions they never saw.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pipelines.artifacts import write_json
from pipelines.bodies.files import resolve_body_files
from pipelines.config import Settings
from pipelines.motion_prior.augmentation import AugmentationSettings, augmented
from pipelines.motion_prior.checkpoint import SHIPPED_FOLDER
from pipelines.motion_prior.train import TrainingSettings, train_priors
from pipelines.synthetic.training_motions import training_clips

logger = logging.getLogger(__name__)


class PriorTrainingSettings(Settings):
    """Everything that decides what the trained priors are."""

    minutes: float = 100.0
    """Generated motion, before the changed copies."""
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    body_models: Path | None = None
    """Folder of licensed SMPL+H files; None = the stand-in."""
    out_dir: Path = SHIPPED_FOLDER
    """Where the three files go; the default replaces the shipped ones."""


def train_shipped_priors(settings: PriorTrainingSettings) -> Path:
    """Generate motions, train, write; returns the folder.

    Beside the three safetensors, `training.json` tells the clips, frames by family and last losses.
    """
    files = resolve_body_files(settings.body_models)
    seed = settings.training.seed
    clips = training_clips(files, seed, settings.minutes)
    logger.info("generated %d clips", len(clips))
    summary = train_priors(
        augmented(clips, settings.augmentation, seed), files, settings.training, settings.out_dir
    )
    write_json(
        settings.out_dir / "training.json",
        {"generated_minutes": settings.minutes, "generated_clips": len(clips), **summary},
    )
    return settings.out_dir
