"""What a set of shards holds, counted: the index and the statistics file."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from pipelines.bodies.parts import CONTACT_PARTS
from pipelines.shards.crop import CROP_PX
from pipelines.shards.plan import PlannedShard
from pipelines.shards.reader import ShardReader
from pipelines.shards.schema import ShardSample
from pipelines.shards.writer import shard_path


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One sample; a field is a column of `index.csv`."""

    sample_id: str
    shard: str
    """File name."""
    row: int
    split: str
    kind: str
    recording: str
    frame: str
    scene: str
    subject: str
    gender: str
    expected_error_mm: float
    weight: float
    reject_reason: str
    contact_vertices: int
    contact_points: int

    @property
    def usable(self) -> bool:
        """Whether a trainer may use it."""
        return not self.reject_reason and self.weight > 0


INDEX_COLUMNS: Final = tuple(field.name for field in fields(IndexRow))


class Moments:
    """Mean and standard deviation of vectors that come one after another."""

    def __init__(self) -> None:
        self._count = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, values: Any) -> None:
        """One vector, or rows of them."""
        rows = np.atleast_2d(np.asarray(values, np.float64))
        count, mean = len(rows), rows.mean(axis=0)
        gap, total = mean - self._mean, self._count + count
        # Chan's way of joining two sets, which does not cancel as the sum of squares does.
        self._squares += ((rows - mean) ** 2).sum(axis=0) + gap**2 * self._count * count / total
        self._mean, self._count = self._mean + gap * count / total, total

    def as_json(self) -> dict[str, Any]:
        """None for both where nothing came."""
        if self._count == 0:
            return {"mean": None, "std": None}
        spread = np.sqrt(self._squares / self._count)
        return {"mean": _rounded(self._mean), "std": _rounded(spread)}


@dataclass(frozen=True, slots=True)
class SetDescription:
    """Index and statistics of one set of shards."""

    index: tuple[IndexRow, ...]
    statistics: Mapping[str, Any]


def describe_set(folder: Path, shards: Sequence[PlannedShard]) -> SetDescription:
    """Read every sample once.

    Means and spreads are of the usable training samples; the image's are of the box, without the margin.

    Raises:
        DataInvalid: a shard is damaged.
    """
    index: list[IndexRow] = []
    moments = {name: Moments() for name in _MEASURES}
    touched: Counter[str] = Counter()
    labelled = 0
    for shard in shards:
        path = shard_path(folder, shard.name)
        with ShardReader(path) as reader:
            for number, sample in enumerate(reader):
                row = _index_row(sample, path.name, number, shard.split, reader.kind)
                index.append(row)
                if row.usable and shard.split == "train":
                    for name, measure in _MEASURES.items():
                        moments[name].add(measure(sample))
                if row.usable:
                    labelled += int(sample.has_own_contact)
                    parts = np.unique(sample.vertex_category[sample.vertex_category > 0])
                    touched.update(CONTACT_PARTS[part - 1] for part in parts.tolist())
    statistics = {**_statistics(index, moments, touched), "own_contact": labelled}
    return SetDescription(tuple(index), statistics)


def index_csv(rows: Iterable[IndexRow]) -> str:
    """The index as text; an unknown number is an empty field."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(INDEX_COLUMNS)
    writer.writerows(_fields_of(row) for row in rows)
    return stream.getvalue()


def _fields_of(row: IndexRow) -> Iterator[object]:
    for name in INDEX_COLUMNS:
        value = getattr(row, name)
        yield (
            f"{value:g}"
            if isinstance(value, float) and np.isfinite(value)
            else ("" if isinstance(value, float) else value)
        )


def _index_row(sample: ShardSample, shard: str, row: int, split: str, kind: str) -> IndexRow:
    return IndexRow(
        sample_id=sample.sample_id,
        shard=shard,
        row=row,
        split=split,
        kind=kind,
        recording=sample.recording,
        frame=sample.frame,
        scene=sample.scene,
        subject=sample.subject,
        gender=sample.gender,
        expected_error_mm=float(sample.expected_error_mm),
        weight=float(sample.weight),
        reject_reason=sample.reject_reason,
        contact_vertices=int(np.count_nonzero(sample.vertex_category)),
        contact_points=len(sample.contact_rows),
    )


def _statistics(
    index: Sequence[IndexRow], moments: Mapping[str, Moments], touched: Counter[str]
) -> dict[str, Any]:
    usable = [row for row in index if row.usable]
    errors = np.array([row.expected_error_mm for row in usable])
    errors = errors[np.isfinite(errors)]
    return {
        "samples": len(index),
        "usable": len(usable),
        "without_contact": sum(row.contact_points == 0 for row in usable),
        "weights": round(sum(row.weight for row in usable), 3),
        "usable_by": {
            name: dict(sorted(Counter(getattr(row, name) for row in usable).items()))
            for name in ("split", "scene", "subject", "gender", "recording")
        },
        "rejected": dict(sorted(Counter(row.reject_reason for row in index if not row.usable).items())),
        "touching_part": {part: touched[part] for part in CONTACT_PARTS},
        "expected_error_mm": {
            "known": len(errors),
            **(
                {f"p{p}": _rounded(np.percentile(errors, p)) for p in (10, 50, 90)}
                if len(errors)
                else {}
            ),
        },
        "training_samples": {name: values.as_json() for name, values in moments.items()},
    }


def _pixels(sample: ShardSample) -> np.ndarray:
    """RGB in 0..1 of every fourth pixel of the box along each axis."""
    image = np.asarray(cv2.imdecode(sample.crop_jpeg, cv2.IMREAD_COLOR))
    margin = (len(image) - CROP_PX) // 2
    inner = slice(margin, margin + CROP_PX, 4)
    return image[inner, inner, ::-1].reshape(-1, 3) / 255.0


def _box_side_px(sample: ShardSample) -> float:
    return float(sample.box_px[2] - sample.box_px[0])


def _unit_depth(sample: ShardSample) -> float:
    """Depth times box width over focal length: what RCNet's depth map holds, here of `transl`."""
    return float(sample.transl[2] * _box_side_px(sample) / sample.K[0, 0])


_MEASURES: Final[Mapping[str, Any]] = {
    "rgb": _pixels,
    "box_side_px": _box_side_px,
    "transl_camera_m": lambda sample: sample.transl,
    "unit_depth": _unit_depth,
    "betas": lambda sample: sample.betas,
    "body_pose_rad": lambda sample: sample.body_pose,
    "contact_points": lambda sample: float(len(sample.contact_rows)),
}


def _rounded(values: Any) -> Any:
    rounded = np.round(np.asarray(values, np.float64), 6)
    return rounded.item() if rounded.size == 1 else rounded.tolist()
