"""An evaluation as bars with their intervals."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.artifacts import write_bytes
from pipelines.metrics.tables import format_value
from sahmr.evaluation.definitions import DATASET_GT, DEFINITIONS, METRO
from sahmr.evaluation.report import data_line
from sahmr.evaluation.table import Evaluation

CHART_KEYS: Final = ("g_mpjpe_v1", "pene_v1", "mpjpe_v1", "pa_mpjpe_v1")
_COLORS: Final = {DATASET_GT: "#009E73", METRO: "#E69F00"}
_OTHER_COLOR: Final = "#0072B2"
"""Okabe and Ito's."""


def save_chart(path: Path, evaluation: Evaluation, keys: Sequence[str] = CHART_KEYS) -> Path:
    """One panel per metric, one bar per row, 95 % intervals; lower is better."""
    rows = evaluation.table.methods
    figure = Figure(figsize=(9.6, 2.0 + 0.56 * len(rows)), layout="constrained")
    for place, key in enumerate(keys):
        _bars(figure.add_subplot(2, math.ceil(len(keys) / 2), place + 1), evaluation, key)
    figure.suptitle(data_line(evaluation) + "; lower is better", fontsize=7)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    # No software version inside: equal input gives equal bytes.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return path


def _bars(axes: Any, evaluation: Evaluation, key: str) -> None:
    definition, reach = DEFINITIONS[key], 0.0
    cells = {row: evaluation.table.cell(row, key) for row in evaluation.table.methods}
    shown = {row: cell for row, cell in cells.items() if cell is not None and math.isfinite(cell.value)}
    for place, (row, cell) in enumerate(shown.items()):
        axes.barh(place, cell.value, color=_COLORS.get(row, _OTHER_COLOR))
        end = cell.value
        if cell.interval is not None:
            axes.plot(cell.interval, [place, place], color="black", linewidth=1.2, marker="|")
            end = max(end, cell.interval[1])
        axes.annotate(
            format_value(cell.value), (end, place), (4, -3), textcoords="offset points", fontsize=7
        )
        reach = max(reach, end)
    axes.set_yticks(range(len(shown)), [evaluation.rows[row].title for row in shown], fontsize=7)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.2 * reach if reach > 0 else 1)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(f"{definition.title} ({definition.unit})", fontsize=9)
