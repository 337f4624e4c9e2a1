"""Carry shards of older schema versions over to the present one.

Each step goes one version up: it knows the columns of its own version and turns a row's fields into those of
the next. A change of the schema adds a step here, with the columns it left behind spelled out; where the
next version holds what older shards cannot tell, there is no step, and the shard has to be made again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pipelines.artifacts import atomic_path, hash_file, read_marker, write_marker
from pipelines.errors import DataInvalid, DataMissing
from pipelines.shards.columns import DAMAGE, decode_cell, read_cell
from pipelines.shards.reader import attribute
from pipelines.shards.schema import (
    DIGEST,
    NO_VERTICES,
    SAMPLES,
    SCENES,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    Column,
    ShardSample,
    ShardScene,
    columns_of,
)
from pipelines.shards.validate import QUARANTINE
from pipelines.shards.writer import write_file

_log = logging.getLogger(__name__)

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next."""

    columns: Mapping[str, tuple[Column, ...]]
    """Table -> columns, of the version left behind."""
    sample: Callable[[Fields], Fields]
    scene: Callable[[Fields], Fields]


def _unchanged(fields: Fields) -> Fields:
    return fields


_NEW_IN_3: Final = ("has_own_contact", "own_contact")
_COLUMNS_OF_2: Final = {
    SAMPLES: tuple(column for column in columns_of(ShardSample) if column.name not in _NEW_IN_3),
    SCENES: columns_of(ShardScene),
}


def _without_own_contact(fields: Fields) -> Fields:
    """Only RICH has labels of its own, and no shard of version 2 is of RICH."""
    return {**fields, "has_own_contact": np.uint8(0), "own_contact": NO_VERTICES}


STEPS: Final[dict[int, Step]] = {
    # Version 2 has the columns of 1; HDF5's own tables got checksums, texts a fixed length.
    1: Step(_COLUMNS_OF_2, _unchanged, _unchanged),
    # Version 3 keeps a data set's own contact labels beside ours.
    2: Step(_COLUMNS_OF_2, _without_own_contact, _unchanged),
}
"""Version left behind -> how."""


def migrate_shards(folder: Path) -> int:
    """Migrate every shard in a folder and in those below it; returns how many were of an older version.

    Raises:
        DataMissing: there is no shard.
        DataInvalid: as `migrate_shard`; shards before it are migrated, those after it are as they were.
    """
    paths = sorted(path for path in folder.rglob("*.h5") if path.parent.name != QUARANTINE)
    if not paths:
        raise DataMissing("no shard to migrate", where=folder, fix="make shards first: `make shards`")
    return sum(migrate_shard(path) for path in paths)


def migrate_shard(path: Path) -> bool:
    """Rewrite one shard and its manifest in the present version; returns False if it is of that version.

    The old file stays until the new one is whole. The manifest goes on saying what the shard was made from,
    so `make shards` does not take it for what the present code would write.

    Raises:
        DataInvalid: the shard is damaged or without manifest, or no step leads from its version.
    """
    version = _version(path)
    if version == SCHEMA_VERSION:
        return False
    steps = _steps_from(version, path)
    marker = read_marker(path.parent, path.stem)
    if marker is None or marker.files.get(path.name) != hash_file(path):
        raise DataInvalid(
            "a shard that is not what its manifest says is not migrated",
            where=path,
            fix="make the shard again",
        )
    with h5py.File(path, "r") as file, atomic_path(path) as temporary:
        kind = attribute(file, "kind")
        scenes = (ShardScene(**fields) for fields in _rows(file, SCENES, steps))
        samples = (ShardSample(**fields) for fields in _rows(file, SAMPLES, steps))
        contents = write_file(temporary, kind, scenes, samples)
    summary = {**marker.summary, **contents, "bytes": path.stat().st_size}
    write_marker(path.parent, marker.key, [path], summary)
    _log.info("%s: version %d -> %d", path.name, version, SCHEMA_VERSION)
    return True


def _version(path: Path) -> int:
    try:
        with h5py.File(path, "r") as file:
            if attribute(file, "schema") == SCHEMA_NAME:
                return int(file.attrs["version"])
    except (*DAMAGE, KeyError) as error:
        raise DataInvalid("shard cannot be opened", where=path, found=error) from None
    raise DataInvalid("not a training shard", where=path, expected=SCHEMA_NAME)


def _steps_from(version: int, path: Path) -> tuple[Step, ...]:
    needed = range(version, SCHEMA_VERSION)
    if version > SCHEMA_VERSION or not all(number in STEPS for number in needed):
        raise DataInvalid(
            "a shard of this version cannot be migrated",
            where=path,
            expected=f"one of {sorted(STEPS)}, to {SCHEMA_VERSION}",
            found=version,
            fix="make the shard again, or use the release of this program that wrote it",
        )
    return tuple(STEPS[number] for number in needed)


def _rows(file: h5py.File, table: str, steps: tuple[Step, ...]) -> Iterator[Fields]:
    group, columns = file[table], steps[0].columns[table]
    for row in range(len(group[DIGEST])):
        fields = {column.name: decode_cell(read_cell(group, column, row), column) for column in columns}
        for step in steps:
            fields = step.sample(fields) if table == SAMPLES else step.scene(fields)
        yield fields
