"""What happens at a loss or a gradient that is no number."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from pipelines.errors import FittingFailed
from sahmr.data.batch import TrainingBatch
from sahmr.training.state import Progress

logger = logging.getLogger(__name__)

PATIENCE: Final = 10
"""Steps left out in a row that end a training in any case."""


class BufferGuard:
    """Remembers running statistics, which a forward pass full of NaN would spoil for good."""

    def __init__(self, network: nn.Module) -> None:
        self._kept = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def restore(self) -> None:
        """Put them back."""
        for buffer, kept in self._kept:
            buffer.copy_(kept)


def culprits(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], batch: TrainingBatch
) -> list[str]:
    """Samples whose weighted terms are not finite, each with the first such term."""
    found: dict[int, str] = {}
    for name, values in terms.items():
        if weights.get(name):
            for row in (~values.isfinite() & (batch.weight > 0)).nonzero()[:, 0].tolist():
                found.setdefault(row, f"{batch.sample_ids[row]} ({name} {float(values[row])})")
    return [found[row] for row in sorted(found)]


def leave_out_or_stop(
    names: list[str], batch: TrainingBatch, progress: Progress, policy: str, where: str
) -> None:
    """Count and log a step that is left out, or end the training.

    Raises:
        FittingFailed: the policy is to stop, or too many steps in a row were left out.
    """
    found = "; ".join(names) if names else f"the gradient of {', '.join(batch.sample_ids)}"
    progress.skipped += 1
    progress.skipped_in_a_row += 1
    if policy == "skip" and progress.skipped_in_a_row < PATIENCE:
        logger.warning("%s, step %d left out, no number: %s", where, progress.step + 1, found)
        return
    raise FittingFailed(
        "a loss or its gradient is no number",
        where=f"{where}, step {progress.step + 1}",
        found=found,
        fix="look at these samples (weight 0 leaves them out), lower learning_rate, or set "
        "non_finite=skip; the last checkpoint is intact"
        if policy == "stop"
        else f"{PATIENCE} steps in a row were left out: lower learning_rate; the last checkpoint is intact",
    )
