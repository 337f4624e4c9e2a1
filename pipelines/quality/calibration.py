"""Make an error model from frames whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from pipelines.config import Settings
from pipelines.errors import DataInvalid
from pipelines.quality.error_model import WORST_TENTH, ErrorModel, Term
from pipelines.quality.known import KnownFrames
from pipelines.quality.settings import ObservableSettings


class CalibrationSettings(Settings):
    """How the formula is fitted."""

    ridge: tuple[float, ...] = Field((30.0, 100.0, 300.0, 1000.0, 3000.0), min_length=1)
    """Penalties to choose from, by the error on recordings left out one at a time."""


def calibrate(
    frames: KnownFrames,
    observables: ObservableSettings,
    settings: CalibrationSettings,
    provenance: Mapping[str, Any],
) -> ErrorModel:
    """Fit the formula: weights by ridge regression of the log error, level and slope on left-out recordings.

    The penalty is the one that does best on recordings left out one at a time. Intercept and slope are
    then fitted to the left-out predictions, so that the mean expected error is the mean error also on
    recordings the weights never saw.

    Raises:
        DataInvalid: fewer than three recordings.
    """
    if len(np.unique(frames.recording)) < 3:
        raise DataInvalid(
            "an error model needs recordings to leave out",
            expected="at least 3 recordings with valid frames",
            found=len(np.unique(frames.recording)),
        )
    target = np.log(np.maximum(frames.error_mm, 1.0))
    scores = {ridge: _left_out(frames, target, ridge) for ridge in settings.ridge}
    best = min(scores, key=lambda ridge: float(np.square(scores[ridge] - target).mean()))
    intercept, slope = _level(scores[best], frames.error_mm)
    terms, offset = _fit_terms(frames, target, best)
    return ErrorModel(
        {name: terms[name] for name in sorted(terms)},
        intercept + slope * offset,
        slope,
        observables.content_hash(),
        {**provenance, "ridge": best, "frames": len(frames), "recordings": list(frames.recordings)},
    )


def _left_out(
    frames: KnownFrames, target: Float[np.ndarray, " frames"], ridge: float
) -> Float[np.ndarray, " frames"]:
    """Log error of every recording, predicted by all the others."""
    predicted = np.zeros(len(target))
    for number in np.unique(frames.recording):
        out = frames.of_recording(int(number))
        terms, offset = _fit_terms(frames.select(~out), target[~out], ridge)
        model = ErrorModel(terms, offset, 1.0, "")
        predicted[out] = np.log(model.expected_error_mm(frames.select(out).values))
    return predicted


def _fit_terms(
    frames: KnownFrames, target: Float[np.ndarray, " frames"], ridge: float
) -> tuple[dict[str, Term], float]:
    """Ridge regression without negative weights; observables that never change are left out."""
    from sklearn.linear_model import Ridge

    drafts = {name: _draft(column, frames.group[name]) for name, column in frames.values.items()}
    terms = {name: term for name, term in drafts.items() if term is not None}
    z = ErrorModel(terms, 0.0, 1.0, "").standardised(frames.values)
    fitted = Ridge(alpha=ridge, positive=True).fit(z, target)
    weighted = {
        name: Term(term.scale, term.mean, term.deviation, term.missing, float(weight), term.group)
        for (name, term), weight in zip(terms.items(), fitted.coef_, strict=True)
    }
    return weighted, float(fitted.intercept_)


def _draft(column: Float[np.ndarray, " frames"], group: str) -> Term | None:
    """Scale, mean and deviation of one observable; None when there is nothing to tell frames apart by."""
    known = column[np.isfinite(column)]
    positive = known[known > 0]
    if len(positive) == 0:
        return None
    scale = float(np.median(positive))
    logs = np.log1p(np.maximum(known, 0.0) / scale)
    mean, deviation = float(logs.mean()), float(logs.std())
    if deviation < 1e-6:
        return None
    missing = (float(np.percentile(logs, WORST_TENTH)) - mean) / deviation
    return Term(scale, mean, deviation, missing, 0.0, group)


def _level(
    score: Float[np.ndarray, " frames"], error_mm: Float[np.ndarray, " frames"]
) -> tuple[float, float]:
    """Intercept and slope of log E[error] over a score: a Gamma regression, whose mean is unbiased."""
    from sklearn.linear_model import GammaRegressor

    fitted = GammaRegressor(alpha=0.0, max_iter=1000).fit(score[:, None], np.maximum(error_mm, 1.0))
    return float(fitted.intercept_), float(max(fitted.coef_[0], 1e-3))
