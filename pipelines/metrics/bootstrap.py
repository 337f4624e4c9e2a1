"""95 % intervals by resampling whole recordings: frames of one recording are not independent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from pipelines.metrics.definitions import definition_of
from pipelines.metrics.tally import Tally

Interval = tuple[float, float] | None


def draw_recordings(
    num_recordings: int, samples: int, seed: int
) -> Int[np.ndarray, "samples recordings"]:
    """Recordings of each resampled set; the same draws for every metric keep ratios paired."""
    return np.random.default_rng(seed).integers(0, num_recordings, (samples, num_recordings))


def resampled_values(
    tallies: list[Tally], draws: Int[np.ndarray, "samples recordings"]
) -> Float[np.ndarray, " samples"]:
    """The pooled value of each resampled set, in the metric's unit; NaN where it saw nothing."""
    definition = definition_of(tallies[0].key)
    sums = np.array([[t.total, t.count, t.base_total, t.base_count] for t in tallies])
    total, count, base_total, base_count = sums[draws].sum(axis=1).T
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        if definition.aggregation == "rms":
            mean = np.sqrt(mean)
        if definition.aggregation == "ratio":
            mean = mean / (base_total / base_count)
    return definition.scale * mean


def interval(values: Float[np.ndarray, " samples"]) -> Interval:
    """2.5 and 97.5 percentiles of the finite values; None when there are none."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)
