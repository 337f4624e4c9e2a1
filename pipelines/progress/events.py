"""The event log of a run: one JSON object per line in `<run>/events.jsonl`, only ever appended to.

A line is written by one call, so that workers that share the file do not cut each other's lines; a line
that a killed process left unfinished is skipped when reading.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

from pipelines.artifacts import HOST, MARKER_SUFFIX
from pipelines.errors import OutputFailed

_log = logging.getLogger(__name__)

EVENTS: Final = "events.jsonl"
STARTED, FINISHED, FAILED = "started", "finished", "failed"
_HEAD: Final = ("time", "kind", "what")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    time: str
    """UTC, ISO 8601, to the millisecond."""
    kind: str
    """`started`, `finished` or `failed`."""
    what: str
    """What is done, e.g. `fit`, or `run` for the whole."""
    unit: str
    """The recording, shard or network it is done to; empty for what concerns the whole run."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """`finished`: wall_s, cpu_s, and `stages`, those whose result was made anew. `failed`: reason."""


def append_event(folder: Path, kind: str, what: str, unit: str = "", **details: Any) -> None:
    """Add one line; a log that cannot be written stops no work."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "kind": kind, "what": what, "unit": unit, **details}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (json.dumps(line, sort_keys=True) + "\n").encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.warning("event log cannot be written: %s", error)


def read_events(folder: Path) -> list[Event]:
    """All whole lines, oldest first; none where there is no log."""
    path = folder / EVENTS
    if not path.is_file():
        return []
    events = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
            time, kind, what = (record.pop(name) for name in _HEAD)
            unit = record.pop("unit", "") or record.pop("recording", "")  # as it was called once
        except (ValueError, KeyError, AttributeError):
            continue
        events.append(Event(time, kind, what, unit, record))
    return events


@contextmanager
def watched(folder: Path, what: str, unit: str = "", results: Path | None = None) -> Iterator[None]:
    """Write when the work begins, and when and how it ends.

    The log is there as long as its folder is, so that it also tells when a network folder goes away and
    the work would go on in an empty place of the same name.

    Args:
        folder: of the run.
        what: is done.
        unit: the recording, shard or network it is done to.
        results: where its done-markers go; those made anew are named in the event.

    Raises:
        OutputFailed: the folder went away meanwhile.
    """
    append_event(folder, STARTED, what, unit, pid=os.getpid(), host=HOST)
    log = _identity(folder)
    before, wall, cpu = _markers(results), perf_counter(), process_time()
    try:
        yield
        if log is not None and _identity(folder) != log:
            raise OutputFailed(
                "the folder of the run went away while it was written to",
                where=folder,
                fix="connect it again and run the same command again; what was finished is kept",
            )
    except BaseException as error:
        if _identity(folder) == log:
            append_event(folder, FAILED, what, unit, reason=f"{type(error).__name__}: {error}")
        raise
    made = {name for name, stamp in _markers(results).items() if before.get(name) != stamp}
    append_event(
        folder,
        FINISHED,
        what,
        unit,
        wall_s=round(perf_counter() - wall, 2),
        cpu_s=round(process_time() - cpu, 2),
        stages=sorted(made),
    )


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which file the log is; None where there is none."""
    try:
        found = (folder / EVENTS).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _markers(folder: Path | None) -> dict[str, int]:
    if folder is None or not folder.is_dir():
        return {}
    paths = folder.glob(f"*{MARKER_SUFFIX}")
    return {path.name.removesuffix(MARKER_SUFFIX): path.stat().st_mtime_ns for path in paths}
