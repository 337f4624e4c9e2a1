"""The log of a training: one JSON object per line, TensorBoard beside it where it is installed."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from pipelines.artifacts import write_text

logger = logging.getLogger(__name__)

LOG_FILE: Final = "log.jsonl"
TENSORBOARD_FOLDER: Final = "tensorboard"


class TrainingLog:
    """Appends to `log.jsonl`; a training that goes on drops the lines after its checkpoint.

    Args:
        folder: of the stage.
        step: of the checkpoint it goes on from, 0 for a new training.
        tensorboard: also write TensorBoard's files.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        self._path = folder / LOG_FILE
        kept = [line for line in read_log(folder) if line["step"] <= step] if step else []
        write_text(self._path, "".join(_line(row) for row in kept))
        self._writer = _writer(folder / TENSORBOARD_FOLDER, step) if tensorboard else None

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Add one line, at once on disk."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_line({"step": step, "kind": kind, **values}))
        if self._writer is not None:
            for name, value in _flat(values):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; a line that a kill cut short is left out."""
    path = folder / LOG_FILE
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            logger.warning("%s: a line was cut short and is left out", path)
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_without_nan(row), allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null."""
    if isinstance(value, Mapping):
        return {name: _without_nan(child) for name, child in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((prefix + name, float(value)))
    return found


def _writer(folder: Path, step: int) -> Any:
    if find_spec("tensorboard") is None:
        logger.info("tensorboard is not installed; the log is %s alone", LOG_FILE)
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
