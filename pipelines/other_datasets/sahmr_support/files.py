"""The kinds of files SA-HMR's support folders hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float

from pipelines.bodies.correspondence import NUM_SMPLX_VERTICES
from pipelines.datasets.scenes import read_grid_box, read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.other_datasets.sahmr_support.records import Box, SupportScene
from pipelines.safe_pickle import loads

NUM_SMPLH: Final = 6890
_PACKED: Final = 862
"""Bytes that hold 6890 bits."""
_FIX: Final = "get it again from SA-HMR's support archive"


def read_objects(path: Path) -> Any:
    """Read an npy file of pickled objects as data only; a 0-d array gives the object itself.

    Raises:
        DataMissing: no such file.
        DataInvalid: no npy file, or it holds more than data.
    """
    if not path.is_file():
        raise DataMissing("npy not found", where=path, fix=_FIX)
    content = path.read_bytes()
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        _, _, dtype = read(stream)
    except ValueError as error:
        raise DataInvalid(f"npy cannot be read: {error}", where=path, fix=_FIX) from None
    if not dtype.hasobject:
        return np.load(io.BytesIO(content), allow_pickle=False)
    array = loads(content[stream.tell() :], source=path)
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array


def read_contact(path: Path) -> Bool[np.ndarray, "6890"]:
    """6890 flags packed into bytes, most significant bit first.

    Raises:
        DataMissing: no such file.
        DataInvalid: not 862 bytes.
    """
    if not path.is_file():
        raise DataMissing("contact labels not found", where=path, fix=_FIX)
    try:
        packed = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise DataInvalid(f"npy cannot be read: {error}", where=path, fix=_FIX) from None
    if packed.dtype != np.uint8 or packed.size != _PACKED:
        raise DataInvalid(
            "contact labels are wrong",
            where=path,
            expected=f"{_PACKED} bytes, {NUM_SMPLH} bits",
            found=f"{packed.dtype} {packed.shape}",
        )
    return np.unpackbits(packed.reshape(-1), count=NUM_SMPLH).astype(bool)


def read_scene(cloud: Path, box: Path, values: Path) -> SupportScene:
    """A voxel cloud and a distance grid.

    Args:
        cloud: npy of a dict `points`, `pitch` (a sequence of which the first counts).
        box: json with min, max, dim.
        values: flat npy of dim cubed distances, [x, y, z], negative inside.

    Raises:
        DataMissing, DataInvalid: a file is absent or broken.
    """
    content = read_objects(cloud)
    try:
        points = np.asarray(content["points"], dtype=np.float64).reshape(-1, 3)
        pitch_m = float(np.asarray(content["pitch"], dtype=np.float64).reshape(-1)[0])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataInvalid(
            f"scene cloud is wrong ({type(error).__name__}: {error})",
            where=cloud,
            expected="a dict of points (N, 3) and pitch",
        ) from None
    return SupportScene(points, pitch_m, _read_grid(box, values))


def read_mesh(path: Path) -> Float[np.ndarray, "10475 3"]:
    """Vertices of a true SMPL-X mesh, in the file's own frame.

    Raises:
        DataMissing: no such file.
        DataInvalid: no SMPL-X mesh.
    """
    if not path.is_file():
        raise DataMissing("true mesh not found", where=path, fix=_FIX)
    vertices = read_scan_mesh(path).vertices_world
    if len(vertices) != NUM_SMPLX_VERTICES:
        raise DataInvalid(
            "true mesh is no SMPL-X mesh",
            where=path,
            expected=f"{NUM_SMPLX_VERTICES} vertices",
            found=len(vertices),
        )
    return vertices


def box_of(values: Any, source: object) -> Box:
    """Four finite numbers of which the first corner lies before the second."""
    try:
        left, up, right, bottom = (float(value) for value in np.asarray(values).reshape(-1))
    except (TypeError, ValueError):
        left = up = right = bottom = float("nan")
    if not (left < right and up < bottom):
        raise DataInvalid(
            "box is wrong", where=source, expected="left < right, up < bottom", found=str(values)
        )
    return left, up, right, bottom


def tail_of(path: object, count: int) -> Path:
    """The last components of a path on the authors' disk: what comes before is theirs."""
    parts = [part for part in str(path).replace("\\", "/").split("/") if part]
    return Path(*parts[-count:])


def tail_after(path: object, folder: str) -> Path:
    """What follows a folder in a path on the authors' disk."""
    parts = [part for part in str(path).replace("\\", "/").split("/") if part]
    if folder not in parts:
        raise DataInvalid(
            "path in the meta file is not understood", expected=f".../{folder}/...", found=path
        )
    return Path(*parts[len(parts) - parts[::-1].index(folder) :])


def field_of(meta: Any, name: str, source: object) -> Any:
    """One field of a sample's meta data.

    Raises:
        DataInvalid: it is absent; names those that are there.
    """
    if not isinstance(meta, dict) or name not in meta:
        found = ", ".join(map(str, list(meta)[:12])) if isinstance(meta, dict) else type(meta).__name__
        raise DataInvalid(f"meta data lacks {name}", where=source, found=found, fix=_FIX)
    return meta[name]


def _read_grid(box: Path, values: Path) -> SdfGrid:
    low, high, dim = read_grid_box(box)
    if not values.is_file():
        raise DataMissing("SDF not found", where=values, fix=_FIX)
    try:
        grid = np.load(values, allow_pickle=False)
    except ValueError as error:
        raise DataInvalid(f"npy cannot be read: {error}", where=values, fix=_FIX) from None
    if grid.size != dim**3 or grid.dtype.kind != "f" or not np.isfinite(grid).all():
        raise DataInvalid(
            "SDF grid is wrong",
            where=values,
            expected=f"{dim} cubed finite numbers",
            found=f"{grid.dtype} {grid.shape}",
        )
    corners = (torch.as_tensor(corner, dtype=torch.float32) for corner in (low, high))
    return SdfGrid(torch.as_tensor(grid.reshape(dim, dim, dim), dtype=torch.float32), *corners)
