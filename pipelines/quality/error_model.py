"""Observables -> expected error: one log-linear formula, its numbers in a small JSON file.

    z_i = (log(1 + x_i / scale_i) - mean_i) / deviation_i
    expected_error_mm = exp(intercept + slope * sum_i weight_i z_i)

No weight is negative, so more trouble never lowers the expected error. An observable that a frame does not
have counts as bad as the worst tenth of the calibration frames: what cannot be seen is no comfort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from pipelines.artifacts import hash_file, write_json
from pipelines.errors import DataInvalid, DataMissing
from pipelines.quality.settings import SHIPPED_MODEL, ObservableSettings

SCHEMA: Final = "prox-humor-gt error model 1"
WORST_TENTH: Final = 90.0
"""Percentile of the calibration frames that stands for an observable a frame does not have."""
_REACH: Final = 8.0
"""Standard deviations at which an observable is cut: beyond it the formula was never tried."""


@dataclass(frozen=True, slots=True)
class Term:
    """One observable of the formula."""

    scale: float
    mean: float
    deviation: float
    missing: float
    """z of a frame without this observable."""
    weight: float
    group: str


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """The calibrated formula."""

    terms: Mapping[str, Term]
    intercept: float
    slope: float
    observables_hash: str
    """Settings the observables were measured with."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def standardised(
        self, values: Mapping[str, Float[np.ndarray, " frames"]]
    ) -> Float[np.ndarray, "frames terms"]:
        """The z of every frame, in the order of the terms.

        Raises:
            DataInvalid: an observable of the formula was not measured.
        """
        missing = sorted(set(self.terms) - set(values))
        if missing:
            raise DataInvalid(
                "the error model reads observables that were not measured",
                expected=", ".join(missing[:5]) + (" ..." if len(missing) > 5 else ""),
                fix="score fits with all rows of HuMoR, or calibrate a model for the rows there are",
            )
        columns = []
        for name, term in self.terms.items():
            x = np.asarray(values[name], np.float64)
            known = np.isfinite(x)
            z = (
                np.log1p(np.maximum(np.where(known, x, 0.0), 0.0) / term.scale) - term.mean
            ) / term.deviation
            columns.append(np.clip(np.where(known, z, term.missing), -_REACH, _REACH))
        return np.stack(columns, axis=1)

    def expected_error_mm(
        self, values: Mapping[str, Float[np.ndarray, " frames"]]
    ) -> Float[np.ndarray, " frames"]:
        """Expected distance of the body's vertices from the truth, mean over the 6890, millimetres."""
        weights = np.array([term.weight for term in self.terms.values()])
        return np.exp(self.intercept + self.slope * (self.standardised(values) @ weights))


def write_error_model(path: Path, model: ErrorModel) -> None:
    """Write as JSON, whole or not at all."""
    terms = {
        name: {key: getattr(term, key) for key in Term.__slots__} for name, term in model.terms.items()
    }
    write_json(
        path,
        {
            "schema": SCHEMA,
            "terms": terms,
            "intercept": model.intercept,
            "slope": model.slope,
            "observables_hash": model.observables_hash,
            "provenance": dict(model.provenance),
        },
    )


def read_error_model(path: Path | None, settings: ObservableSettings) -> ErrorModel:
    """Read a model; None reads the shipped one.

    Raises:
        DataMissing: no such file.
        DataInvalid: not an error model, numbers missing or not finite, or made for other observables.
    """
    path = path or SHIPPED_MODEL
    if not path.is_file():
        raise DataMissing(
            "no error model", where=path, fix="run `python -m flows calibrate-quality` to make one"
        )
    model = _parse(path)
    if model.observables_hash != settings.content_hash():
        raise DataInvalid(
            "the error model was calibrated for other observable settings",
            where=path,
            expected=model.observables_hash[:12],
            found=settings.content_hash()[:12],
            fix="use the default quality.observables, or run `python -m flows calibrate-quality`",
        )
    return model


def model_identity(path: Path | None) -> str:
    """Hash of the model file a score depends on."""
    path = path or SHIPPED_MODEL
    return hash_file(path) if path.is_file() else "none"


def _parse(path: Path) -> ErrorModel:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']!r}")
        # JSON keeps no order of its own here: write_json sorts the names, and so does this.
        terms = {name: Term(**content["terms"][name]) for name in sorted(content["terms"])}
        model = ErrorModel(
            terms,
            float(content["intercept"]),
            float(content["slope"]),
            str(content["observables_hash"]),
            content["provenance"],
        )
        numbers = [
            model.intercept,
            model.slope,
            *(getattr(t, key) for t in terms.values() for key in Term.__slots__ if key != "group"),
        ]
        if not terms or not np.isfinite(np.array(numbers, np.float64)).all():
            raise ValueError("no terms, or numbers that are not finite")
        if any(term.scale <= 0 or term.deviation <= 0 or term.weight < 0 for term in terms.values()):
            raise ValueError("scales and deviations are positive, weights not negative")
    except (ValueError, KeyError, TypeError) as error:
        raise DataInvalid(
            f"not an error model: {error}",
            where=path,
            expected=SCHEMA,
            fix="restore the file, or run `python -m flows calibrate-quality`",
        ) from None
    return model
