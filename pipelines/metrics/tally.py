"""A metric as the sums it is made of, so that pooling over recordings is exact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.metrics.definitions import definition_of


@dataclass(frozen=True, slots=True)
class Tally:
    """Sum and count of one metric's observations, with what was skipped and why."""

    key: str
    """Definition id, with a frame subset after a dot where one applies."""
    total: float
    """Sum over observations (of squares for rms), internal unit: metres, pixels, seconds, shares."""
    count: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    base_total: float = 0.0
    """Ratio metrics only: sum over the observations of the denominator."""
    base_count: int = 0

    @property
    def value(self) -> float:
        """The metric in its unit; NaN when nothing was observed."""
        definition = definition_of(self.key)
        if self.count == 0:
            return math.nan
        mean = self.total / self.count
        if definition.aggregation == "rms":
            mean = math.sqrt(mean)
        if definition.aggregation == "ratio":
            base = self.base_total / self.base_count if self.base_count else math.nan
            mean = mean / base if base > 0 else math.nan
        return definition.scale * mean

    @property
    def unit(self) -> str:
        """Unit of `value`."""
        return definition_of(self.key).unit

    def to_json(self) -> dict[str, Any]:
        """Plain mapping; `from_json` restores it exactly."""
        record: dict[str, Any] = {
            "value": self.value,
            "unit": self.unit,
            "total": self.total,
            "count": self.count,
            "skipped": dict(self.skipped),
        }
        if definition_of(self.key).aggregation == "ratio":
            record |= {"base_total": self.base_total, "base_count": self.base_count}
        return record

    @staticmethod
    def from_json(key: str, record: Mapping[str, Any]) -> Tally:
        """Read what `to_json` wrote; the value is computed anew from the sums."""
        return Tally(
            key,
            float(record["total"]),
            record["count"],
            record["skipped"],
            float(record.get("base_total", 0.0)),
            record.get("base_count", 0),
        )


def pool(tallies: Iterable[Tally]) -> Tally:
    """One tally over all observations of several of the same metric."""
    tallies = list(tallies)
    skipped: dict[str, int] = {}
    for tally in tallies:
        for reason, number in tally.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + number
    (key,) = {tally.key for tally in tallies}
    return Tally(
        key,
        math.fsum(tally.total for tally in tallies),
        sum(tally.count for tally in tallies),
        skipped,
        math.fsum(tally.base_total for tally in tallies),
        sum(tally.base_count for tally in tallies),
    )


def by_key(tallies: Iterable[Tally]) -> dict[str, Tally]:
    """Tallies under their keys."""
    return {tally.key: tally for tally in tallies}
