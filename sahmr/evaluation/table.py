"""Samples pooled into one table: plain means over images, intervals by recording, groups.

The table is a `pipelines.metrics.summary.MetricsTable`, so that the compare verb serves it too: results that
differ in samples, reference bodies, distance grids or definitions are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from pipelines.artifacts import code_version, write_json
from pipelines.config import Settings
from pipelines.errors import DataInvalid
from pipelines.metrics.bootstrap import Interval, draw_recordings, interval
from pipelines.metrics.summary import GROUP_ALL, Cell, DataDescription, MetricsTable
from sahmr.evaluation.definitions import (
    DEFINITIONS,
    METRO,
    PAPER_COLUMNS,
    PAPER_ROWS,
    PUBLISHED,
    ordered_rows,
)
from sahmr.evaluation.sample_errors import RowErrors, SampleIds

_NAMED_SAMPLES: Final = 5
"""How many samples without a finite prediction a warning names."""


class IntervalSettings(Settings):
    """Bootstrap over recordings: samples of one recording are not independent."""

    samples: int = Field(default=2000, ge=1)
    seed: int = Field(default=0, ge=0)
    min_recordings: int = Field(default=3, ge=2)
    """Fewer recordings give no interval."""


@dataclass(frozen=True, slots=True)
class RowDescription:
    """Where a row comes from."""

    title: str
    data: str
    """What produced it: the training data of a network, the fits of a pseudo ground truth."""
    checkpoint: str = ""
    """SHA-256 of the weights; empty for a row without."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A table and where its rows come from."""

    table: MetricsTable
    rows: Mapping[str, RowDescription]

    def write(self, path: Path) -> None:
        """Write as JSON with definitions and the paper's figures; the compare verb reads it."""
        titles = {row: description.title for row, description in self.rows.items()}
        published = {
            PAPER_ROWS[row]: dict(zip(PAPER_COLUMNS, figures, strict=True))
            for row, figures in PUBLISHED.items()
        }
        content: dict[str, Any] = {
            "schema": "sahmr evaluation 1",
            "definitions": {key: asdict(definition) for key, definition in DEFINITIONS.items()},
            "published": {"data": "RICH", "rows": published},
            "titles": titles,
            "rows": {row: asdict(description) for row, description in self.rows.items()},
            **asdict(self.table),
        }
        write_json(path, content)


def evaluation_table(
    samples: SampleIds,
    rows: Mapping[str, RowErrors],
    provenance: Mapping[str, str],
    kind: str,
    settings: IntervalSettings | None = None,
) -> MetricsTable:
    """Pool samples; one whose prediction is not finite in some row is left out of all, and named.

    Args:
        samples: names.
        rows: the errors of each row, samples in the same order.
        provenance: what two results must agree in to be compared.
        kind: `synthetic` or `real`.
        settings: of the intervals.

    Raises:
        DataInvalid: there is no sample, no row, or no sample with finite predictions in all rows.
    """
    settings = settings or IntervalSettings()
    if len(samples) == 0 or not rows:
        raise DataInvalid(
            "there is nothing to evaluate",
            found=f"{len(samples)} samples, {len(rows)} rows",
            fix="choose a split that has samples, and give at least one checkpoint",
        )
    usable = np.all([errors.finite for errors in rows.values()], axis=0)
    warnings = _not_finite(samples, rows)
    if not usable.any():
        raise DataInvalid("no sample has a finite prediction in every row", found="; ".join(warnings))
    methods = ordered_rows(rows)
    members = _groups(samples, usable)
    recordings = tuple(sorted({samples.recording[place] for place in np.flatnonzero(usable)}))
    groups = {
        group: {method: _cells(method, rows, samples, mask, settings) for method in methods}
        for group, mask in members.items()
    }
    return MetricsTable(
        DataDescription(
            kind,
            None,
            recordings,
            int(usable.sum()),
            dict.fromkeys(
                sorted(set(samples.recording) - set(recordings)), "no prediction is finite in all rows"
            ),
        ),
        methods,
        METRO if METRO in methods else None,
        groups,
        {group: _recordings(samples, mask) for group, mask in members.items()},
        {method: _accounting(rows[method]) for method in methods},
        dict(provenance) | {"frames_hash": samples.content_hash()},
        warnings,
        code_version("sahmr/evaluation"),
    )


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much larger one row's error is than another's, sample by sample."""

    value: float
    unit: str
    count: int
    interval: Interval
    """95 %, by recording."""


def paired_difference(
    samples: SampleIds,
    larger: RowErrors,
    smaller: RowErrors,
    key: str,
    settings: IntervalSettings | None = None,
) -> PairedDifference:
    """Mean of `larger - smaller` over the samples both have; NaN and count 0 where they share none."""
    settings, definition = settings or IntervalSettings(), DEFINITIONS[key]
    difference = definition.scale * (larger.values[key] - smaller.values[key])
    recording = np.unique(np.array(samples.recording), return_inverse=True)[1]
    known, size = np.isfinite(difference), int(recording.max(initial=-1)) + 1
    spread: Interval = None
    if size >= settings.min_recordings:
        draws = draw_recordings(size, settings.samples, settings.seed)
        spread = interval(_resampled_means(difference, recording, draws))
    value = float(difference[known].mean()) if known.any() else math.nan
    return PairedDifference(value, definition.unit, int(known.sum()), spread)


def _groups(samples: SampleIds, usable: Bool[np.ndarray, " n"]) -> dict[str, Bool[np.ndarray, " n"]]:
    members = {GROUP_ALL: usable}
    for kind in ("scene", "subject", "recording"):
        names = np.array(getattr(samples, kind))
        for name in sorted(set(names[usable].tolist())):
            members[f"{kind} {name}"] = usable & (names == name)
    return members


def _recordings(samples: SampleIds, mask: Bool[np.ndarray, " n"]) -> tuple[str, ...]:
    return tuple(sorted({samples.recording[place] for place in np.flatnonzero(mask)}))


def _cells(
    method: str,
    rows: Mapping[str, RowErrors],
    samples: SampleIds,
    mask: Bool[np.ndarray, " n"],
    settings: IntervalSettings,
) -> dict[str, Cell]:
    recording = np.unique(np.array(samples.recording)[mask], return_inverse=True)[1]
    count = int(recording.max()) + 1
    draws = None
    if count >= settings.min_recordings:
        draws = draw_recordings(count, settings.samples, settings.seed)
    baseline = rows[METRO].values if METRO in rows else {}
    return {
        key: _cell(key, values[mask], baseline[key][mask] if key in baseline else None, recording, draws)
        for key, values in rows[method].values.items()
    }


def _cell(
    key: str,
    values: Float[np.ndarray, " n"],
    baseline: Float[np.ndarray, " n"] | None,
    recording: Int[np.ndarray, " n"],
    draws: Int[np.ndarray, "draws recordings"] | None,
) -> Cell:
    definition = DEFINITIONS[key]
    known = np.isfinite(values)
    mean = definition.scale * float(values[known].mean()) if known.any() else math.nan
    base = math.nan
    if baseline is not None and np.isfinite(baseline).any():
        base = definition.scale * float(np.nanmean(baseline))
    spread: Interval = None
    ratio_spread: Interval = None
    if draws is not None:
        resampled = definition.scale * _resampled_means(values, recording, draws)
        spread = interval(resampled)
        if baseline is not None:
            ratio_spread = interval(
                _ratio(definition.scale * _resampled_means(baseline, recording, draws), resampled)
            )
    return Cell(
        key,
        mean,
        definition.unit,
        int(known.sum()),
        {} if known.all() else {"undefined": int((~known).sum())},
        spread,
        float(_ratio(np.array([base]), np.array([mean]))[0]),
        ratio_spread,
    )


def _resampled_means(
    values: Float[np.ndarray, " n"],
    recording: Int[np.ndarray, " n"],
    draws: Int[np.ndarray, "draws recordings"],
) -> Float[np.ndarray, " draws"]:
    """Mean over the samples of each set of recordings, one recording counted as often as drawn."""
    known = np.isfinite(values)
    size = draws.shape[1]
    totals = np.bincount(recording[known], weights=values[known], minlength=size)
    counts = np.bincount(recording[known], minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        return totals[draws].sum(axis=1) / counts[draws].sum(axis=1)


def _ratio(above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _accounting(errors: RowErrors) -> dict[str, float]:
    finite = int(errors.finite.sum())
    counts = {name: float(number) for name, number in errors.notes.items()}
    return {"num_samples": float(len(errors.finite)), "num_finite": float(finite), **counts}


def _not_finite(samples: SampleIds, rows: Mapping[str, RowErrors]) -> tuple[str, ...]:
    warnings = []
    for row, errors in rows.items():
        broken: Sequence[int] = np.flatnonzero(~errors.finite).tolist()
        if broken:
            named = ", ".join(samples.sample_id[place] for place in broken[:_NAMED_SAMPLES])
            more = f" and {len(broken) - _NAMED_SAMPLES} more" if len(broken) > _NAMED_SAMPLES else ""
            warnings.append(f"{row}: {len(broken)} prediction(s) not finite, left out: {named}{more}")
    return tuple(warnings)
