"""The verb `train-priors`: generate training motions or read AMASS, train the three priors, write them.

The motions are those of `pipelines.synthetic.training_motions`: CMU walks of the subjects that no
embedded recording shows, and procedural families of their own. Copies of every clip are changed at
random (`motion_prior.augmentation`), since the priors must follow motions they never saw. With
`motions: amass` they are those of a user's AMASS, unchanged (`humor_training.amass`).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, Literal

from pipelines.artifacts import write_json
from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.config import Settings
from pipelines.errors import SettingsInvalid
from pipelines.humor_training.amass import Schedule, train_on_amass
from pipelines.humor_training.settings import HumorScheduleSettings
from pipelines.motion_prior.augmentation import AugmentationSettings, augmented
from pipelines.motion_prior.checkpoint import SHIPPED_FOLDER
from pipelines.motion_prior.train import TrainingSettings, train_priors
from pipelines.other_datasets.amass.dataset import AmassDataset
from pipelines.other_datasets.settings import AmassSettings
from pipelines.synthetic.training_motions import training_clips

logger = logging.getLogger(__name__)


AMASS_FOLDER: Final = Path("outputs/priors/amass")


class PriorTrainingSettings(Settings):
    """Everything that decides what the trained priors are."""

    minutes: float = 100.0
    """Generated motion, before the changed copies."""
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    motions: Literal["generated", "amass"] = "generated"
    """`amass`: HuMoR's subsets of AMASS, read from `amass.root`."""
    amass: AmassSettings = AmassSettings()
    schedule: Schedule = "ours"
    """Of the motion prior on AMASS: ours, made for one core, or HuMoR's own 200 epochs."""
    humor: HumorScheduleSettings = HumorScheduleSettings()
    body_models: Path | None = None
    """Folder of licensed SMPL+H files; None = the stand-in."""
    out_dir: Path | None = None
    """Where the three files go; empty = in place of the shipped ones, or `outputs/priors/amass`."""


def train_shipped_priors(settings: PriorTrainingSettings) -> Path:
    """Generate motions, train, write; returns the folder.

    Beside the three safetensors, `training.json` tells the clips, frames by family and last losses.
    """
    files = resolve_body_files(settings.body_models)
    if settings.motions == "amass":
        return _train_on_amass(settings, files)
    out_dir = settings.out_dir or SHIPPED_FOLDER
    seed = settings.training.seed
    clips = training_clips(files, seed, settings.minutes)
    logger.info("generated %d clips", len(clips))
    summary = train_priors(
        augmented(clips, settings.augmentation, seed), files, settings.training, out_dir
    )
    write_json(
        out_dir / "training.json",
        {"generated_minutes": settings.minutes, "generated_clips": len(clips), **summary},
    )
    return out_dir


def _train_on_amass(settings: PriorTrainingSettings, files: BodyFiles) -> Path:
    root = settings.amass.root
    if root is None:
        raise SettingsInvalid("motions=amass needs AMASS's folder", fix="set amass.root=<folder>")
    return train_on_amass(
        AmassDataset(root, files, settings.amass),
        files,
        settings.schedule,
        settings.training,
        settings.humor,
        settings.out_dir or AMASS_FOLDER,
    )
