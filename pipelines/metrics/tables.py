"""A metrics table for people: console (120 columns) and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.artifacts import write_text
from pipelines.metrics.definitions import definition_of
from pipelines.metrics.evaluate import TRUTH
from pipelines.metrics.summary import (
    GROUP_ALL,
    GROUPS,
    METHOD_TITLES,
    PUBLISHED,
    Cell,
    MetricsTable,
)
from pipelines.metrics.targets import Target, check_targets


@dataclass(frozen=True, slots=True)
class Panel:
    """One block of columns."""

    title: str
    keys: tuple[str, ...]
    with_interval: bool = False
    with_ratio: bool = False
    group: str = GROUP_ALL


_HEADLINE = Panel(
    "Headline",
    ("pen_pooled_v1", "reproj_pooled_v1", "reproj_truth_v1"),
    with_interval=True,
    with_ratio=True,
)
_TRUTH = Panel(
    "Error against truth",
    ("v2v_v1", "v2v_v1.visible", "v2v_v1.occluded", "accel_error_v1", "skate_slide_v1"),
    with_interval=True,
)
_MOTION = Panel(
    "Motion",
    ("accel_v1", "accel_root_v1", "jitter_v1", "seam_jump_v1", "seam_jump_local_v1", "skate_ratio_v1"),
)
_PENETRATION = Panel(
    "Penetration, every variant",
    (
        "pen_frame_v1",
        "pen_pooled_mm_v1",
        "pene_v1",
        "pen_fraction_v1",
        "noncollision_v1",
        "contact_v1",
    ),
)
_IMAGE = Panel(
    "Image and depth, every variant",
    (
        "reproj_frame_v1",
        "reproj_rms_v1",
        "reproj_all25_v1",
        "reproj_truth_all_v1",
        "scan_distance_v1",
    ),
)
_FLOOR = Panel(
    "Feet and floor",
    (
        "skate_speed_v1",
        "floor_depth_v1",
        "floor_frequency_00_v1",
        "floor_product_v1",
        "rohm_floor_depth_v1",
        "rohm_floor_frequency_v1",
        "contact_accuracy_v1",
    ),
)
_PARTS = Panel(
    "Error against truth, by part",
    (
        "v2v_trunk_v1",
        "v2v_hands_v1",
        "v2v_head_v1",
        "transl_v1",
        "transl_v1.visible",
        "transl_v1.occluded",
    ),
)
_JOINTS = Panel(
    "Error against truth, joints",
    (
        "g_mpjpe_h36m14_v1",
        "g_mpjpe_smpl22_v1",
        "mpjpe_h36m14_v1",
        "mpjpe_h36m14_v1.visible",
        "mpjpe_h36m14_v1.occluded",
        "pa_mpjpe_h36m14_v1",
    ),
)
_SHORT = (_HEADLINE, _PENETRATION, _TRUTH, _MOTION)
_MORE = (_IMAGE, _FLOOR, _PARTS, _JOINTS)
_GROUP_KEYS = (
    "pen_pooled_v1",
    "reproj_truth_v1",
    "v2v_v1",
    "v2v_v1.visible",
    "v2v_v1.occluded",
    "accel_error_v1",
)


def panels(table: MetricsTable, full: bool = True) -> list[Panel]:
    """The blocks a table has data for, headline first."""
    blocks = [*_SHORT, *(_MORE if full else ())]
    for group in GROUPS[1:]:
        number = len(table.group_recordings.get(group, ()))
        plural = "" if number == 1 else "s"
        title = f"{group.capitalize()} only ({number} recording{plural})"
        blocks.append(Panel(title, _GROUP_KEYS, group=group))
    kept = []
    for block in blocks:
        keys = tuple(
            key
            for key in block.keys
            if any(table.cell(method, key, block.group) for method in table.methods)
        )
        if keys:
            kept.append(replace(block, keys=keys))
    return kept


def print_table(table: MetricsTable, console: Console | None = None, full: bool = False) -> None:
    """Show the table on the console; `full` adds the blocks that are otherwise only in the files."""
    console = console or Console(width=120)
    console.print(f"\n[bold]{_data_line(table)}[/bold]")
    for panel in panels(table, full):
        console.print(_rich_panel(table, panel))
    if targets := check_targets(table):
        console.print(_target_table(targets))
    for line in _footnotes(table):
        console.print(line, highlight=False, markup=False)


def markdown(table: MetricsTable) -> str:
    """The same blocks as Markdown."""
    lines = ["# Metrics", "", _data_line(table), ""]
    for panel in panels(table):
        header = ["method", *(_column_title(key).replace("\n", " ") for key in panel.keys)]
        lines += [f"## {panel.title}", "", _markdown_row(header)]
        lines.append(_markdown_row(["---", *["---:"] * len(panel.keys)]))
        for method in _rows(table, panel):
            title = METHOD_TITLES.get(method, method)
            lines.append(_markdown_row([title, *_cells(table, panel, method, " ")]))
        lines += [_markdown_row(row) for row in _published_rows(panel)]
        ids = [f"`{key}` {_counts(table, panel, key)}" for key in panel.keys]
        lines += ["", "Observations by row: " + "; ".join(ids) + ".", ""]
    if targets := check_targets(table):
        lines += ["## Targets", "", _markdown_row(_TARGET_HEADER), _markdown_row(["---"] * 4)]
        lines += [*(_markdown_row(_target_row(target)) for target in targets), ""]
    lines += [f"- {line}" for line in _footnotes(table)]
    return "\n".join(lines) + "\n"


def write_markdown(path: Path, table: MetricsTable) -> None:
    """Write the Markdown table, whole or not at all."""
    write_text(path, markdown(table))


def format_value(value: float) -> str:
    """About three significant digits; a dash for NaN."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 0.0005:
        return "<0.001" if value > 0 else ">-0.001"
    if size >= 1000:
        return f"{value:.0f}"
    if size >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


_TARGET_HEADER = ("PROX+HuMoR against the PROX row", "wanted", "found", "met")


def _target_table(targets: Sequence[Target]) -> Table:
    rich_table = Table(title="Targets", title_justify="left")
    for name in _TARGET_HEADER:
        rich_table.add_column(name, justify="left" if name in (_TARGET_HEADER[0], "met") else "right")
    for target in targets:
        rich_table.add_row(*_target_row(target))
    return rich_table


def _target_row(target: Target) -> tuple[str, str, str, str]:
    found = "none left" if math.isinf(target.found) else f"{format_value(target.found)} {target.unit}"
    met = {True: "yes", False: "NO", None: "cannot tell"}[target.met]
    return target.text, f"{target.wanted} {target.unit}", found, met


def _rich_panel(table: MetricsTable, panel: Panel) -> Table:
    rich_table = Table(title=panel.title, title_justify="left", show_lines=panel.with_interval)
    rich_table.add_column("method", no_wrap=True)
    for key in panel.keys:
        rich_table.add_column(_column_title(key), justify="right")
    for method in _rows(table, panel):
        style = "dim" if method == TRUTH else ""
        title = METHOD_TITLES.get(method, method)
        cells = [escape(cell) for cell in _cells(table, panel, method, "\n")]
        rich_table.add_row(title, *cells, style=style)
    for row in _published_rows(panel):
        rich_table.add_row(*row, style="dim italic")
    return rich_table


def _published_rows(panel: Panel) -> Iterator[list[str]]:
    """The paper's figures under the headline, for orientation only: other data, other bodies."""
    if not panel.with_ratio:
        return
    for row, title in (("prox", "published: PROX (RGBD)"), ("prox_humor", "published: PROX+HuMoR")):
        cells = [title]
        for key in panel.keys:
            figures = PUBLISHED.get(key)
            if figures is None:
                cells.append("–")
            elif row == "prox":
                cells.append(f"{figures['prox']:.2f}")
            else:
                cells.append(f"{figures['prox_humor']:.2f} ÷ {figures['ratio']:.2f}")
        yield cells


def _rows(table: MetricsTable, panel: Panel) -> Iterator[str]:
    rows = table.groups[panel.group]
    return (method for method in table.methods if method in rows)


def _column_title(key: str) -> str:
    definition = definition_of(key)
    _, _, subset = key.partition(".")
    title = f"{definition.title}, {subset}" if subset else definition.title
    return f"{title}\n({definition.unit})"


def _cells(table: MetricsTable, panel: Panel, method: str, separator: str) -> list[str]:
    return [
        _cell_text(table, panel, method, table.cell(method, key, panel.group), separator)
        for key in panel.keys
    ]


def _cell_text(table: MetricsTable, panel: Panel, method: str, cell: Cell | None, separator: str) -> str:
    if cell is None:
        return "–"
    text = format_value(cell.value)
    if panel.with_interval and cell.interval is not None and math.isfinite(cell.value):
        line = " " if panel.with_ratio else separator
        text += f"{line}[{format_value(cell.interval[0])}, {format_value(cell.interval[1])}]"
    if panel.with_ratio and method not in (table.baseline, TRUTH) and math.isfinite(cell.ratio):
        text += f"{separator}÷ {cell.ratio:.2f}"
        if cell.ratio_interval is not None:
            low, high = cell.ratio_interval
            text += f" [{low:.2f}, {high:.2f}]"
    return text


def _counts(table: MetricsTable, panel: Panel, key: str) -> str:
    counts = [
        str(cell.count)
        for method in table.methods
        if (cell := table.cell(method, key, panel.group)) is not None
    ]
    return f"n {counts[0] if len(set(counts)) == 1 else '/'.join(counts)}"


def _data_line(table: MetricsTable) -> str:
    data = table.data
    preset = f", preset {data.preset}" if data.preset else ""
    return (
        f"Measured on {data.kind} data{preset}: {len(data.recordings)} "
        f"recording{'' if len(data.recordings) == 1 else 's'}, "
        f"{data.num_frames} frames common to all methods; {table.provenance['bodies']}"
    )


def _footnotes(table: MetricsTable) -> list[str]:
    lines = [_counts_line(table, _HEADLINE.keys)]
    lines.append(
        "÷: baseline / method, above 1 is lower than the PROX row. Brackets: 95 % by recording."
    )
    lines.append(
        "Published rows: real PROX, other data and bodies; orientation only. Their units are inferred."
    )
    if TRUTH in table.methods:
        lines.append(
            "Row truth: the true bodies measured alike; its reprojection is the detections' own noise."
        )
    for method in (method for method in table.methods if method in table.accounting):
        account = table.accounting[method]
        lines.append(
            f"{METHOD_TITLES.get(method, method)}: {account['num_valid']:.0f} of "
            f"{account['num_person_seen']:.0f} frames with the person seen are valid "
            f"({100 * account['share']:.1f} %; worst recording {100 * account['worst_share']:.1f} %)"
        )
    lines += [f"left out: {name} ({why})" for name, why in table.data.left_out.items()]
    lines += [f"WARNING {text}" for text in table.warnings]
    return lines


def _counts_line(table: MetricsTable, keys: Sequence[str]) -> str:
    parts = [
        f"{key} n {'/'.join(str(cell.count) for cell in cells if cell)}"
        for key in keys
        if any(cells := [table.cell(method, key) for method in table.methods])
    ]
    rows = "/".join(table.methods)
    return f"Observations ({rows}): {'; '.join(parts)}."


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
