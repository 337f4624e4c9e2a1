"""How far a run folder is: stages done, last event and failures, without reading the data."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.artifacts import read_marker
from pipelines.errors import DataMissing, PipelineError
from pipelines.progress.events import FAILED, STARTED, Event, read_events
from pipelines.pseudo_gt.data import data_source, list_recordings
from pipelines.pseudo_gt.settings import PseudoGtSettings

_log = logging.getLogger(__name__)

STAGES = ("baseline", "humor", "export", "metrics", "quality")


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """One recording of a run folder."""

    recording: str
    done: tuple[str, ...]
    """Stages with a marker whose files are all there; whether they are still current, `plan` tells."""
    damaged: tuple[str, ...]
    """Stages with a marker that lack files."""
    frames: int | None
    valid: int | None
    """Of the result."""
    checkpoints: int
    """Files of a fit that was begun and not finished."""
    last: Event | None
    failure: str
    """Reason of the last failure, unless something of the recording went well since."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run folder."""

    folder: Path
    recordings: tuple[RecordingStatus, ...]
    last: Event | None
    """Of the run as a whole."""

    @property
    def failed(self) -> list[RecordingStatus]:
        """Recordings whose last try failed."""
        return [status for status in self.recordings if status.failure]


def run_status(folder: Path, expected: Sequence[str] = ()) -> RunStatus:
    """Look at a run folder.

    Args:
        folder: of the run.
        expected: recordings the run will have, begun or not.

    Raises:
        DataMissing: there is no such folder.
    """
    if not folder.is_dir():
        raise DataMissing(
            "no run folder", where=folder, fix="start it with `make pseudo-gt`, or give its settings"
        )
    events = read_events(folder)
    begun = {path.name for path in (folder / "recordings").glob("*") if path.is_dir()}
    names = sorted(begun | set(expected) | {event.unit for event in events if event.unit})
    recordings = tuple(_recording_status(folder, name, events) for name in names)
    return RunStatus(folder, recordings, events[-1] if events else None)


def expected_recordings(settings: PseudoGtSettings) -> tuple[str, ...]:
    """Recordings a run will have; none known when its data cannot be reached."""
    try:
        return list_recordings(settings, data_source(settings))
    except PipelineError as error:
        _log.warning("recordings of the data are not known: %s", error.what)
        return ()


def _recording_status(folder: Path, name: str, events: Sequence[Event]) -> RecordingStatus:
    place = folder / "recordings" / name
    done: list[str] = []
    damaged: list[str] = []
    for stage in STAGES:
        marker = read_marker(place, stage)
        if marker is not None:
            whole = all((place / file).is_file() for file in marker.files)
            (done if whole else damaged).append(stage)
    export = read_marker(place, "export")
    summary = export.summary if export is not None else {}
    own = [event for event in events if event.unit == name]
    ended = [event for event in own if event.kind != STARTED]
    failed = bool(ended) and ended[-1].kind == FAILED
    return RecordingStatus(
        name,
        tuple(done),
        tuple(damaged),
        summary.get("frames"),
        summary.get("valid"),
        sum(path.is_file() for path in (place / "checkpoints").rglob("*")),
        own[-1] if own else None,
        str(ended[-1].details.get("reason", "")) if failed else "",
    )
