"""Which frames, stretches and recordings are worst, and what is unusual about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.metrics.definitions import definition_of
from pipelines.metrics.evaluate import TRUTH, RecordingMetrics
from pipelines.metrics.tables import format_value
from pipelines.report.measures import (
    DEPTH_MAX_CM,
    REPROJECTION_PX,
    V2V_MM,
    FrameMeasures,
)
from pipelines.report.settings import WorstSettings

MEANINGS = {
    "v2v_v1": "the body is far from the true one",
    "pene_v1": "the body is inside furniture, walls or floor",
    "reproj_pooled_v1": "joints are off the detections in the image",
    "scan_distance_v1": "depth points of the person are not on the body",
    "accel_error_v1": "the motion is shakier, or smoother, than the true one",
    "skate_slide_v1": "planted feet slide",
    "seam_jump_v1": "the body jumps where fitting windows meet",
}
"""What a large figure looks like."""
_WITHOUT_TRUTH = ("pene_v1", "reproj_pooled_v1", "scan_distance_v1")
_CONDITIONS = {
    "hidden_percent": ("{:.0f} % of the body joints hidden", 1),
    "confident_keypoints": ("{:.1f} confident keypoints a frame", -1),
    "depth_points": ("{:.0f} depth points a frame", -1),
    "detection_px": ("the detections are {:.0f} px off the true joints", 1),
}
"""Condition -> its text, and whether more (1) or less (-1) of it makes a frame hard."""
_UNUSUAL = 1.25
"""A condition is named when so many times worse: of a stretch than in the whole recording, of a recording
than in the run's median."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some consecutive frames."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One figure that stands out."""

    key: str
    value: str
    """With its unit."""
    times: float
    """The median over the run's recordings."""
    meaning: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a recording did beside the others."""

    recording: str
    rank: int
    """1 is the worst."""
    score: float
    """What the order is by: V2V in mm, or without truth the mean of three figures over their medians."""
    reasons: tuple[Reason, ...]
    harder: tuple[str, ...]
    """What made its frames harder to fit than those of the run's median recording."""
    stretch: Stretch | None


def frame_scores(measures: FrameMeasures, method: str) -> Float[np.ndarray, " frames"]:
    """How bad each frame of a method is; NaN without a usable body.

    V2V, or without truth the mean of reprojection and depth, each over its own median.
    """
    row = measures.methods[method]
    if V2V_MM in row:
        return np.asarray(row[V2V_MM], np.float64)
    parts = []
    for name in (REPROJECTION_PX, DEPTH_MAX_CM):
        values = np.asarray(row[name], np.float64)
        positive = values[values > 0]
        parts.append(values / np.median(positive) if len(positive) else values)
    stacked = np.stack(parts)
    seen = np.isfinite(stacked)
    total = np.where(seen, stacked, 0).sum(axis=0)
    return np.where(seen.any(axis=0), total / np.maximum(seen.sum(axis=0), 1), np.nan)


def worst_frames(measures: FrameMeasures, method: str, settings: WorstSettings) -> list[int]:
    """The worst frames, worst first, some time apart from each other."""
    scores = frame_scores(measures, method)
    order = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), kind="stable")
    chosen: list[int] = []
    for frame in order[: int(np.isfinite(scores).sum())].tolist():
        if len(chosen) == settings.frames:
            break
        times = measures.time_s
        if all(abs(times[frame] - times[other]) >= settings.apart_s for other in chosen):
            chosen.append(frame)
    return chosen


def worst_stretch(measures: FrameMeasures, method: str, length_s: float) -> Stretch | None:
    """The run of frames with the highest mean score, and what was different there."""
    scores = frame_scores(measures, method)
    seen = np.isfinite(scores)
    if not seen.any():
        return None
    times = measures.time_s
    last = np.searchsorted(times, times + length_s, side="left")
    means = np.full(len(scores), -np.inf)
    for first in range(len(scores)):
        inside = slice(first, last[first])
        if times[-1] - times[first] >= length_s - 1e-9 or first == 0:
            counted = seen[inside]
            if counted.any():
                means[first] = scores[inside][counted].mean()
    first = int(means.argmax())
    frames = slice(first, int(last[first]))
    overall = float(scores[seen].mean())
    unit = " mm V2V" if V2V_MM in measures.methods[method] else " (score)"
    peak = first + int(np.nanargmax(scores[frames]))
    text = (
        f"{means[first]:.1f}{unit} (most: {scores[peak]:.1f} in frame {peak}), "
        f"the whole recording {overall:.1f}"
    )
    unusual = _worse(
        _mean_conditions(measures, frames), _mean_conditions(measures), "in the whole recording"
    )
    return Stretch(first, frames.stop - 1, "; ".join([text, *unusual]))


def rank_recordings(
    metrics: Mapping[str, RecordingMetrics],
    measures: Mapping[str, FrameMeasures],
    method: str,
    explain_above: float,
    stretch_s: float,
) -> list[Verdict]:
    """All recordings, worst first, each with the figures that stand out against the run's median."""
    names = list(metrics)
    values = {key: {name: _value(metrics[name], method, key) for name in names} for key in MEANINGS}
    medians = {key: _median(list(row.values())) for key, row in values.items()}
    score = {name: _score(values, medians, name) for name in names}
    conditions = {name: _mean_conditions(measures[name]) for name in names}
    usual = {key: _median([row.get(key, np.nan) for row in conditions.values()]) for key in _CONDITIONS}
    verdicts: list[Verdict] = []
    for name in sorted(names, key=lambda n: -score[n] if np.isfinite(score[n]) else np.inf):
        reasons = [
            Reason(
                key,
                f"{format_value(values[key][name])} {definition_of(key).unit}",
                values[key][name] / medians[key],
                meaning,
            )
            for key, meaning in MEANINGS.items()
            if medians[key] > 0 and values[key][name] / medians[key] > explain_above
        ]
        reasons.sort(key=lambda reason: -reason.times)
        stretch = worst_stretch(measures[name], method, stretch_s)
        harder = _worse(conditions[name], usual, "in the median recording")
        verdicts.append(
            Verdict(name, len(verdicts) + 1, score[name], tuple(reasons), tuple(harder), stretch)
        )
    return verdicts


def _mean_conditions(measures: FrameMeasures, frames: slice = slice(None)) -> dict[str, float]:
    """Condition -> its mean over the frames that tell of it; left out where none does."""
    known = dict(measures.conditions)
    if TRUTH in measures.methods:
        known["detection_px"] = measures.methods[TRUTH][REPROJECTION_PX]
    rows = {name: np.asarray(values, np.float64)[frames] for name, values in known.items()}
    return {name: float(np.nanmean(row)) for name, row in rows.items() if np.isfinite(row).any()}


def _worse(here: Mapping[str, float], usual: Mapping[str, float], where: str) -> list[str]:
    """Conditions that are worse here than is usual."""
    found = []
    for name, (text, direction) in _CONDITIONS.items():
        value, other = here.get(name, np.nan), usual.get(name, np.nan)
        worse = value > _UNUSUAL * other if direction > 0 else _UNUSUAL * value < other
        if worse and round(value) != round(other):
            found.append(f"{text.format(value)} ({other:.0f} {where})")
    return found


def _value(metrics: RecordingMetrics, method: str, key: str) -> float:
    tally = metrics.methods.get(method, {}).get(key)
    return float("nan") if tally is None else tally.value


def _median(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else float("nan")


def _score(values: Mapping[str, Mapping[str, float]], medians: Mapping[str, float], name: str) -> float:
    if np.isfinite(medians["v2v_v1"]):
        return values["v2v_v1"][name]
    ratios = [values[key][name] / medians[key] for key in _WITHOUT_TRUTH if medians[key] > 0]
    finite = [ratio for ratio in ratios if np.isfinite(ratio)]
    return float(np.mean(finite)) if finite else float("nan")
