"""Charts of a table and of a fit's energies; colour-blind safe, units on every axis."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.artifacts import write_bytes
from pipelines.metrics.definitions import definition_of
from pipelines.metrics.evaluate import TRUTH
from pipelines.metrics.summary import METHOD_TITLES, MetricsTable
from pipelines.metrics.tables import format_value
from pipelines.records import FittedSequence

CHART_COLORS = {
    "proxd": "#E69F00",
    "prox_style": "#E69F00",
    "vposer_t": "#999999",
    "humor": "#56B4E9",
    "prox_humor": "#0072B2",
    "refined": "#CC79A7",
    TRUTH: "#009E73",
}
"""Okabe and Ito's colours."""
STAGE_ORDER = ("1", "lift", "2", "3a", "light", "3b", "3c", "refine")
"""Stages of a fit as they follow each other; a schedule may leave some out."""
HEADLINE_KEYS = (
    "pen_pooled_v1",
    "reproj_pooled_v1",
    "reproj_truth_v1",
    "v2v_v1.visible",
    "v2v_v1.occluded",
    "accel_error_v1",
)


def save_headline_chart(path: Path, table: MetricsTable, keys: Sequence[str] = HEADLINE_KEYS) -> Path:
    """Bars of the headline metrics per method with their 95 % intervals; lower is better."""
    shown = [key for key in keys if _has_bars(table, key)]
    columns = min(3, max(len(shown), 1))
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows + 0.5), layout="constrained")
    methods = [method for method in table.methods if method != TRUTH]
    for place, key in enumerate(shown):
        _bars(figure.add_subplot(rows, columns, place + 1), table, key, methods)
    data = table.data
    label = f"{data.kind} data{f', preset {data.preset}' if data.preset else ''}"
    figure.suptitle(
        f"{label}, {len(data.recordings)} recording(s), {data.num_frames} frames; lower is better",
        fontsize=10,
    )
    return _save(path, figure)


def save_energy_chart(path: Path, fit: FittedSequence) -> Path:
    """Raw value of every energy term of one fit, one panel per term.

    Terms named `<stage>.<term>` run over the stages, one thin line per window and their mean; others
    over the frames or windows.
    """
    terms: dict[str, dict[str, Float[np.ndarray, " places"]]] = {}
    for name, values in fit.energies.items():
        stage, dot, term = name.rpartition(".")
        terms.setdefault(term, {})[stage if dot else ""] = _one_per_place(values)
    columns = min(4, max(len(terms), 1))
    rows = max(math.ceil(len(terms) / columns), 1)
    figure = Figure(figsize=(3.3 * columns, 1.9 * rows + 0.4), layout="constrained")
    color = CHART_COLORS.get(fit.method, "#0072B2")
    for place, (term, stages) in enumerate(sorted(terms.items())):
        axes = figure.add_subplot(rows, columns, place + 1)
        if set(stages) == {""}:
            _over_places(axes, stages[""], len(fit.frame_names), color)
        else:
            _over_stages(axes, stages, color)
        axes.set_title(term, fontsize=9)
        axes.tick_params(labelsize=7)
    title = METHOD_TITLES.get(fit.method, fit.method)
    figure.suptitle(f"{fit.recording}, {title}: energies without their weights", fontsize=10)
    return _save(path, figure)


def _one_per_place(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, " places"]:
    flat = np.asarray(values, dtype=np.float64)
    return flat.reshape(len(flat), -1).sum(axis=1) if flat.ndim else flat[None]


def _over_places(axes: Any, values: Float[np.ndarray, " places"], num_frames: int, color: str) -> None:
    per_frame = len(values) == num_frames
    axes.plot(values, color=color, linewidth=1, marker="" if per_frame else "o", markersize=4)
    axes.set_xlabel("frame" if per_frame else "window", fontsize=8)


def _over_stages(axes: Any, stages: dict[str, Float[np.ndarray, " places"]], color: str) -> None:
    names = sorted(stages, key=_stage_place)
    if len({len(values) for values in stages.values()}) == 1:
        lines = np.stack([stages[name] for name in names])
        axes.plot(names, lines, color="#BBBBBB", linewidth=0.8)
    means = [float(stages[name].mean()) if len(stages[name]) else np.nan for name in names]
    axes.plot(names, means, color=color, marker="o", markersize=4)
    axes.set_xlabel("after stage", fontsize=8)


def _stage_place(name: str) -> tuple[int, str]:
    """Order in which the fits run their stages; strangers come last."""
    order = STAGE_ORDER.index(name) if name in STAGE_ORDER else len(STAGE_ORDER)
    return order, name


def _has_bars(table: MetricsTable, key: str) -> bool:
    cells = (table.cell(method, key) for method in table.methods if method != TRUTH)
    return any(cell is not None and math.isfinite(cell.value) for cell in cells)


def _bars(axes: Any, table: MetricsTable, key: str, methods: Sequence[str]) -> None:
    definition = definition_of(key)
    _, _, subset = key.partition(".")
    reach = 0.0
    for place, method in enumerate(methods):
        cell = table.cell(method, key)
        if cell is None or not math.isfinite(cell.value):
            continue
        color = CHART_COLORS.get(method, "#CC79A7")
        axes.barh(place, cell.value, color=color)
        if cell.interval is not None:
            low, high = cell.interval
            axes.plot([low, high], [place, place], color="black", linewidth=1.2, marker="|")
        end = max(cell.value, cell.interval[1]) if cell.interval is not None else cell.value
        axes.annotate(
            format_value(cell.value), (end, place), (4, -3), textcoords="offset points", fontsize=7
        )
        reach = max(reach, end)
    truth = table.cell(TRUTH, key)
    if key.startswith("reproj_pooled") and truth is not None and math.isfinite(truth.value):
        axes.axvline(truth.value, color=CHART_COLORS[TRUTH], linestyle="--", linewidth=1)
        axes.annotate(
            "noise of the detections",
            (truth.value, 1),
            (3, -8),
            fontsize=6,
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
        )
    axes.set_yticks(range(len(methods)), [METHOD_TITLES.get(m, m) for m in methods], fontsize=7)
    axes.set_ylim(len(methods) - 0.4, -0.75)
    axes.set_xlim(0, 1.2 * reach if reach > 0 else 1)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel(f"{definition.unit}", fontsize=8)
    axes.set_title(definition.title + (f", {subset} frames" if subset else ""), fontsize=9)


def _save(path: Path, figure: Figure) -> Path:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    # No software version inside: equal input gives equal bytes.
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
    return path
