"""The status of a run as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.progress.status import WHOLE, RunStatus, UnitStatus


def print_status(status: RunStatus, console: Console | None = None) -> None:
    """One line per unit, then failures."""
    console = console or Console(width=140)
    table = Table(title=escape(str(status.folder)), title_justify="left")
    for name in ("unit", "stages done", "how far", "last event"):
        table.add_column(name)
    for unit in status.units:
        table.add_row(escape(unit.unit), _stages(unit), escape(unit.note), escape(_last(unit)))
    console.print(table)
    units = [unit for unit in status.units if unit.unit != WHOLE]
    if units:
        console.print(f"{len(status.finished)} of {len(units)} are finished.", highlight=False)
    for unit in status.failed:
        console.print(f"FAILED {unit.unit}: {unit.failure}", highlight=False, markup=False)


def _stages(unit: UnitStatus) -> str:
    text = ", ".join(unit.done) or ("" if unit.unit == WHOLE else "none")
    return text + (f"; files missing of {', '.join(unit.damaged)}" if unit.damaged else "")


def _last(unit: UnitStatus) -> str:
    event = unit.last
    if event is None:
        return ""
    when = event.time[:19].replace("T", " ")
    return f"{when} {event.what} {event.kind}{', then killed' if unit.killed else ''}"
