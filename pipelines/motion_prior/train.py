"""The training verb: from motion clips to the three priors of a fit, written as safetensors.

    summary = train_priors(clips, files, settings, out_dir)
    priors = load_priors(PriorSettings(motion=out_dir / "motion_prior.safetensors", ...))

The weights shipped in `weights/` were made by this function; each file carries its settings, the list of
clips, the seed and the losses. Equal arguments give equal files (on one machine and one thread).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipelines.artifacts import write_bytes
from pipelines.bodies.files import BodyFiles
from pipelines.config import Settings
from pipelines.motion_prior.checkpoint import (
    METADATA_KEY,
    SHIPPED_INITIAL_STATE,
    SHIPPED_MOTION,
    SHIPPED_POSE,
)
from pipelines.motion_prior.initial_state import InitialStatePrior
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.train_initial_state import MixtureTrainingSettings, train_initial_state
from pipelines.motion_prior.train_motion import MotionTrainingSettings, train_motion_prior
from pipelines.motion_prior.train_pose import PoseTrainingSettings, train_pose_prior
from pipelines.motion_prior.training_data import TrainingClip, TrainingMotions, prepare_motions

logger = logging.getLogger(__name__)

PARTIAL = "motion_prior.partial.pt"
"""Where a training of the motion prior is kept until its weights are written."""


class TrainingSettings(Settings):
    """Everything that decides what the trained priors are, but the clips."""

    motion: MotionTrainingSettings = MotionTrainingSettings()
    pose: PoseTrainingSettings = PoseTrainingSettings()
    initial_state: MixtureTrainingSettings = MixtureTrainingSettings()
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TrainedMotion:
    """A motion prior and how it came about."""

    prior: MotionPrior
    losses: list[dict[str, float]]
    told: Mapping[str, Any]
    """Settings and the like, for the weights file."""


MotionTrainer = Callable[[TrainingMotions, Path], TrainedMotion]
"""Trains on motions; may keep an unfinished training in the given file."""


def train_priors(
    clips: Sequence[TrainingClip],
    files: BodyFiles,
    settings: TrainingSettings,
    out_dir: Path,
    train_motion: MotionTrainer | None = None,
) -> dict[str, Any]:
    """Train all three priors and write them to `out_dir`.

    Args:
        clips: training motions.
        files: body models of their genders.
        settings: of the three.
        out_dir: where they go.
        train_motion: another training of the motion prior than `settings.motion`.

    Returns:
        Counts of clips and frames by family, and the last losses of each prior.

    Raises:
        DataInvalid: a clip cannot be used.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    motions = prepare_motions(clips, files)
    frames = dict.fromkeys(sorted(set(motions.families)), 0)
    for family, count in zip(motions.families, motions.num_frames.tolist(), strict=True):
        frames[family] += count
    logger.info("training on %d clips, %d frames", len(clips), sum(frames.values()))
    common = {
        "clips": dict(sorted(Counter(clip.name.split(" #")[0] for clip in clips).items())),
        "frames_by_family": frames,
        "seed": settings.seed,
        "is_standin_body": files.is_standin,
    }
    mixture = train_initial_state(motions, settings.initial_state, settings.seed)
    _write(
        out_dir / SHIPPED_INITIAL_STATE.name,
        _mixture_tensors(mixture),
        {**common, "settings": settings.initial_state.model_dump(mode="json")},
    )
    pose, pose_losses = train_pose_prior(motions, settings.pose, settings.seed)
    _write(
        out_dir / SHIPPED_POSE.name,
        _half(pose),
        {**common, "settings": settings.pose.model_dump(mode="json"), "losses": pose_losses[-1:]},
    )
    partial = out_dir / PARTIAL
    motion = (train_motion or _by_our_schedule(settings))(motions, partial)
    _write(
        out_dir / SHIPPED_MOTION.name,
        _half(motion.prior),
        {**common, **motion.told, "losses": motion.losses[-1:]},
    )
    partial.unlink(missing_ok=True)
    return {**common, "pose": pose_losses[-1:], "motion": motion.losses[-1:]}


def _by_our_schedule(settings: TrainingSettings) -> MotionTrainer:
    def train(motions: TrainingMotions, partial: Path) -> TrainedMotion:
        prior, losses = train_motion_prior(motions, settings.motion, settings.seed, partial)
        return TrainedMotion(prior, losses, {"settings": settings.motion.model_dump(mode="json")})

    return train


def _half(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }


def _mixture_tensors(mixture: InitialStatePrior) -> dict[str, Tensor]:
    """Single precision; Cholesky factors, so that rounding keeps the covariances positive definite."""
    whitening = mixture.whitening.double()
    identity = torch.eye(whitening.shape[-1], dtype=torch.float64).expand_as(whitening)
    factor = torch.linalg.solve_triangular(whitening, identity, upper=False)
    return {
        "weights": mixture.weights.float(),
        "means": mixture.means.float(),
        "cholesky": factor.float(),
    }


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    # One entry only: safetensors writes several in no fixed order.
    text = json.dumps(metadata, sort_keys=True)
    write_bytes(path, save(contiguous, metadata={METADATA_KEY: text}))
    logger.info("wrote %s", path)
