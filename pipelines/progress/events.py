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

from pipelines.artifacts import MARKER_SUFFIX

_log = logging.getLogger(__name__)

EVENTS: Final = "events.jsonl"
STARTED, FINISHED, FAILED = "started", "finished", "failed"
_HEAD: Final = ("time", "kind", "what", "recording")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    time: str
    """UTC, ISO 8601, to the millisecond."""
    kind: str
    """`started`, `finished` or `failed`."""
    what: str
    """The unit of work, e.g. `fit` or `flow`."""
    recording: str
    """Empty for what concerns the whole run."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """`finished`: wall_s, cpu_s, and `stages`, those whose result was made anew. `failed`: reason."""


def append_event(folder: Path, kind: str, what: str, recording: str = "", **details: Any) -> None:
    """Add one line; a log that cannot be written stops no work."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"time": now, "kind": kind, "what": what, "recording": recording, **details}
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
            time, kind, what, recording = (record.pop(name) for name in _HEAD)
        except (ValueError, KeyError, AttributeError):
            continue
        events.append(Event(time, kind, what, recording, record))
    return events


@contextmanager
def watched(folder: Path, what: str, recording: str = "", results: Path | None = None) -> Iterator[None]:
    """Write when the work begins, and when and how it ends.

    Args:
        folder: of the run.
        what: the unit of work.
        recording: the one it is about.
        results: where its done-markers go; those made anew are named in the event.
    """
    append_event(folder, STARTED, what, recording, pid=os.getpid())
    before, wall, cpu = _markers(results), perf_counter(), process_time()
    try:
        yield
    except BaseException as error:
        append_event(folder, FAILED, what, recording, reason=f"{type(error).__name__}: {error}")
        raise
    made = {name for name, stamp in _markers(results).items() if before.get(name) != stamp}
    append_event(
        folder,
        FINISHED,
        what,
        recording,
        wall_s=round(perf_counter() - wall, 2),
        cpu_s=round(process_time() - cpu, 2),
        stages=sorted(made),
    )


def _markers(folder: Path | None) -> dict[str, int]:
    if folder is None or not folder.is_dir():
        return {}
    paths = folder.glob(f"*{MARKER_SUFFIX}")
    return {path.name.removesuffix(MARKER_SUFFIX): path.stat().st_mtime_ns for path in paths}
