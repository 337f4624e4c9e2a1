# ruff: noqa: RUF009 -- the calls make fields
"""What a shard holds: the only place with names, dtypes, shapes, units, frames and the version.

A shard is an HDF5 file with a table of samples and a table of the scenes they lie in. A field of the records
below is a column. A fixed column is one dataset with a row per sample; a ragged one is a flat dataset and
`<name>_offsets`, whose row i and i + 1 bound sample i. Frames are those of docs/frames-and-units.md.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from hashlib import sha256
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from pipelines.errors import DataInvalid

SCHEMA_NAME: Final = "prox-humor-gt training shard"
SCHEMA_VERSION: Final = 3
"""Raised with every change of a name, dtype, shape, unit, frame or meaning, with a step in `migrate`."""
SAMPLES: Final = "samples"
SCENES: Final = "scenes"
OFFSETS: Final = "_offsets"
DIGEST: Final = "digest"
"""SHA-256 of each row's content: tells which sample a damaged byte belongs to."""

ShardKind = Literal["fit", "truth", "dataset"]
"""Bodies fitted to what a camera saw, the true bodies of synthetic data, or those that a data set brings
itself (RICH, EgoBody, marker capture). One shard holds one kind."""

NO_VERTICES: Final = np.zeros(0, np.int32)
NO_VERTICES.setflags(write=False)

_RAGGED_CHUNK: Final = 8192
_FIXED_CHUNK: Final = 256


@dataclass(frozen=True, slots=True)
class Column:
    """How one field is stored."""

    name: str
    dtype: str
    """NumPy's name, little-endian; `S<n>` is ASCII text of at most n characters."""
    shape: tuple[int, ...]
    """Of one sample; of one entry if ragged."""
    unit: str
    frame: str
    ragged: bool
    rows_per_chunk: int
    compressed: bool
    """By gzip 4 after shuffling, which every HDF5 library reads."""

    @property
    def is_text(self) -> bool:
        """Text of bounded length."""
        return self.dtype.startswith("S")


def _column(
    dtype: str,
    shape: tuple[int, ...] = (),
    *,
    unit: str = "",
    frame: str = "",
    ragged: bool = False,
    rows: int | None = None,
    compressed: bool = True,
    default: Any = MISSING,
) -> Any:
    rows = rows or (_RAGGED_CHUNK if ragged else _FIXED_CHUNK)
    column = Column("", dtype, shape, unit, frame, ragged, rows, compressed)
    metadata = {"column": column}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default_factory=lambda: default, metadata=metadata)


@dataclass(frozen=True, slots=True, eq=False)
class ShardSample:
    """One person in one image."""

    sample_id: str = _column("S128")
    """`<recording>/<frame>`, unique over all shards."""
    recording: str = _column("S64")
    frame: str = _column("S64")
    scene: str = _column("S64")
    subject: str = _column("S32")
    gender: str = _column("S8")
    crop_jpeg: UInt8[np.ndarray, " bytes"] = _column(
        "<u1", ragged=True, rows=4 * _RAGGED_CHUNK, compressed=False, frame="crop"
    )
    """Crop of the true (un-mirrored) image, JPEG of quality 95: 224 x 224 for the box, and maybe a margin of
    equal scale all round, which training's augmentation looks into."""
    box_px: Float32[np.ndarray, "4"] = _column("<f4", (4,), unit="px", frame="image")
    """Square box the crop shows: left, up, right, bottom."""
    K: Float64[np.ndarray, "3 3"] = _column("<f8", (3, 3), unit="px", frame="image")
    T_world_from_camera: Float64[np.ndarray, "4 4"] = _column("<f8", (4, 4), unit="m")
    betas: Float32[np.ndarray, "16"] = _column("<f4", (16,))
    """SMPL+H shape; fewer numbers are followed by zeros."""
    global_orient: Float32[np.ndarray, "3"] = _column("<f4", (3,), unit="rad", frame="camera")
    body_pose: Float32[np.ndarray, "63"] = _column("<f4", (63,), unit="rad")
    transl: Float32[np.ndarray, "3"] = _column("<f4", (3,), unit="m", frame="camera")
    vertex_category: UInt8[np.ndarray, "6890"] = _column("<u1", (6890,), rows=1)
    """Contact part of each SMPL+H vertex that touches the scene, `CONTACT_PARTS`' order, 0 none."""
    contact_rows: Int32[np.ndarray, " touching"] = _column("<i4", ragged=True)
    """Rows of the scene's cloud that touch the body."""
    contact_category: UInt8[np.ndarray, " touching"] = _column("<u1", ragged=True)
    """The part each of them touches, 1..7."""
    expected_error_mm: np.float32 = _column("<f4", unit="mm")
    """Of the body's vertices, told from what was observed; NaN where no score was made."""
    weight: np.float32 = _column("<f4")
    """0 leaves the sample out of training."""
    reject_reason: str = _column("S32")
    """Empty for samples that may be used."""
    provenance: str = _column("S2048", rows=16)
    """JSON: hashes of inputs, settings, code and weights. No path of the machine that wrote it."""
    has_own_contact: np.uint8 = _column("<u1", default=np.uint8(0))
    """1 where the data set brings contact labels of its own (RICH); `vertex_category` is ours in any case."""
    own_contact: Int32[np.ndarray, " labelled"] = _column("<i4", ragged=True, default=NO_VERTICES)
    """SMPL+H vertices that touch by the data set's own labels, ascending; empty without labels."""


@dataclass(frozen=True, slots=True, eq=False)
class ShardScene:
    """One scanned room, once per shard."""

    scene: str = _column("S64")
    points_world: Float32[np.ndarray, "points 3"] = _column(
        "<f4", (3,), unit="m", frame="world", ragged=True
    )
    """The scan's surface, one point per cell of the pitch."""
    pitch_m: np.float32 = _column("<f4", unit="m")
    sdf_name: str = _column("S64")
    """File name of the signed distance grid; empty for a scene without."""
    sdf_sha256: str = _column("S64")


Record = ShardSample | ShardScene


def columns_of(record: type[Record]) -> tuple[Column, ...]:
    """The columns of a table, in the order of the record's fields."""
    return _SAMPLE_COLUMNS if record is ShardSample else _SCENE_COLUMNS


def _columns(record: type[Record]) -> tuple[Column, ...]:
    return tuple(replace(entry.metadata["column"], name=entry.name) for entry in fields(record))


_SAMPLE_COLUMNS: Final = _columns(ShardSample)
_SCENE_COLUMNS: Final = _columns(ShardScene)


def encode(record: Record) -> dict[str, np.ndarray]:
    """The arrays of a record, one per column, as they are stored.

    Raises:
        DataInvalid: a field is not what its column says.
    """
    return {column.name: _encode(record, column) for column in columns_of(type(record))}


def _encode(record: Record, column: Column) -> np.ndarray:
    value = getattr(record, column.name)
    if column.is_text:
        return _encode_text(record, column, value)
    array = np.asarray(value)
    right_shape = (
        array.shape[1:] == column.shape and array.ndim > 0
        if column.ragged
        else (array.shape == column.shape)
    )
    if array.dtype != np.dtype(column.dtype) or not right_shape:
        ragged = ("any", *column.shape) if column.ragged else column.shape
        raise DataInvalid(
            f"{column.name} is not what the schema says",
            where=name_of(record),
            expected=f"{column.dtype} {ragged}",
            found=f"{array.dtype.str} {array.shape}",
        )
    if array.dtype.kind == "f" and column.name != "expected_error_mm" and not np.isfinite(array).all():
        raise DataInvalid(f"{column.name} is not finite", where=name_of(record))
    return np.asarray(array, order="C")  # ascontiguousarray would turn a number into a row


def _encode_text(record: Record, column: Column, value: str) -> np.ndarray:
    longest = np.dtype(column.dtype).itemsize
    # HDF5 pads text with zeros, so zeros at its end would not come back.
    if not value.isascii() or "\0" in value or len(value) > longest:
        raise DataInvalid(
            f"{column.name} cannot be stored",
            where=name_of(record),
            expected=f"ASCII text of at most {longest} characters",
            found=repr(value[:80]),
        )
    return np.array(value.encode("ascii"), dtype=column.dtype)


def touching_vertices(sample: ShardSample) -> Bool[np.ndarray, "6890"]:
    """SMPL+H vertices that touch: by the data set's own labels where it has them, else by ours."""
    if not sample.has_own_contact:
        return np.asarray(sample.vertex_category > 0)
    touching = np.zeros(len(sample.vertex_category), dtype=bool)
    touching[sample.own_contact] = True
    return touching


def name_of(record: Record) -> str:
    """What a record is called in messages."""
    return record.sample_id if isinstance(record, ShardSample) else f"scene {record.scene}"


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and bytes of an encoded record."""
    content = sha256()
    for name, array in arrays.items():
        content.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        content.update(array.tobytes())
    return content.hexdigest()
