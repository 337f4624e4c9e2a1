"""An evaluation for people: Markdown and console, in the layout of the paper's table."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.metrics.summary import GROUP_ALL, Cell
from pipelines.metrics.tables import format_value
from sahmr.evaluation.definitions import (
    DEFINITIONS,
    METRO,
    NOT_IN_PAPER,
    PAPER_COLUMNS,
    PAPER_ROWS,
    PUBLISHED,
)
from sahmr.evaluation.table import Evaluation

CONSOLE_WIDTH: Final = 120
_BEATS: Final = ("g_mpjpe_v1", "pene_v1")
"""Where SA-HMR is held against METRO."""
_PANELS: Final = {
    "Body, aligned": ("pa_mpjpe_v1", "contact_l2_v1", "pelvis_mesh_v1"),
    "Contact": (
        "body_contact_precision_v1",
        "body_contact_recall_v1",
        "body_contact_iou_v1",
        "scene_contact_precision_v1",
        "scene_contact_recall_v1",
        "scene_contact_iou_v1",
    ),
    "Root and contact maps": (
        "pelvis_2d_v1",
        "pelvis_initial_v1",
        "pelvis_refined_v1",
        "map_recall_error_v1",
        "map_precision_error_v1",
    ),
}
_GROUP_KEYS: Final = ("g_mpjpe_v1", "mpjpe_v1", "pene_v1")


@dataclass(frozen=True, slots=True)
class Block:
    """One table as text, ready for Markdown or the console."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    published: tuple[tuple[str, ...], ...] = ()
    """The paper's figures under the measured ones."""


def blocks(evaluation: Evaluation, full: bool = True) -> list[Block]:
    """The paper's table first; `full` adds monitors and the tables by scene, subject and recording."""
    paper = Block(
        "Against the paper's table",
        ("method", "made with", *_titles(PAPER_COLUMNS)),
        tuple(
            (
                evaluation.rows[row].title,
                evaluation.rows[row].data,
                *(_text(evaluation.table.cell(row, key)) for key in PAPER_COLUMNS),
            )
            for row in evaluation.table.methods
        ),
        ()
        if evaluation.table.provenance.get("data_set") in NOT_IN_PAPER
        else tuple(
            (PAPER_ROWS[row], "paper, RICH", *("/" if f is None else f"{f:.1f}" for f in figures))
            for row, figures in PUBLISHED.items()
        ),
    )
    found = [paper, *_against_metro(evaluation)]
    if full:
        found += [block for title, keys in _PANELS.items() for block in _panel(evaluation, title, keys)]
        found += [
            block
            for kind in _kinds(evaluation)
            for key in _GROUP_KEYS
            for block in _by_group(evaluation, kind, key)
        ]
    return found


def markdown(evaluation: Evaluation) -> str:
    """Everything as Markdown."""
    lines = ["# Evaluation", "", data_line(evaluation), ""]
    for block in blocks(evaluation):
        lines += [f"## {block.title}", "", _row(block.header)]
        lines.append(_row(["---", *["---:"] * (len(block.header) - 1)]))
        lines += [_row(row) for row in block.rows]
        lines += [_row([f"*{cell}*" for cell in row]) for row in block.published]
        lines.append("")
    return "\n".join([*lines, *(f"- {line}" for line in footnotes(evaluation)), ""])


def console_text(evaluation: Evaluation, full: bool = False, width: int = CONSOLE_WIDTH) -> str:
    """The same for a terminal; the short form unless `full`."""
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(f"\n[bold]{escape(data_line(evaluation))}[/bold]")
    for block in blocks(evaluation, full):
        table = Table(title=block.title, title_justify="left")
        for place, title in enumerate(block.header):
            table.add_column(title, justify="left" if place == 0 else "right")
        for row in block.rows:
            table.add_row(*(escape(cell) for cell in row))
        for row in block.published:
            table.add_row(*(escape(cell) for cell in row), style="dim italic")
        console.print(table)
    for line in footnotes(evaluation):
        console.print(line, highlight=False, markup=False)
    return stream.getvalue()


def data_line(evaluation: Evaluation) -> str:
    """What was measured, in one sentence."""
    table = evaluation.table
    numbers = [
        f"{len(names)} {kind}{'' if len(names) == 1 else 's'}"
        for kind in ("recording", "scene", "subject")
        if (names := _group_names(evaluation, kind))
    ]
    return (
        f"Measured on {table.data.num_frames} samples of {', '.join(numbers)}; {table.data.kind} data; "
        f"reference: {table.provenance.get('reference', 'not named')}; "
        f"{table.provenance.get('bodies', 'bodies not named')}"
    )


def footnotes(evaluation: Evaluation) -> list[str]:
    """How to read the numbers, and what was left out."""
    table = evaluation.table
    lines = [
        "Brackets: 95 % by resampling recordings. G-: no alignment, in the scan's frame. PenE and ConFE are "
        "sums over 6890 vertices, not means.",
        "The paper's figures on this data set are not known here."
        if table.provenance.get("data_set") in NOT_IN_PAPER
        else "The paper's rows: RICH, licensed bodies, full-size networks; orientation only.",
        "A row that was not trained is absent.",
    ]
    for row in table.methods:
        accounting = table.accounting[row]
        notes = {k: v for k, v in accounting.items() if k not in ("num_samples", "num_finite") and v}
        if notes:
            told = ", ".join(f"{name.replace('_', ' ')}: {v:.0f}" for name, v in notes.items())
            lines.append(f"{evaluation.rows[row].title}: {told} of {accounting['num_samples']:.0f}")
    lines += [f"left out: {name} ({why})" for name, why in table.data.left_out.items()]
    return lines + [f"WARNING {text}" for text in table.warnings]


def _against_metro(evaluation: Evaluation) -> Iterator[Block]:
    """Is a row better than METRO beyond both intervals?"""
    table, rows = evaluation.table, []
    for row in table.methods:
        for key in _BEATS:
            ours, metro = table.cell(row, key), table.cell(METRO, key)
            if not row.startswith("sahmr") or ours is None or metro is None:
                continue
            apart = "too few recordings"
            if ours.interval is not None and metro.interval is not None:
                apart = "yes" if ours.interval[1] < metro.interval[0] else "no"
            rows.append((evaluation.rows[row].title, DEFINITIONS[key].title, _ratio_text(ours), apart))
    if rows:
        header = ("method", "metric", "METRO† / method", "lower, intervals apart")
        yield Block("Against METRO†, same data and training", header, tuple(rows))


def _panel(evaluation: Evaluation, title: str, keys: Sequence[str]) -> Iterator[Block]:
    table = evaluation.table
    keys = [key for key in keys if any(table.cell(row, key) for row in table.methods)]
    rows = tuple(
        (evaluation.rows[row].title, *(_text(table.cell(row, key)) for key in keys))
        for row in table.methods
        if any(table.cell(row, key) for key in keys)
    )
    if rows:
        yield Block(title, ("method", *_titles(keys)), rows)


def _by_group(evaluation: Evaluation, kind: str, key: str) -> Iterator[Block]:
    """One metric, a line per scene, subject or recording; columns are the rows that have it."""
    definition, table = DEFINITIONS[key], evaluation.table
    shown = [row for row in table.methods if table.cell(row, key) is not None]
    rows = []
    for name in _group_names(evaluation, kind):
        cells = [table.cell(row, key, f"{kind} {name}") for row in shown]
        count = max((cell.count for cell in cells if cell is not None), default=0)
        rows.append((name, str(count), *(_text(cell) for cell in cells)))
    if shown:
        titles = (evaluation.rows[row].title for row in shown)
        title = f"{definition.title} by {kind} ({definition.unit})"
        yield Block(title, (kind, "samples", *titles), tuple(rows))


def _kinds(evaluation: Evaluation) -> list[str]:
    return [
        kind for kind in ("scene", "subject", "recording") if len(_group_names(evaluation, kind)) > 1
    ]


def _group_names(evaluation: Evaluation, kind: str) -> list[str]:
    prefix = f"{kind} "
    return [
        name.removeprefix(prefix)
        for name in evaluation.table.groups
        if name != GROUP_ALL and name.startswith(prefix)
    ]


def _titles(keys: Sequence[str]) -> list[str]:
    return [f"{DEFINITIONS[key].title} ({DEFINITIONS[key].unit})" for key in keys]


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    text = format_value(cell.value)
    if cell.interval is not None and math.isfinite(cell.value):
        text += f" [{format_value(cell.interval[0])}, {format_value(cell.interval[1])}]"
    return text


def _ratio_text(cell: Cell) -> str:
    text = format_value(cell.ratio)
    if cell.ratio_interval is not None:
        text += f" [{format_value(cell.ratio_interval[0])}, {format_value(cell.ratio_interval[1])}]"
    return text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
