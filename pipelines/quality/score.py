"""Expected error -> weight and reject reason of every frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.quality.error_model import ErrorModel
from pipelines.quality.observables import Observables
from pipelines.quality.settings import QualitySettings, RejectSettings, WeightSettings
from pipelines.records import FrameStatus


@dataclass(frozen=True, slots=True, eq=False)
class QualityScores:
    """What is known of how good a recording's frames are; one row per frame, none left out."""

    recording: str
    frame_names: tuple[str, ...]
    expected_error_mm: Float[np.ndarray, " frames"]
    """Mean distance of the body's vertices from the truth to be expected; NaN without a fit."""
    weight: Float[np.ndarray, " frames"]
    """1 for good frames, 0 for those that are left out."""
    reject_reason: tuple[str, ...]
    """Empty for frames that may be used."""
    observables: Mapping[str, Float[np.ndarray, " frames"]]
    """NaN where a frame has none."""


def score_frames(
    recording: str,
    frame_names: tuple[str, ...],
    status: tuple[FrameStatus, ...],
    observables: Observables,
    model: ErrorModel,
    settings: QualitySettings,
) -> QualityScores:
    """Score every frame; `status` is the scored fit's and becomes the reason of frames without one."""
    error = np.where(observables.valid, model.expected_error_mm(observables.values), np.nan)
    reasons = _reasons(error, status, observables, settings.reject)
    weight = np.where([not reason for reason in reasons], weights(error, settings.weight), 0.0)
    return QualityScores(recording, frame_names, error, weight, reasons, {**observables.values})


def weights(
    error_mm: Float[np.ndarray, " frames"], settings: WeightSettings
) -> Float[np.ndarray, " frames"]:
    """Confidence weight of an expected error; a frame without one gets 0."""
    known = np.where(np.isfinite(error_mm), error_mm, np.inf)
    weight = np.minimum(np.square(settings.full_mm / np.maximum(known, 1e-9)), 1.0)
    return np.where(known < settings.none_mm, weight, 0.0)


def _reasons(
    error_mm: Float[np.ndarray, " frames"],
    status: tuple[FrameStatus, ...],
    observables: Observables,
    settings: RejectSettings,
) -> tuple[str, ...]:
    """The first reason that applies to each frame."""
    values = observables.values
    beyond = {
        "expected_error": error_mm > settings.expected_error_mm,
        "body_hidden": values["surface_hidden_share"] > settings.hidden_share,
        "surface_uncovered": values["surface_uncovered_share"] > settings.uncovered_share,
        "penetration": values["penetration_mm"] > settings.penetration_mm,
    }
    reasons = []
    for frame, own in enumerate(status):
        named = [reason for reason, mask in beyond.items() if mask[frame]]
        if own:
            reasons.append(str(own))
        elif not observables.valid[frame]:
            reasons.append("fit_not_finite")
        else:
            reasons.append(named[0] if named else "")
    return tuple(reasons)
