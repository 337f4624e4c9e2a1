"""Charts of the page as SVG: colour-blind safe colours with line styles beside them, units on every axis."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pipelines.metrics.charts import CHART_COLORS, STAGE_ORDER
from pipelines.metrics.definitions import definition_of
from pipelines.metrics.evaluate import TRUTH, RecordingMetrics
from pipelines.records import FittedSequence
from pipelines.report.measures import (
    DEPTH_MAX_CM,
    REPROJECTION_PX,
    TITLES,
    V2V_MM,
    FrameMeasures,
)
from pipelines.report.run import title_of

STYLES = {
    "proxd": "--",
    "prox_style": "--",
    "vposer_t": ":",
    "humor": "-.",
    "prox_humor": (0, (6, 1)),
    "refined": "-",
    TRUTH: (0, (1, 1)),
}
_OTHER_COLOR = "#CC79A7"
_DISTRIBUTIONS = (V2V_MM, DEPTH_MAX_CM, REPROJECTION_PX)
_RECORDING_KEYS = ("v2v_v1", "pene_v1", "reproj_pooled_v1")
_SHOWN_PERCENT = 97
"""Of the frames of a method; farther ones would press the others together."""
_QUANTILES = np.linspace(0, 100, 301)
_MARKERS = ("o", "s", "^", "D", "v", "P")


def distribution_chart(measures: Sequence[FrameMeasures], methods: Sequence[str]) -> str:
    """Share of the frames below each value, one panel per measure, one line per method."""
    shown = [name for name in _DISTRIBUTIONS if any(name in m.methods[methods[0]] for m in measures)]
    figure = Figure(figsize=(4.3 * len(shown), 3.6), layout="constrained")
    for place, name in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), place + 1)
        reach = 0.0
        for method in methods:
            values = np.concatenate([m.methods[method][name] for m in measures if method in m.methods])
            values = values[np.isfinite(values)]
            if len(values) == 0 or (method == TRUTH and name == V2V_MM):
                continue
            axes.plot(np.percentile(values, _QUANTILES), _QUANTILES, **_line(method), linewidth=1.6)
            reach = max(reach, float(np.percentile(values, _SHOWN_PERCENT)))
        axes.set(xlim=(0, reach or 1), ylim=(0, 100), xlabel=TITLES[name])
        axes.set_ylabel("frames at or below, %" if place == 0 else "")
        axes.grid(color="#DDDDDD", linewidth=0.6)
    handles, labels = figure.axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return _svg(figure)


def recordings_chart(
    metrics: Mapping[str, RecordingMetrics], order: Sequence[str], methods: Sequence[str]
) -> str:
    """One row per recording, worst on top; a mark for each method."""
    keys = [k for k in _RECORDING_KEYS if any(k in m.methods[methods[0]] for m in metrics.values())]
    height = 0.9 + 0.27 * len(order)
    figure = Figure(figsize=(4.3 * len(keys), max(height, 2.2)), layout="constrained")
    for place, key in enumerate(keys):
        axes = figure.add_subplot(1, len(keys), place + 1)
        for number, method in enumerate(methods):
            values = [_tally_value(metrics[name], method, key) for name in order]
            color, marker = CHART_COLORS.get(method, _OTHER_COLOR), _MARKERS[number % len(_MARKERS)]
            axes.plot(
                values, range(len(order)), marker, color=color, label=title_of(method), markersize=5
            )
        definition = definition_of(key)
        axes.set_xlabel(f"{definition.title}, {definition.unit}", fontsize=9)
        axes.set_yticks(range(len(order)), order if place == 0 else [""] * len(order), fontsize=8)
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.tick_params(axis="x", labelsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return _svg(figure)


def timeline_chart(measures: FrameMeasures, methods: Sequence[str], worst: Sequence[int]) -> str:
    """Error and depth over time; seams dashed, hidden joints grey, pictured frames marked.

    Scales hold all of the first method and most of the others, whose spikes would else flatten it.
    """
    names = [n for n in _DISTRIBUTIONS if n in measures.methods[methods[0]]]
    figure = Figure(figsize=(9.5, 1.35 * len(names) + 0.5), layout="constrained")
    times = measures.time_s
    for place, name in enumerate(names):
        axes = figure.add_subplot(len(names), 1, place + 1)
        for method in methods:
            axes.plot(times, measures.methods[method][name], **_line(method), linewidth=1.2)
        for seam in times[measures.seams]:
            axes.axvline(seam, color="#666666", linewidth=0.8, linestyle=(0, (2, 2)))
        for frame in worst:
            axes.plot(times[frame], 0, "^", color="black", markersize=6, clip_on=False)
        _shade_hidden(axes, measures)
        axes.set_ylim(0, _top([measures.methods[method][name] for method in methods]))
        axes.set_xlim(times[0], max(times[-1], times[0] + 1e-3))
        title, _, unit = TITLES[name].rpartition(", ")
        axes.set_ylabel(unit, fontsize=8)
        axes.set_title(title, fontsize=8, loc="left", pad=2)
        axes.tick_params(labelsize=7, labelbottom=place == len(names) - 1)
        axes.grid(color="#EEEEEE", linewidth=0.6)
        axes.set_xlabel("time, s" if place == len(names) - 1 else "", fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, fontsize=7, frameon=False)
    return _svg(figure)


def _top(rows: Sequence[Float[np.ndarray, " frames"]]) -> float | None:
    """Upper end of a time line's scale; None where nothing is known."""
    shares = [100, *[_SHOWN_PERCENT] * (len(rows) - 1)]
    seen = [(row[np.isfinite(row)], share) for row, share in zip(rows, shares, strict=True)]
    tops = [float(np.percentile(values, share)) for values, share in seen if len(values)]
    return 1.08 * max(tops) if tops and max(tops) > 0 else None


def energy_chart(fits: Mapping[str, FittedSequence], highlight: str) -> str:
    """Raw energy of each term after each stage, a line per recording, the worst one in colour."""
    terms: dict[str, dict[str, dict[str, float]]] = {}
    for recording, fit in fits.items():
        for name, values in fit.energies.items():
            stage, dot, term = name.rpartition(".")
            if dot and stage in STAGE_ORDER:
                mean = float(np.mean(values)) if np.size(values) else np.nan
                terms.setdefault(term, {}).setdefault(recording, {})[stage] = mean
    if not terms:
        return ""
    columns = min(4, len(terms))
    rows = -(-len(terms) // columns)
    figure = Figure(figsize=(3.2 * columns, 1.75 * rows + 0.3), layout="constrained")
    for place, (term, lines) in enumerate(sorted(terms.items())):
        axes = figure.add_subplot(rows, columns, place + 1)
        stages = [s for s in STAGE_ORDER if any(s in line for line in lines.values())]
        for recording, line in sorted(lines.items(), key=lambda item: item[0] == highlight):
            means = [line.get(stage, np.nan) for stage in stages]
            main = recording == highlight
            color = CHART_COLORS["refined"] if main else "#AAAAAA"
            axes.plot(
                stages, means, color=color, linewidth=1.8 if main else 0.8, marker="o", markersize=3
            )
        _log_if_wide(axes, [v for line in lines.values() for v in line.values()])
        axes.set_title(term, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(color="#EEEEEE", linewidth=0.6)
    figure.supxlabel("after stage", fontsize=9)
    figure.supylabel("sum of a window, without weight", fontsize=9)
    return _svg(figure)


def _shade_hidden(axes: Any, measures: FrameMeasures) -> None:
    hidden = measures.conditions.get("hidden_percent")
    if hidden is None:
        return
    right = axes.twinx()
    right.fill_between(measures.time_s, 0, hidden, color="#BBBBBB", alpha=0.35, linewidth=0)
    right.set_ylim(0, 100)
    right.set_yticks([0, 100], ["0", "100"], fontsize=6, color="#777777")
    right.set_ylabel("hidden, %", fontsize=6, color="#777777")


def _log_if_wide(axes: Any, values: Sequence[float]) -> None:
    positive = [value for value in values if value > 0]
    if positive and min(values) > 0 and max(positive) > 30 * min(positive):
        axes.set_yscale("log")


def _line(method: str) -> dict[str, Any]:
    color = CHART_COLORS.get(method, _OTHER_COLOR)
    return {"color": color, "linestyle": STYLES.get(method, "-"), "label": title_of(method)}


def _tally_value(metrics: RecordingMetrics, method: str, key: str) -> float:
    tally = metrics.methods.get(method, {}).get(key)
    return np.nan if tally is None else tally.value


def _svg(figure: Figure) -> str:
    """SVG text without time or random ids: equal input gives equal bytes."""
    FigureCanvasSVG(figure)
    buffer = io.StringIO()
    options: dict[Any, Any] = {"svg.hashsalt": "report", "svg.fonttype": "path", "path.simplify": True}
    with mpl.rc_context(options):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
