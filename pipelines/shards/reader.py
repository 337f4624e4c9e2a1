"""Read shards: lazily, in any order, from any number of worker processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import h5py
import numpy as np

from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards.columns import DAMAGE, HeldTable, decode_cell, read_cell
from pipelines.shards.schema import (
    DIGEST,
    OFFSETS,
    SAMPLES,
    SCENES,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Record,
    ShardKind,
    ShardSample,
    ShardScene,
    columns_of,
    digest,
)

R = TypeVar("R", ShardSample, ShardScene)

_AGAIN = "make the shard again"


class ShardReader:
    """One shard. The file is opened when first read, once per process; pickles as its path.

        reader = ShardReader(path)
        sample = reader.sample(7)
        cloud = reader.scene(sample.scene).points_world[sample.contact_rows]

    Safe to hand to worker processes, forked or spawned: a process never uses a handle it inherited.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open_in: int | None = None
        self._file: h5py.File | None = None
        self._scene_rows: dict[str, int] = {}
        self._held: HeldTable | None = None

    def __len__(self) -> int:
        return len(self._samples()) if self._held is not None else len(self.file[SAMPLES][DIGEST])

    def __reduce__(self) -> tuple[type[ShardReader], tuple[Path]]:
        return ShardReader, (self.path,)

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def file(self) -> h5py.File:
        """This process's own handle, its schema checked.

        Raises:
            DataMissing: no such file.
            DataInvalid: not a shard of this schema, or damaged beyond opening.
        """
        if self._file is None or self._open_in != os.getpid():
            self.close()
            self._file, self._open_in = open_shard(self.path), os.getpid()
            names = self._file[SCENES]["scene"][()]
            self._scene_rows = {name.decode(): row for row, name in enumerate(names)}
        return self._file

    @property
    def kind(self) -> ShardKind:
        """Whether bodies are fitted or true."""
        return _kind(self.file, self.path)

    def sample(self, row: int) -> ShardSample:
        """One sample; a negative row counts from the end.

        Raises:
            IndexError: no such row.
            DataInvalid: its bytes are damaged.
        """
        samples = self._samples()
        count = len(samples)
        if not -count <= row < count:
            raise IndexError(f"{self.path}: sample {row} of {count}")
        try:
            return ShardSample(**samples.row(row % count))
        except DAMAGE as error:
            raise _damaged(self.path, ShardSample, row % count, error) from None

    def scene(self, name: str) -> ShardScene:
        """One scene.

        Raises:
            DataMissing: the shard has no such scene.
        """
        file = self.file
        if name not in self._scene_rows:
            raise DataMissing(
                f"scene {name} is not in the shard", where=self.path, expected=sorted(self._scene_rows)
            )
        return read_record(file, ShardScene, self._scene_rows[name])

    def column(self, name: str) -> np.ndarray:
        """A whole column of the samples that is neither ragged nor large, as it is stored."""
        return np.asarray(self.file[SAMPLES][name][()])

    def text(self, name: str, row: int) -> str:
        """One text of the samples."""
        return str(self._samples().cell(name, row))

    def __iter__(self) -> Iterator[ShardSample]:
        return (self.sample(row) for row in range(len(self)))

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._held = None
        if self._file is not None:
            self._file.close()
        self._file, self._open_in = None, None

    def _samples(self) -> HeldTable:
        file = self.file
        if self._held is None:
            self._held = HeldTable(file[SAMPLES], ShardSample)
        return self._held


def open_shard(path: Path) -> h5py.File:
    """Open a shard and check that it is one, of this schema, whole in structure."""
    if not path.is_file():
        raise DataMissing("shard not found", where=path, fix=_AGAIN)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataInvalid(
            "shard cannot be opened: truncated, damaged or not HDF5", where=path, found=error, fix=_AGAIN
        ) from None
    try:
        _require_schema(file, path)
    except BaseException as error:
        file.close()
        if isinstance(error, DataInvalid) or not isinstance(error, Exception):
            raise
        raise DataInvalid("shard is damaged", where=path, found=repr(error), fix=_AGAIN) from None
    return file


def read_record(file: h5py.File, record: type[R], row: int, *, check: bool = False) -> R:
    """One row of a table.

    Args:
        file: an open shard.
        record: which table.
        row: counted from 0.
        check: also compare with the row's digest.

    Raises:
        DataInvalid: the row is damaged.
    """
    group = file[SAMPLES if record is ShardSample else SCENES]
    try:
        arrays = {column.name: read_cell(group, column, row) for column in columns_of(record)}
        damaged = check and digest(arrays) != group[DIGEST][row].decode("ascii", "replace")
    except DAMAGE as error:
        raise _damaged(file.filename, record, row, error) from None
    if damaged:
        raise DataInvalid(
            "a row of a shard differs from its digest",
            where=f"{file.filename}, {record.__name__} {row}",
            fix=_AGAIN,
        )
    values = {column.name: decode_cell(arrays[column.name], column) for column in columns_of(record)}
    return record(**values)


def _damaged(path: Path | str, record: type[Record], row: int, error: Exception) -> DataInvalid:
    return DataInvalid(
        "a row of a shard is damaged",
        where=f"{path}, {record.__name__} {row}",
        found=error,
        fix=_AGAIN,
    )


def _require_schema(file: h5py.File, path: Path) -> None:
    schema, version = attribute(file, "schema"), attribute(file, "version")
    if schema != SCHEMA_NAME:
        raise DataInvalid("not a training shard", where=path, expected=SCHEMA_NAME, found=schema)
    if version != SCHEMA_VERSION:
        raise DataInvalid(
            "shard of another schema version",
            where=path,
            expected=SCHEMA_VERSION,
            found=version,
            fix=f"`python -m flows migrate-shards <folder>`, or {_AGAIN}",
        )
    _kind(file, path)
    tables: tuple[tuple[str, type[Record]], ...] = ((SAMPLES, ShardSample), (SCENES, ShardScene))
    for name, record in tables:
        group = file[name] if _is_own(file, name) else None
        if not isinstance(group, h5py.Group):
            raise DataInvalid(f"shard has no table {name}", where=path, fix=_AGAIN)
        _require_columns(group, record, path)


def attribute(file: h5py.File, name: str) -> Any:
    """One attribute of the file; text as text, None where there is none."""
    value = file.attrs.get(name)
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _kind(file: h5py.File, path: Path) -> ShardKind:
    kind = attribute(file, "kind")
    if kind not in get_args(ShardKind):
        raise DataInvalid(
            "shard of an unknown kind", where=path, expected=get_args(ShardKind), found=kind, fix=_AGAIN
        )
    return cast("ShardKind", kind)


def _require_columns(group: h5py.Group, record: type[Record], path: Path) -> None:
    count = len(_require_dataset(group, DIGEST, "S64", (), path))
    for column in columns_of(record):
        dataset = _require_dataset(group, column.name, column.dtype, column.shape, path)
        found, expected = len(dataset), count
        if column.ragged:
            offsets = _require_dataset(group, column.name + OFFSETS, "<i8", (), path)
            found, expected = len(offsets), count + 1
        if found != expected:
            raise DataInvalid(
                f"{column.name} has the wrong number of rows",
                where=f"{path}, {group.name}",
                expected=expected,
                found=found,
                fix=_AGAIN,
            )


def _require_dataset(
    group: h5py.Group, name: str, dtype: str, shape: tuple[int, ...], path: Path
) -> h5py.Dataset:
    dataset = group[name] if _is_own(group, name) else None
    where = f"{path}, {group.name}/{name}"
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise DataInvalid(
            f"{name} is missing or lies outside the shard",
            where=where,
            expected="a dataset inside the file, no link",
            fix=_AGAIN,
        )
    if dataset.dtype != np.dtype(dtype) or dataset.shape[1:] != shape or dataset.ndim != 1 + len(shape):
        raise DataInvalid(
            f"{name} is not what the schema says",
            where=where,
            expected=f"{dtype} (rows, {', '.join(map(str, shape))})",
            found=f"{dataset.dtype.str} {dataset.shape}",
            fix=_AGAIN,
        )
    return dataset


def _is_own(group: h5py.Group, name: str) -> bool:
    """True for a member that is neither missing nor a link to elsewhere."""
    with contextlib.suppress(KeyError):
        return isinstance(group.get(name, getlink=True), h5py.HardLink)
    return False
