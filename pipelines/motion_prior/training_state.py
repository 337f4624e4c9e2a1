"""What a training of the motion prior changes, and the file that keeps it for one that is interrupted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.artifacts import atomic_path
from pipelines.config import Settings
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.training_data import TrainingMotions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingState:
    """Networks, optimiser and source of random numbers; the schedules count by themselves."""

    identity: str
    """Of schedule, settings, seed and data."""
    prior: MotionPrior
    optimiser: torch.optim.Optimizer
    generator: torch.Generator

    def keep(self, path: Path, progress: Mapping[str, Any]) -> None:
        """Write everything, with what the schedule counts.

        Raises:
            OutputFailed: the disk is full or cannot be written to; what was kept before is still there.
        """
        content = {
            **progress,
            "identity": self.identity,
            "model": self.prior.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            torch.save(content, stream)

    def resume(self, path: Path) -> dict[str, Any] | None:
        """Go on from what was kept; returns the schedule's counts, None where this training kept nothing."""
        if not path.is_file():
            return None
        content = dict(torch.load(path, weights_only=True))
        if content.pop("identity") != self.identity:
            logger.info("%s belongs to another training; starting anew", path)
            return None
        self.prior.load_state_dict(content.pop("model"))
        self.optimiser.load_state_dict(content.pop("optimiser"))
        self.generator.set_state(content.pop("generator"))
        return content


def training_identity(
    schedule: str, settings: Settings, seed: int, *data: TrainingMotions | None
) -> str:
    """Hash of everything that decides a training; motions count by what they hold."""
    digest = sha256(f"{schedule} {settings.content_hash()} {seed}".encode())
    for motions in data:
        digest.update(b"\0")
        if motions is not None:
            states = [getattr(motions.states, name) for name in motions.states.__slots__]
            for tensor in (*states, motions.contacts, motions.rest_joints, motions.num_frames):
                digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()
