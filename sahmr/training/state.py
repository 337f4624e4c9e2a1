"""All that an interrupted training needs to go on as if nothing had happened, in one file.

The order of samples, the augmentation and the random numbers of each step follow from seed and position, so
the position is all that is kept of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from pipelines.artifacts import atomic_path
from pipelines.errors import DataInvalid
from pipelines.shards.sampler import SamplerPosition

logger = logging.getLogger(__name__)

STATE_FILE: Final = "last.state.pt"


@dataclass(slots=True, eq=False)
class Progress:
    """How far a training has come."""

    step: int = 0
    position: SamplerPosition = field(default_factory=SamplerPosition)
    best: float | None = None
    """Value of the monitor at the best weights so far."""
    skipped: int = 0
    """Steps left out because something was no number."""
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    """Of all runs so far, by the clock."""
    monitors: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best_monitors: dict[str, float] = field(default_factory=dict)
    best_step: int = 0


Identity = Mapping[str, str]
"""What a training is: name of an ingredient -> its settings or hash."""


def save_state(
    path: Path,
    identity: Identity,
    progress: Progress,
    tensors: Mapping[str, Any],
) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: the file.
        identity: of the training.
        progress: so far.
        tensors: state dicts of network, optimiser and so on, by name.

    Raises:
        OutputFailed: the disk is full or cannot be written to; the checkpoint before is still there.
    """
    position = progress.position
    numbers = {name: getattr(progress, name) for name in Progress.__slots__ if name != "position"}
    content = {
        "identity": dict(identity),
        "progress": {**numbers, "epoch": position.epoch, "seen": position.seen},
        **tensors,
    }

    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)


def step_of(folder: Path) -> int:
    """How far the checkpoint of a training is; 0 where there is none.

    Raises:
        DataInvalid: the file is damaged.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return 0
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(content["progress"]["step"])
    except Exception as error:
        raise DataInvalid(f"training checkpoint cannot be read: {error}", where=path) from None


def load_state(path: Path, identity: Identity, restart: bool) -> tuple[Progress, dict[str, Any]] | None:
    """The checkpoint of an interrupted training; None where there is none or it is to be thrown away.

    Raises:
        DataInvalid: the file is damaged, or belongs to a training of other settings, data or start.
    """
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, numbers = dict(content["identity"]), dict(content["progress"])
        position = SamplerPosition(numbers.pop("epoch"), numbers.pop("seen"))
        progress = Progress(position=position, **numbers)
    except Exception as error:
        raise DataInvalid(
            f"training checkpoint cannot be read: {error}",
            where=path,
            fix="delete the folder, or set restart=true",
        ) from None
    different = first_difference(found, identity)
    if different is None:
        return progress, content
    if restart:
        logger.info("%s is thrown away: other %s", path, different)
        return None
    raise DataInvalid(
        "the folder holds an unfinished training of another kind",
        where=path,
        found=f"other {different}",
        fix="give the settings and data it was begun with, another name=..., or restart=true to lose it",
    )


def first_difference(found: Identity, wanted: Identity) -> str | None:
    """The first thing in which two trainings differ, settings down to the key; None if in nothing."""
    for name in sorted(set(found) | set(wanted)):
        old, new = found.get(name), wanted.get(name)
        if old != new:
            return f"{name}{_difference_inside(old, new)}"
    return None


def _difference_inside(old: str | None, new: str | None) -> str:
    try:
        first, second = _flat(json.loads(old or "")), _flat(json.loads(new or ""))
    except ValueError:
        return ""
    keys = sorted(key for key in set(first) | set(second) if first.get(key) != second.get(key))
    return f": {keys[0]} was {first.get(keys[0])}, is {second.get(keys[0])}" if keys else ""


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {
        key: value
        for name, child in tree.items()
        for key, value in _flat(child, f"{prefix}{name}.").items()
    }


def copy_to_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict on the host."""
    return {name: tensor.detach().cpu() for name, tensor in state.items()}
