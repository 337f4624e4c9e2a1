"""Recordings pooled into one table: value, count, interval, ratio to the baseline."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from pipelines.artifacts import code_version, write_json
from pipelines.errors import DataInvalid, DataMissing
from pipelines.metrics.bootstrap import Interval, draw_recordings, interval, resampled_values
from pipelines.metrics.definitions import DEFINITIONS, definition_of
from pipelines.metrics.evaluate import TRUTH, RecordingMetrics
from pipelines.metrics.settings import MetricSettings
from pipelines.metrics.tally import Tally, pool

METHOD_TITLES = {
    "proxd": "PROX (released PROXD fits)",
    "prox_style": "PROX-style fit",
    "vposer_t": "stages 1-2 only (VPoser-t)",
    "humor": "HuMoR without scene terms",
    "prox_humor": "PROX+HuMoR",
    "refined": "PROX+HuMoR, refined",
    TRUTH: "truth (noise floor)",
}
"""Rows of the table, in this order; other methods follow by name."""
BASELINES = ("proxd", "prox_style")
RESULTS = ("refined", "prox_humor")
"""The method whose fits are the pseudo ground truth: the first of these that was run."""
PUBLISHED = {
    "pen_pooled_v1": {"prox": 7.35, "prox_humor": 3.15, "ratio": 2.33},
    "reproj_pooled_v1": {"prox": 19.36, "prox_humor": 10.89, "ratio": 1.78},
}
"""Published figures on PROX qualitative: PROX (RGBD) and PROX+HuMoR (RGBD). Unit cm is inferred."""

GROUP_ALL = "all"
GROUPS = (GROUP_ALL, "walks", "procedural")
"""Groups of recordings, in the order they are shown."""


def result_of(methods: Iterable[str]) -> str | None:
    """The result among some methods; None when none of them is one."""
    methods = set(methods)
    return next((name for name in RESULTS if name in methods), None)


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one method over a group of recordings."""

    definition: str
    value: float
    unit: str
    count: int
    skipped: Mapping[str, int]
    interval: Interval
    """95 %, by resampling recordings; None with too few of them."""
    ratio: float
    """Baseline's value / this value: above 1 means lower than the baseline."""
    ratio_interval: Interval


@dataclass(frozen=True, slots=True)
class DataDescription:
    """What data a table was made from."""

    kind: str
    """synthetic or real."""
    preset: str | None
    recordings: tuple[str, ...]
    num_frames: int
    """Frames every metric ran over."""
    left_out: Mapping[str, str]
    """Recordings without a number in this table, and why."""


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """Every metric of every method, pooled, with what is needed to compare it with another."""

    data: DataDescription
    methods: tuple[str, ...]
    baseline: str | None
    groups: Mapping[str, Mapping[str, Mapping[str, Cell]]]
    """Group of recordings (all, walks, procedural) -> method -> metric key -> cell."""
    group_recordings: Mapping[str, tuple[str, ...]]
    accounting: Mapping[str, Mapping[str, float]]
    """Method -> valid frames, frames with the person seen, share, worst recording's share."""
    provenance: Mapping[str, str]
    warnings: tuple[str, ...]
    code: str

    def cell(self, method: str, key: str, group: str = GROUP_ALL) -> Cell | None:
        """A cell, or None where the method has no such metric."""
        return self.groups.get(group, {}).get(method, {}).get(key)

    def to_json(self) -> dict[str, Any]:
        """Plain mapping with the definitions and the published figures beside."""
        return {
            "schema": "prox-humor-gt metrics table 1",
            "definitions": {key: asdict(DEFINITIONS[key]) for key in sorted(self._definition_ids())},
            "published": PUBLISHED,
            "titles": {method: METHOD_TITLES.get(method, method) for method in self.methods},
            **asdict(self),
        }

    def _definition_ids(self) -> set[str]:
        cells = (key for rows in self.groups.values() for row in rows.values() for key in row)
        return {definition_of(key).id for key in cells}

    @staticmethod
    def from_json(record: Mapping[str, Any]) -> MetricsTable:
        """Read what `to_json` wrote."""
        groups = {
            group: {
                method: {key: _cell_from_json(cell) for key, cell in row.items()}
                for method, row in rows.items()
            }
            for group, rows in record["groups"].items()
        }
        data = record["data"]
        return MetricsTable(
            DataDescription(
                data["kind"],
                data["preset"],
                tuple(data["recordings"]),
                data["num_frames"],
                data["left_out"],
            ),
            tuple(record["methods"]),
            record["baseline"],
            groups,
            {group: tuple(names) for group, names in record["group_recordings"].items()},
            record["accounting"],
            record["provenance"],
            tuple(record["warnings"]),
            record["code"],
        )

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_json(path, self.to_json())


def read_table(path: Path) -> MetricsTable:
    """Read a table written by `MetricsTable.write`.

    Raises:
        DataMissing: no such file.
        DataInvalid: not a metrics table.
    """
    if not path.is_file():
        raise DataMissing("metrics file not found", where=path, fix="run `make pseudo-gt` first")
    try:
        return MetricsTable.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataInvalid(
            "not a metrics table",
            where=path,
            found=repr(error),
            fix="give a metrics.json of this project",
        ) from None


def summarise(
    recordings: Sequence[RecordingMetrics],
    *,
    preset: str | None = None,
    settings: MetricSettings | None = None,
) -> MetricsTable:
    """Pool recordings; a method's sums are added, never its means.

    Recordings that lack one of the methods, or have no common frame, are left out for all methods
    and named.

    Raises:
        DataInvalid: no recording is left, or the recordings were measured with different options.
    """
    settings = settings or MetricSettings()
    kept, left_out = _complete(recordings)
    if not kept:
        raise DataInvalid(
            "no recording has frames that are valid in every method",
            found="; ".join(f"{name}: {why}" for name, why in left_out.items()) or "no recording",
            fix="look at the reasons in the recordings' own metrics files",
        )
    methods = _ordered({method for recording in kept for method in recording.methods})
    baseline = next((name for name in BASELINES if name in methods), None)
    members = _groups(kept)
    groups = {
        group: _rows([r for r in kept if r.recording in names], methods, baseline, settings)
        for group, names in members.items()
    }
    return MetricsTable(
        DataDescription(
            "real" if kept[0].motion_family is None else "synthetic",
            preset,
            tuple(r.recording for r in kept),
            sum(len(r.frames.names) for r in kept),
            left_out,
        ),
        methods,
        baseline,
        groups,
        members,
        {method: _accounting(kept, method) for method in methods if method != TRUTH},
        _merged_provenance(kept),
        tuple(f"{r.recording}: {text}" for r in recordings for text in r.warnings),
        code_version("pipelines/metrics"),
    )


def family_group(motion_family: str) -> str:
    """`walks` for recorded walks, `procedural` for everything built from planted feet."""
    return "walks" if motion_family.lower().startswith(("walk", "cmu")) else "procedural"


def _complete(
    recordings: Sequence[RecordingMetrics],
) -> tuple[list[RecordingMetrics], dict[str, str]]:
    wanted = _common_methods(recordings)
    kept, left_out = [], {}
    for recording in sorted(recordings, key=lambda r: r.recording):
        lacking = sorted(wanted - set(recording.methods))
        if lacking:
            left_out[recording.recording] = f"no fit of {', '.join(lacking)}"
        elif not recording.frames.names:
            left_out[recording.recording] = "no frame is valid in every method"
        else:
            methods = {name: row for name, row in recording.methods.items() if name in wanted}
            kept.append(replace(recording, methods=methods))
    return kept, left_out


def _common_methods(recordings: Sequence[RecordingMetrics]) -> set[str]:
    """Every method met; of the two baselines only the one that more recordings have."""
    counts = Counter(method for recording in recordings for method in recording.methods)
    baselines = sorted((name for name in BASELINES if name in counts), key=lambda n: -counts[n])
    return set(counts) - set(baselines[1:])


def _ordered(methods: set[str]) -> tuple[str, ...]:
    known = [method for method in METHOD_TITLES if method in methods]
    return (*known, *sorted(methods - set(known)))


def _groups(kept: Sequence[RecordingMetrics]) -> dict[str, tuple[str, ...]]:
    members: dict[str, tuple[str, ...]] = {GROUP_ALL: tuple(r.recording for r in kept)}
    for recording in kept:
        if recording.motion_family is not None:
            group = family_group(recording.motion_family)
            members[group] = (*members.get(group, ()), recording.recording)
    return members


def _rows(
    kept: list[RecordingMetrics],
    methods: tuple[str, ...],
    baseline: str | None,
    settings: MetricSettings,
) -> dict[str, dict[str, Cell]]:
    draws = None
    if len(kept) >= settings.bootstrap_min_recordings:
        draws = draw_recordings(len(kept), settings.bootstrap_samples, settings.bootstrap_seed)
    rows: dict[str, dict[str, Cell]] = {}
    for method in methods:
        keys = dict.fromkeys(key for r in kept for key in r.methods[method])
        rows[method] = {
            key: _cell(
                [_tally(r, method, key) for r in kept],
                [_tally(r, baseline, key) for r in kept] if baseline else None,
                draws,
            )
            for key in keys
        }
    return rows


def _tally(recording: RecordingMetrics, method: str, key: str) -> Tally:
    return recording.methods[method].get(key, Tally(key, 0.0, 0))


def _cell(
    tallies: list[Tally],
    baseline: list[Tally] | None,
    draws: Int[np.ndarray, "samples recordings"] | None,
) -> Cell:
    pooled = pool(tallies)
    base = pool(baseline).value if baseline else math.nan
    values = resampled_values(tallies, draws) if draws is not None else None
    ratio_interval: Interval = None
    if values is not None and baseline and draws is not None:
        ratio_interval = interval(_divide(resampled_values(baseline, draws), values))
    return Cell(
        definition_of(pooled.key).id,
        pooled.value,
        pooled.unit,
        pooled.count,
        pooled.skipped,
        interval(values) if values is not None else None,
        float(_divide(np.array([base]), np.array([pooled.value]))[0]),
        ratio_interval,
    )


def _divide(above: Float[np.ndarray, " n"], below: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _accounting(kept: Sequence[RecordingMetrics], method: str) -> dict[str, float]:
    valid = sum(r.frames.num_valid[method] for r in kept)
    seen = sum(r.frames.num_person_seen for r in kept)
    return {
        "num_valid": float(valid),
        "num_person_seen": float(seen),
        "share": valid / seen if seen else math.nan,
        "worst_share": min(r.frames.valid_share(method) for r in kept),
    }


def _merged_provenance(kept: Sequence[RecordingMetrics]) -> dict[str, str]:
    """One value per field: equal options as they are, per-recording hashes hashed together."""
    merged: dict[str, str] = {}
    for name in kept[0].provenance:
        values = [recording.provenance[name] for recording in kept]
        if name.endswith("_hash"):
            lines = (f"{r.recording} {value}" for r, value in zip(kept, values, strict=True))
            merged[name] = sha256("\n".join(lines).encode()).hexdigest()
        elif name == "sdf_source":
            merged[name] = ", ".join(sorted(set(values)))
        elif len(set(values)) == 1:
            merged[name] = values[0]
        else:
            raise DataInvalid(
                f"recordings were measured with different options ({name})",
                expected=f"{kept[0].recording}: {values[0]}",
                found=", ".join(sorted(set(values[1:]) - {values[0]})),
                fix="measure them again with one settings file",
            )
    return merged


def _cell_from_json(record: Mapping[str, Any]) -> Cell:
    def number(value: float | None) -> float:
        return math.nan if value is None else value

    def pair(value: Sequence[float] | None) -> Interval:
        return None if value is None else (value[0], value[1])

    return Cell(
        record["definition"],
        number(record["value"]),
        record["unit"],
        record["count"],
        record["skipped"],
        pair(record["interval"]),
        number(record["ratio"]),
        pair(record["ratio_interval"]),
    )
