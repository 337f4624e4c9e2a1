"""A plan as a table for the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.progress.plan import Plan
from pipelines.progress.remaining import duration

_MB_PER_GB = 1000


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """One line per open stage, then what it takes."""
    console = console or Console(width=120)
    table = Table(title="Will run", title_justify="left")
    for name in ("recording", "stage", "why"):
        table.add_column(name)
    for name in ("frames", "CPU time", "disk"):
        table.add_column(name, justify="right")
    for stage in plan.open:
        table.add_row(
            escape(stage.recording),
            stage.stage,
            escape(stage.why or ""),
            str(stage.frames),
            duration(stage.cpu_s),
            size(stage.disk_mb),
        )
    if plan.open:
        console.print(table)
    done = Counter(stage.stage for stage in plan.stages if stage.why is None)
    if done:
        parts = ", ".join(f"{stage} {number}" for stage, number in done.items())
        console.print(f"Done and up to date: {parts}", highlight=False)
    if not plan.open:
        console.print("Nothing to do.")
        return
    console.print(
        f"{len(plan.open)} of {len(plan.stages)} stages will run: {duration(plan.cpu_s)} CPU time, about "
        f"{duration(plan.wall_s)} with {plan.workers} worker(s) on an idle machine; "
        f"{size(plan.disk_mb)} of disk ({size(plan.free_disk_mb)} free), about {plan.memory_gb:.1f} GB of "
        f"memory. Rates: {plan.measured_on}.",
        highlight=False,
        soft_wrap=True,
    )
    if plan.changed_settings:
        console.print("Settings that differ from those the run was last finished with:")
    for line in plan.changed_settings:
        console.print(f"  {line}", highlight=False, markup=False)
    if plan.disk_mb > plan.free_disk_mb:
        console.print("WARNING: the disk is too small.", highlight=False)


def size(megabytes: float) -> str:
    """MB or GB."""
    if megabytes < _MB_PER_GB:
        return f"{megabytes:.0f} MB"
    return f"{megabytes / _MB_PER_GB:.1f} GB"
