"""How far a run folder is: stages done, last event and failures, without reading the data."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.artifacts import HOST, MARKER_SUFFIX, is_running, read_marker
from pipelines.errors import DataMissing, PipelineError
from pipelines.progress.events import FAILED, STARTED, Event, read_events
from pipelines.pseudo_gt.data import data_source, list_recordings
from pipelines.pseudo_gt.settings import PseudoGtSettings

_log = logging.getLogger(__name__)

STAGES = ("baseline", "humor", "export", "metrics", "quality")
WHOLE = "whole run"
_TRAINING_LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit of a run folder: a recording, a shard, a network, or the run as a whole."""

    unit: str
    done: tuple[str, ...]
    """Stages with a marker whose files are all there; whether they are still current, `plan` tells."""
    damaged: tuple[str, ...]
    """Stages with a marker that lack files."""
    last: Event | None
    failure: str
    """Reason of the last failure, unless something of the unit went well since."""
    killed: bool = False
    """Begun by a process of this machine that is gone without having said how it ended."""
    note: str = ""
    """Frames that are valid, steps that are trained, checkpoints of a fit that was not finished."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run folder."""

    folder: Path
    units: tuple[UnitStatus, ...]
    last: Event | None

    @property
    def failed(self) -> list[UnitStatus]:
        """Units whose last try failed."""
        return [status for status in self.units if status.failure]

    @property
    def finished(self) -> list[UnitStatus]:
        """Units with all there is to be: of a recording its metrics, else any marker."""
        return [
            s for s in self.units if "metrics" in s.done or (s.done and not set(s.done) & set(STAGES))
        ]


def run_status(folder: Path, expected: Sequence[str] = ()) -> RunStatus:
    """Look at the folder of a pseudo-gt run, a set of shards, a training, an evaluation or a report.

    Args:
        folder: of the run.
        expected: recordings the run will have, begun or not.

    Raises:
        DataMissing: there is no such folder.
    """
    if not folder.is_dir():
        raise DataMissing(
            "no run folder",
            where=folder,
            fix="start it with its verb, or give its settings or its folder",
        )
    events, places = read_events(folder), _places(folder)
    begun = {event.unit for event in events if event.unit}
    units = []
    for name in sorted({*begun, *places, *expected}):
        place, stages = places.get(name, (folder, ()))
        units.append(_unit_status(name, place, stages, events))
    whole = [event for event in events if not event.unit]
    if whole:
        units.append(_unit_status(WHOLE, folder, (), [replace(e, unit=WHOLE) for e in whole]))
    return RunStatus(folder, tuple(units), events[-1] if events else None)


def expected_recordings(settings: PseudoGtSettings) -> tuple[str, ...]:
    """Recordings a run will have; none known when its data cannot be reached."""
    try:
        return list_recordings(settings, data_source(settings))
    except PipelineError as error:
        _log.warning("recordings of the data are not known: %s", error.what)
        return ()


def _places(folder: Path) -> dict[str, tuple[Path, Sequence[str]]]:
    """Unit -> where its markers lie, and the stages they may tell of."""
    recordings = folder / "recordings"
    if recordings.is_dir():
        return {path.name: (path, STAGES) for path in recordings.iterdir() if path.is_dir()}
    found: dict[str, tuple[Path, Sequence[str]]] = {}
    for log in folder.glob(f"*/{_TRAINING_LOG}"):  # begun, perhaps not finished
        found[log.parent.name] = log.parent, ()
    for marker in folder.glob(f"*{MARKER_SUFFIX}"):
        found[_stage(marker)] = folder, (_stage(marker),)
    for marker in folder.glob(f"*/*{MARKER_SUFFIX}"):
        found[marker.parent.name] = marker.parent, (_stage(marker),)
    return found


def _stage(marker: Path) -> str:
    return marker.name.removesuffix(MARKER_SUFFIX)


def _unit_status(name: str, place: Path, stages: Sequence[str], events: Sequence[Event]) -> UnitStatus:
    done: list[str] = []
    damaged: list[str] = []
    for stage in stages:
        marker = read_marker(place, stage)
        if marker is not None:
            whole = all((place / file).is_file() for file in marker.files)
            (done if whole else damaged).append(stage)
    own = [event for event in events if event.unit == name]
    ended = [event for event in own if event.kind != STARTED]
    failed = bool(ended) and ended[-1].kind == FAILED
    return UnitStatus(
        name,
        tuple(done),
        tuple(damaged),
        own[-1] if own else None,
        str(ended[-1].details.get("reason", "")) if failed else "",
        bool(own) and _was_killed(own[-1]),
        _note(place, stages),
    )


def _was_killed(last: Event) -> bool:
    here = last.details.get("host") == HOST
    return last.kind == STARTED and here and not is_running(int(last.details["pid"]))


def _note(place: Path, stages: Sequence[str]) -> str:
    notes = []
    export = read_marker(place, "export") if "export" in stages else None
    if export is not None and "frames" in export.summary:
        notes.append(f"{export.summary.get('valid')} of {export.summary['frames']} frames valid")
    checkpoints = sum(path.is_file() for path in (place / "checkpoints").rglob("*"))
    if checkpoints:
        notes.append(f"{checkpoints} checkpoint files of an unfinished fit")
    step = _last_step(place / _TRAINING_LOG)
    if step:
        notes.append(f"step {step}")
    return "; ".join(notes)


def _last_step(log: Path) -> int:
    for line in reversed(log.read_bytes().splitlines() if log.is_file() else []):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            continue  # cut short by a kill
    return 0
