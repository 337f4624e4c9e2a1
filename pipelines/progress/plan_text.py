"""A plan as a table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.progress.plan import Plan
from pipelines.progress.remaining import duration

_MB_PER_GB = 1000


def print_plan(plan: Plan, console: Console | None = None, title: str = "Will run") -> None:
    """One line per open stage, then what it takes."""
    console = console or Console(width=120)
    table = Table(title=title, title_justify="left")
    for name in ("unit", "stage", "why"):
        table.add_column(name)
    for name in (plan.counted, "CPU time", "disk"):
        table.add_column(name, justify="right")
    for stage in plan.open:
        table.add_row(
            escape(stage.unit),
            stage.stage,
            escape(stage.why or ""),
            str(stage.amount),
            "not known" if stage.cpu_s is None else duration(stage.cpu_s),
            size(stage.disk_mb),
        )
    if plan.open:
        console.print(table)
    done = Counter(stage.stage for stage in plan.stages if stage.why is None)
    if done:
        parts = ", ".join(f"{stage} {number}" for stage, number in done.items())
        console.print(f"Done and up to date: {parts}", highlight=False)
    if plan.open:
        _print_cost(plan, console)
    else:
        console.print(f"{title}: nothing to do.", highlight=False)


def print_sum(plans: Sequence[Plan], console: Console | None = None) -> None:
    """What plans that run one after another take together."""
    console = console or Console(width=120)
    console.print(
        f"Together: {duration(sum(plan.cpu_s for plan in plans))} CPU time, about "
        f"{duration(sum(plan.wall_s for plan in plans))} on an idle machine and the start of a server; "
        f"{size(sum(plan.disk_mb for plan in plans))} of disk, at most about "
        f"{max(plan.memory_gb for plan in plans):.1f} GB of memory.",
        highlight=False,
        soft_wrap=True,
    )


def _print_cost(plan: Plan, console: Console) -> None:
    console.print(
        f"{len(plan.open)} of {len(plan.stages)} stages will run: {duration(plan.cpu_s)} CPU time, about "
        f"{duration(plan.wall_s)} with {plan.workers} worker(s) on an idle machine; "
        f"{size(plan.disk_mb)} of disk ({size(plan.free_disk_mb)} free), about {plan.memory_gb:.1f} GB of "
        f"memory. Rates: {plan.measured_on}.",
        highlight=False,
        soft_wrap=True,
    )
    if plan.unknown:
        console.print(f"No rate was measured for: {', '.join(plan.unknown)}.", highlight=False)
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
