"""Write one shard whole or not at all, and leave a manifest that says what it holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pipelines.artifacts import StageKey, atomic_path, code_version, run_stage
from pipelines.errors import DataInvalid
from pipelines.shards.schema import (
    DIGEST,
    OFFSETS,
    SAMPLES,
    SCENES,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Column,
    Record,
    ShardKind,
    ShardSample,
    ShardScene,
    columns_of,
    digest,
    encode,
    name_of,
)

_log = logging.getLogger(__name__)

_CODE: Final = (
    "pipelines/bodies",
    "pipelines/contact",
    "pipelines/geometry",
    "pipelines/shards/assemble",
    "pipelines/shards/crop",
    "pipelines/shards/scene_cloud",
    "pipelines/shards/schema",
    "pipelines/shards/source",
    "pipelines/shards/writer",
)
"""What every shard depends on; reading and describing them is not in it."""
_ROWS_AT_ONCE: Final = 256
_GZIP_LEVEL: Final = 4
_HDF5: Final = ("v110", "v110")
"""Format written: read by HDF5 1.10 of 2016 and later."""


@dataclass(frozen=True, slots=True)
class ShardSource:
    """What a shard is made from; equal sources promise equal bytes."""

    name: str
    """Of the file, without `.h5`."""
    kind: ShardKind
    settings_hash: str
    inputs: Mapping[str, str]
    """Name of an input -> its hash."""
    code: tuple[str, ...] = ()
    """Rooms besides the writer's own whose code decides what is written."""

    @property
    def key(self) -> StageKey:
        """Identity in the manifest; a new schema or new code makes the shard anew."""
        inputs = {**self.inputs, "kind": self.kind, "schema": f"{SCHEMA_NAME} {SCHEMA_VERSION}"}
        return StageKey(self.name, self.settings_hash, inputs, code_version(*_CODE, *self.code))


def shard_path(folder: Path, name: str) -> Path:
    """Where a shard lies."""
    return folder / f"{name}.h5"


def write_shard(
    folder: Path,
    source: ShardSource,
    scenes: Callable[[], Iterable[ShardScene]],
    samples: Callable[[], Iterable[ShardSample]],
    summary: Callable[[], Mapping[str, Any]] = dict,
) -> bool:
    """Write a shard and its manifest (`<name>.done.json`) unless both are there; returns whether it did.

    Samples are taken one by one and are never all in memory. Until the last is written the file has a
    temporary name, so that an error, a kill or a full disk leaves the folder as it was.

    Args:
        folder: where shards lie.
        source: what this one is made from.
        scenes: asked for first.
        samples: asked for next.
        summary: asked for last; what else the manifest shall tell.

    Raises:
        DataInvalid: a sample differs from the schema, comes twice, or names a scene that is not given; or
            there is no sample.
        OutputFailed: the disk is full or cannot be written to.
    """
    path = shard_path(folder, source.name)

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        with atomic_path(path) as temporary:
            contents = write_file(temporary, source.kind, scenes(), samples())
        return [path], {**contents, **summary(), "bytes": path.stat().st_size}

    ran = run_stage(folder, source.key, work)
    _log.info("shard %s: %s", source.name, "written" if ran else "up to date")
    return ran


def write_file(
    path: Path, kind: ShardKind, scenes: Iterable[ShardScene], samples: Iterable[ShardSample]
) -> dict[str, Any]:
    """Write the HDF5 file alone; returns what its manifest tells of it.

    HDF5's own tables have checksums from 1.10 on, and none where text has no fixed length: without them a
    damaged table crashed the reading program instead of being refused.

    Raises:
        DataInvalid: as `write_shard`.
    """
    with h5py.File(path, "w-", libver=_HDF5) as file:
        file.attrs["schema"] = np.bytes_(SCHEMA_NAME)
        file.attrs["version"] = SCHEMA_VERSION
        file.attrs["kind"] = np.bytes_(kind)
        scene_table = _Table(file.create_group(SCENES, track_order=True), ShardScene)
        for scene in scenes:
            scene_table.append(scene)
        scene_table.flush()
        table, contents = _Table(file.create_group(SAMPLES, track_order=True), ShardSample), _Contents()
        for sample in samples:
            _require_fitting(sample, scene_table.names)
            table.append(sample)
            contents.add(sample)
        table.flush()
        if not table.names:
            raise DataInvalid(
                "a shard without samples is not written",
                where=path.name,
                fix="leave out recordings without a valid frame",
            )
    return {"kind": kind, "version": SCHEMA_VERSION, **contents.summary()}


def _require_fitting(sample: ShardSample, scenes: Mapping[str, int]) -> None:
    """A sample refers to what is there."""
    if f"scene {sample.scene}" not in scenes:
        raise DataInvalid(
            "a sample's scene is not in the shard",
            where=sample.sample_id,
            expected=sorted(scenes),
            found=sample.scene,
        )
    if len(sample.contact_rows) != len(sample.contact_category):
        raise DataInvalid(
            "every scene point in contact has one category",
            where=sample.sample_id,
            expected=len(sample.contact_rows),
            found=len(sample.contact_category),
        )


class _Contents:
    """What the manifest tells without opening the shard."""

    def __init__(self) -> None:
        self.samples: list[str] = []
        self.members: dict[str, set[str]] = {"recordings": set(), "scenes": set(), "subjects": set()}
        self.rejected: dict[str, int] = {}

    def add(self, sample: ShardSample) -> None:
        self.samples.append(sample.sample_id)
        self.members["recordings"].add(sample.recording)
        self.members["scenes"].add(sample.scene)
        self.members["subjects"].add(sample.subject)
        if sample.reject_reason:
            self.rejected[sample.reject_reason] = self.rejected.get(sample.reject_reason, 0) + 1

    def summary(self) -> dict[str, Any]:
        members = {name: sorted(values) for name, values in self.members.items()}
        return {
            "num_samples": len(self.samples),
            "samples": self.samples,
            **members,
            "rejected": self.rejected,
        }


class _Table:
    """Rows of one record in one group; written a few hundred at a time."""

    def __init__(self, group: h5py.Group, record: type[Record]) -> None:
        self.names: dict[str, int] = {}
        self._group, self._columns = group, columns_of(record)
        self._waiting: list[dict[str, np.ndarray]] = []
        self._create(DIGEST, Column(DIGEST, "S64", (), "", "", False, _ROWS_AT_ONCE, False))
        for column in self._columns:
            self._create(column.name, column)
            if column.ragged:
                offsets = Column("", "<i8", (), "", "", False, 8192, True)
                self._create(column.name + OFFSETS, offsets)
                _append(group[column.name + OFFSETS], np.zeros(1, np.int64))

    def append(self, record: Record) -> None:
        name = name_of(record)
        if name in self.names:
            raise DataInvalid("a name is given twice in one shard", where=name)
        self.names[name] = len(self.names)
        arrays = encode(record)
        self._waiting.append({**arrays, DIGEST: np.array(digest(arrays).encode(), "S64")})
        if len(self._waiting) == _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if not self._waiting:
            return
        for column in self._columns:
            rows = [arrays[column.name] for arrays in self._waiting]
            if column.ragged:
                start = len(self._group[column.name])
                _append(self._group[column.name], np.concatenate(rows))
                ends = start + np.cumsum([len(row) for row in rows], dtype=np.int64)
                _append(self._group[column.name + OFFSETS], ends)
            else:
                _append(self._group[column.name], np.stack(rows))
        _append(self._group[DIGEST], np.stack([arrays[DIGEST] for arrays in self._waiting]))
        self._waiting.clear()

    def _create(self, name: str, column: Column) -> None:
        dataset = self._group.create_dataset(
            name,
            shape=(0, *column.shape),
            maxshape=(None, *column.shape),
            dtype=column.dtype,
            chunks=(column.rows_per_chunk, *column.shape),
            compression="gzip" if column.compressed else None,
            compression_opts=_GZIP_LEVEL if column.compressed else None,
            shuffle=column.compressed,
            fletcher32=True,
            track_times=False,
        )
        if column.unit or column.frame:
            about = json.dumps({"unit": column.unit, "frame": column.frame})
            dataset.attrs["about"] = np.bytes_(about)


def _append(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    count = len(dataset)
    dataset.resize(count + len(rows), axis=0)
    dataset[count:] = rows
