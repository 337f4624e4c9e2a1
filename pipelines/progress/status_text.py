"""The status of a run as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.progress.status import RecordingStatus, RunStatus


def print_status(status: RunStatus, console: Console | None = None) -> None:
    """One line per recording, then failures."""
    console = console or Console(width=120)
    table = Table(title=escape(str(status.folder)), title_justify="left")
    for name in ("recording", "stages done", "frames valid", "last event"):
        table.add_column(name)
    for recording in status.recordings:
        table.add_row(
            escape(recording.recording), _stages(recording), _frames(recording), escape(_last(recording))
        )
    console.print(table)
    finished = sum("metrics" in recording.done for recording in status.recordings)
    console.print(f"{finished} of {len(status.recordings)} recordings are measured.", highlight=False)
    for recording in status.failed:
        console.print(
            f"FAILED {recording.recording}: {recording.failure}", highlight=False, markup=False
        )


def _stages(recording: RecordingStatus) -> str:
    text = ", ".join(recording.done) or "none"
    if recording.damaged:
        text += f"; files missing of {', '.join(recording.damaged)}"
    if recording.checkpoints:
        text += f"; {recording.checkpoints} checkpoint files of an unfinished fit"
    return text


def _frames(recording: RecordingStatus) -> str:
    return "" if recording.frames is None else f"{recording.valid} of {recording.frames}"


def _last(recording: RecordingStatus) -> str:
    event = recording.last
    return "" if event is None else f"{event.time[:19].replace('T', ' ')} {event.what} {event.kind}"
