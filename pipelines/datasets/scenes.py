"""Scanned rooms: mesh, signed distance grid, and the check that both are of one room."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped

from pipelines.datasets.layout import ProxLayout, read_json
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.records import SceneScan

logger = logging.getLogger(__name__)

_SAMPLED_VERTICES = 20_000
_GOOD_SHARE = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class ScanMesh:
    """Triangle mesh of a room, world frame, metres."""

    vertices_world: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    colors: Float[np.ndarray, "vertices 3"] | None


def read_scene(layout: ProxLayout, scene: str, *, with_normals: bool, mismatch_m: float) -> SceneScan:
    """Read mesh and grid of one scene and check that they belong together.

    Raises:
        DataMissing: a file is absent.
        DataInvalid: a file is broken, of the wrong shape, or the grid is of another scene.
    """
    mesh = read_scan_mesh(layout.scan(scene))
    description, values, normals = layout.sdf_files(scene)
    low, high, dim = read_grid_box(description)
    scan = SceneScan(
        name=scene,
        vertices_world=mesh.vertices_world,
        faces=mesh.faces,
        sdf_m=_read_grid(values, (dim, dim, dim)),
        sdf_min_world=low,
        sdf_max_world=high,
        sdf_normals=_read_grid(normals, (dim, dim, dim, 3)) if with_normals else None,
        colors=mesh.colors,
    )
    check_same_room(scan, mismatch_m, source=values)
    return scan


def read_scan_mesh(path: Path) -> ScanMesh:
    """Read a PLY triangle mesh, keeping its vertex order.

    Raises:
        DataMissing: no such file.
        DataInvalid: not a triangle mesh of finite vertices.
    """
    import trimesh

    if not path.is_file():
        raise DataMissing(
            "scan not found", where=path, fix="unpack scenes.zip of the PROX download into the tree"
        )
    try:
        mesh: Any = trimesh.load(path, process=False, force="mesh")
        vertices = np.array(mesh.vertices, dtype=np.float64)
        faces = np.array(mesh.faces, dtype=np.int64)
    except Exception as error:  # trimesh raises whatever the damaged byte leads to
        raise DataInvalid(f"PLY cannot be read: {error}", where=path, fix="get it again") from None
    whole = len(faces) > 0 and faces.min() >= 0 and faces.max() < len(vertices)
    if vertices.ndim != 2 or not whole or not np.isfinite(vertices).all():
        raise DataInvalid(
            "scan is no triangle mesh of finite vertices",
            where=path,
            found=f"{len(vertices)} vertices, {len(faces)} faces",
        )
    colors = None
    if getattr(mesh.visual, "kind", None) == "vertex":
        colors = np.asarray(mesh.visual.vertex_colors, dtype=np.float64)[:, :3] / 255
    return ScanMesh(vertices, faces, colors)


def read_grid_box(
    path: Path,
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], int]:
    """Centres of the first and last cell, and the number of cells per axis.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent or out of range.
    """
    content = read_json(path)
    try:
        low = np.array(content["min"], dtype=np.float64).reshape(3)
        high = np.array(content["max"], dtype=np.float64).reshape(3)
        dims = np.unique(np.array(content["dim"], dtype=np.int64))
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(
            f"SDF description is wrong ({type(error).__name__}: {error})",
            where=path,
            expected="min [3], max [3], dim",
        ) from None
    if not (np.isfinite(low).all() and (high > low).all() and len(dims) == 1 and dims[0] >= 2):
        raise DataInvalid(
            "SDF box is empty",
            where=path,
            expected="min < max on every axis, one dim >= 2",
            found=f"min {low.tolist()}, max {high.tolist()}, dim {dims.tolist()}",
        )
    return low, high, int(dims[0])


def check_same_room(scene: SceneScan, mismatch_m: float, source: object) -> float:
    """Median distance (metres) of scan vertices from the zero level of the grid.

    Args:
        scene: mesh and grid.
        mismatch_m: largest median allowed; one voxel of the grid is always allowed.
        source: named in the error.

    Raises:
        DataInvalid: the median is larger: the grid is of another scene (or in another frame: POSA's
            re-release of the PROX scenes is rotated and shifted).
    """
    voxel_m = float(((scene.sdf_max_world - scene.sdf_min_world) / (scene.sdf_m.shape[0] - 1)).max())
    limit = max(mismatch_m, voxel_m)
    step = max(1, len(scene.vertices_world) // _SAMPLED_VERTICES)
    points = scene.vertices_world[::step]
    outside = np.maximum(scene.sdf_min_world - points, points - scene.sdf_max_world).clip(min=0)
    sampled = SdfGrid.from_scene(scene).sample(torch.as_tensor(points, dtype=torch.float32))
    distance = np.abs(sampled.numpy()) + np.linalg.norm(outside, axis=1)
    median = float(np.median(distance))
    near = float((distance <= limit).mean())
    if median > limit:
        raise DataInvalid(
            f"the SDF is not of the scan {scene.name}",
            where=source,
            expected=f"half of the scan's vertices within {limit * 1000:.0f} mm of its surface",
            found=f"a median of {median * 1000:.0f} mm ({near:.0%} near)",
            fix="use scenes and sdf of one release (PROX; POSA's lie in another frame)",
        )
    if near < _GOOD_SHARE:
        logger.warning(
            "%s: only %.0f %% of the scan lies near its SDF's surface", scene.name, near * 100
        )
    return median


def _read_grid(path: Path, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    if not path.is_file():
        raise DataMissing("SDF not found", where=path, fix="unpack sdf.zip of the PROX download")
    try:
        values: Shaped[np.ndarray, "..."] = np.load(path, allow_pickle=False)
    except Exception as error:  # a damaged header may fail in any way
        raise DataInvalid(f"npy cannot be read: {error}", where=path, fix="get it again") from None
    if values.size != int(np.prod(shape)) or values.dtype.kind != "f":
        raise DataInvalid(
            "SDF grid has the wrong size",
            where=path,
            expected=f"floating point, {' x '.join(map(str, shape))} (flat or shaped)",
            found=f"{values.dtype} of shape {values.shape}",
            fix="the json beside it gives dim; both must come from one scene",
        )
    grid = np.ascontiguousarray(values.reshape(shape), dtype=np.float32)
    if not np.isfinite(grid).all():
        raise DataInvalid("SDF grid holds NaN or infinity", where=path, fix="get it again")
    return grid
