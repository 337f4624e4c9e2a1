"""Everything the report says, as plain records; the templates only lay it out."""

from __future__ import annotations

import base64
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.artifacts import code_version, read_marker
from pipelines.metrics.definitions import definition_of
from pipelines.metrics.evaluate import TRUTH, RecordingMetrics
from pipelines.metrics.summary import PUBLISHED, Cell, MetricsTable
from pipelines.metrics.tables import Panel, format_value, panels
from pipelines.metrics.tally import pool
from pipelines.metrics.targets import check_targets
from pipelines.report.measures import V2V_MM, FrameMeasures
from pipelines.report.run import FinishedRun, title_of

RECORDING_KEYS = (
    "v2v_v1",
    "pen_pooled_v1",
    "pen_fraction_v1",
    "pene_v1",
    "reproj_pooled_v1",
    "scan_distance_v1",
    "accel_error_v1",
    "skate_slide_v1",
    "seam_jump_v1",
)
"""Columns of the tables per recording and per scene; those without a value are left out."""
STAGES = ("baseline", "humor", "export", "metrics", "report")
_LIBRARIES = ("torch", "numpy", "scipy", "smplx", "trimesh", "matplotlib", "Jinja2")


@dataclass(frozen=True, slots=True)
class TextCell:
    """One entry of a table."""

    text: str
    small: str = ""
    """Set smaller beside it: interval and ratio."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One line of a table."""

    title: str
    cells: tuple[TextCell, ...]
    kind: str = ""
    """`truth`, `published`, `result` or nothing."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """One table."""

    title: str
    header: tuple[str, ...]
    rows: tuple[TextRow, ...]
    note: str = ""


def metric_tables(table: MetricsTable, result: str) -> list[TextTable]:
    """The blocks of the metrics table; the published figures stand under the headline."""
    return [_panel_table(table, panel, result) for panel in panels(table)]


def target_table(table: MetricsTable) -> TextTable | None:
    """What the result must reach, and what was found."""
    targets = check_targets(table)
    if not targets:
        return None
    rows, untold = [], []
    for target in targets:
        if target.met is None:
            untold.append(target.text)
            continue
        found = (
            "none left" if math.isinf(target.found) else f"{format_value(target.found)} {target.unit}"
        )
        met = "yes" if target.met else "NO"
        cells = (f"{target.wanted} {target.unit}", found, met)
        rows.append(TextRow(target.text, tuple(TextCell(text) for text in cells), met))
    note = f"This data cannot tell: {'; '.join(untold)}." if untold else ""
    header = ("result against the baseline", "wanted", "found", "met")
    return TextTable("Targets", header, tuple(rows), note)


def recording_table(run: FinishedRun, order: Sequence[str]) -> TextTable:
    """The result's figures, a row for each recording, in the order given."""
    return _grouped_table("Recordings", "recording", run, {name: [run.metrics[name]] for name in order})


def scene_table(run: FinishedRun) -> TextTable:
    """The result's figures pooled over the recordings of a scene."""
    scenes: dict[str, list[RecordingMetrics]] = {}
    for metrics in run.metrics.values():
        scenes.setdefault(metrics.scene, []).append(metrics)
    return _grouped_table("Scenes", "scene", run, scenes)


def provenance_table(table: MetricsTable) -> TextTable:
    """What two results must share to be comparable."""
    rows = [TextRow(key, (TextCell(value),)) for key, value in table.provenance.items()]
    rows.append(TextRow("code of the metrics", (TextCell(table.code),)))
    here = code_version("pipelines")
    rows.append(TextRow("code that wrote this report", (TextCell(here),)))
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    rows.append(TextRow("libraries", (TextCell(f"Python {platform.python_version()}, {libraries}"),)))
    return TextTable("Provenance", ("what", "value"), tuple(rows))


def marker_table(folders: Mapping[str, Iterable[Path]]) -> TextTable:
    """What every stage of every recording was made from: recording -> folders with markers."""
    rows = []
    for recording, places in folders.items():
        for folder in places:
            for stage in STAGES:
                marker = read_marker(folder, stage)
                if marker is None:
                    continue
                inputs = ", ".join(f"{n} {h[-8:]}" for n, h in sorted(marker.key.inputs.items()))
                cells = (marker.key.settings_hash[:8], marker.key.code[:8], inputs)
                rows.append(TextRow(f"{recording}: {stage}", tuple(TextCell(cell) for cell in cells)))
    header = ("recording: stage", "settings", "code", "inputs (last 8 digits of their SHA-256)")
    return TextTable("Made from", header, tuple(rows))


def frame_caption(measures: FrameMeasures, frame: int, methods: Sequence[str]) -> str:
    """The figures of one frame."""
    parts = [f"frame {frame} ({measures.frame_names[frame]}), {measures.time_s[frame]:.2f} s"]
    if "hidden_percent" in measures.conditions:
        parts.append(f"{measures.conditions['hidden_percent'][frame]:.0f} % of the joints hidden")
    for method in methods:
        row = measures.methods[method]
        figures = []
        if V2V_MM in row and method != TRUTH:
            figures.append(f"V2V {row[V2V_MM][frame]:.0f} mm")
        figures.append(f"reprojection {row['reprojection_px'][frame]:.1f} px")
        figures.append(
            f"{row['inside_percent'][frame]:.1f} % inside, up to {row['depth_max_cm'][frame]:.1f} cm"
        )
        parts.append(f"{title_of(method)}: {', '.join(figures)}")
    return "; ".join(parts).replace("nan", "–")


def data_uri(content: bytes | str, media_type: str) -> str:
    """A picture as an address that holds it."""
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(raw).decode()}"


def script_json(content: Any) -> str:
    """JSON that can stand inside a script element: no angle bracket, no ampersand."""
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _grouped_table(
    title: str, what: str, run: FinishedRun, groups: Mapping[str, Sequence[RecordingMetrics]]
) -> TextTable:
    method = run.result
    keys = [key for key in RECORDING_KEYS if any(key in m.methods[method] for m in run.metrics.values())]
    rows = []
    for name, members in groups.items():
        frames = sum(len(m.frames.names) for m in members)
        cells = [TextCell(str(frames))]
        for key in keys:
            found = [m.methods[method][key] for m in members if key in m.methods[method]]
            cells.append(TextCell(format_value(pool(found).value) if found else "–"))
        family = {m.motion_family for m in members if m.motion_family}
        rows.append(TextRow(name, (*cells, TextCell(", ".join(sorted(family)) or "–"))))
    header = (what, "frames", *(_column_title(key) for key in keys), "motion")
    return TextTable(title, header, tuple(rows), f"All figures are of {title_of(method)}.")


def _panel_table(table: MetricsTable, panel: Panel, result: str) -> TextTable:
    rows = []
    for method in table.methods:
        if method not in table.groups[panel.group]:
            continue
        cells = [_cell(table, panel, method, table.cell(method, key, panel.group)) for key in panel.keys]
        kind = {TRUTH: "truth", result: "result"}.get(method, "")
        rows.append(TextRow(title_of(method), tuple(cells), kind))
    if panel.with_ratio:
        rows += _published_rows(panel)
    return TextTable(panel.title, ("method", *(_column_title(key) for key in panel.keys)), tuple(rows))


def _cell(table: MetricsTable, panel: Panel, method: str, cell: Cell | None) -> TextCell:
    if cell is None:
        return TextCell("–")
    small = []
    if panel.with_interval and cell.interval is not None and math.isfinite(cell.value):
        small.append(f"[{format_value(cell.interval[0])}, {format_value(cell.interval[1])}]")
    if panel.with_ratio and method not in (table.baseline, TRUTH) and math.isfinite(cell.ratio):
        small.append(f"÷ {cell.ratio:.2f}")
    return TextCell(format_value(cell.value), " ".join(small))


def _published_rows(panel: Panel) -> list[TextRow]:
    rows = []
    for row, title in (
        ("prox", "published: PROX (RGBD)"),
        ("prox_humor", "published: PROX+HuMoR (RGBD)"),
    ):
        cells = []
        for key in panel.keys:
            figures = PUBLISHED.get(key)
            ratio = "" if figures is None or row == "prox" else f"÷ {figures['ratio']:.2f}"
            cells.append(TextCell("–" if figures is None else f"{figures[row]:.2f}", ratio))
        rows.append(TextRow(title, tuple(cells), "published"))
    return rows


def _column_title(key: str) -> str:
    definition = definition_of(key)
    _, _, subset = key.partition(".")
    title = f"{definition.title}, {subset}" if subset else definition.title
    return f"{title} ({definition.unit})"
