"""How well expected errors tell good frames from bad ones, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field
from scipy.stats import rankdata

from pipelines.config import Settings
from pipelines.metrics.bootstrap import Interval, draw_recordings, interval
from pipelines.quality.known import KnownFrames

Score = Callable[[Float[np.ndarray, " frames"], Float[np.ndarray, " frames"]], float]


class EvaluationSettings(Settings):
    """What is asked of the scores."""

    bad_mm: float = Field(50.0, gt=0)
    """A frame is bad when its vertices are farther from the truth, on average."""
    dropped_share: float = Field(0.1, gt=0, lt=1)
    """Share of the worst-scored frames that is left out for the gain."""
    bins: int = Field(8, ge=2)
    """Of the calibration curve, of equally many frames."""
    bootstrap_samples: int = Field(2000, ge=1)
    bootstrap_seed: int = Field(0, ge=0)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and its 95 % interval over resampled recordings."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Frames of similar expected error."""

    frames: int
    expected_mm: float
    true_mm: float
    true_interval_mm: Interval


@dataclass(frozen=True, slots=True)
class QualityReport:
    """The figures of one set of recordings."""

    recordings: int
    frames: int
    bad_frames: int
    auroc: Figure
    spearman: Figure
    gain: Figure
    """Of dropping the worst-scored share, over the gain of dropping the truly worst one."""
    mean_true_mm: float
    mean_expected_mm: Figure
    bins: tuple[CalibrationBin, ...]


def auroc(score: Float[np.ndarray, " frames"], bad: Bool[np.ndarray, " frames"]) -> float:
    """Chance that a bad frame is scored worse than a good one, ties half; NaN without both kinds."""
    num_bad, num_good = int(bad.sum()), int((~bad).sum())
    if not num_bad or not num_good:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[bad].sum() - num_bad * (num_bad + 1) / 2) / (num_bad * num_good))


def rank_correlation(a: Float[np.ndarray, " frames"], b: Float[np.ndarray, " frames"]) -> float:
    """Spearman's coefficient; NaN when one does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def gain_of_dropping(
    score: Float[np.ndarray, " frames"], error_mm: Float[np.ndarray, " frames"], share: float
) -> float:
    """Fall of the mean error when the worst-scored share is dropped, over that of the truly worst share."""
    dropped = max(round(share * len(score)), 1)
    if dropped >= len(score):
        return float("nan")
    mean = error_mm.mean()
    by_score = mean - error_mm[np.argsort(score, kind="stable")[:-dropped]].mean()
    at_best = mean - np.sort(error_mm)[:-dropped].mean()
    return float(by_score / at_best) if at_best > 0 else float("nan")


def evaluate_scores(
    frames: KnownFrames, expected_mm: Float[np.ndarray, " frames"], settings: EvaluationSettings
) -> QualityReport:
    """All figures of a set; the intervals come from resampling whole recordings."""
    error = frames.error_mm
    rows = [np.flatnonzero(frames.of_recording(number)) for number in range(len(frames.recordings))]
    draws = draw_recordings(len(rows), settings.bootstrap_samples, settings.bootstrap_seed)
    resampled = [np.concatenate([rows[recording] for recording in draw]) for draw in draws]

    def figure(measure: Score) -> Figure:
        values = np.array([measure(expected_mm[chosen], error[chosen]) for chosen in resampled])
        return Figure(measure(expected_mm, error), interval(values))

    return QualityReport(
        recordings=len(rows),
        frames=len(frames),
        bad_frames=int((error > settings.bad_mm).sum()),
        auroc=figure(lambda score, true: auroc(score, true > settings.bad_mm)),
        spearman=figure(rank_correlation),
        gain=figure(lambda score, true: gain_of_dropping(score, true, settings.dropped_share)),
        mean_true_mm=float(error.mean()),
        mean_expected_mm=figure(lambda score, true: float(score.mean())),
        bins=_bins(expected_mm, error, frames.recording, settings, draws),
    )


def _bins(
    expected_mm: Float[np.ndarray, " frames"],
    error_mm: Float[np.ndarray, " frames"],
    recording: np.ndarray,
    settings: EvaluationSettings,
    draws: np.ndarray,
) -> tuple[CalibrationBin, ...]:
    """Mean true against mean expected error, in bins of equally many frames."""
    recordings = draws.shape[1]
    bins = []
    for rows in np.array_split(np.argsort(expected_mm, kind="stable"), settings.bins):
        if len(rows) == 0:
            continue
        sums = np.bincount(recording[rows], error_mm[rows], recordings)[draws].sum(axis=1)
        counts = np.bincount(recording[rows], minlength=recordings)[draws].sum(axis=1)
        with np.errstate(invalid="ignore"):
            means = sums / counts
        bins.append(
            CalibrationBin(
                len(rows),
                float(expected_mm[rows].mean()),
                float(error_mm[rows].mean()),
                interval(means),
            )
        )
    return tuple(bins)
