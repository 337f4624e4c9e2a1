"""The floor plane of a scanned room, carried to the camera.

A plane is (n, d) with unit normal n pointing up and n . x = d on it. In the camera frame up is -y, so
n_y < 0, and d is negative for a camera above the floor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.scenes import read_scan_mesh
from pipelines.datasets.settings import FloorSource
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, transform_plane

_LEVEL_COSINE = 0.95
"""A face belongs to a level surface when its normal is within 18 degrees of the vertical."""
_BIN_M = 0.02
_PEAK_SHARE = 0.25
"""A level is substantial when its area is at least this share of the largest level's."""
_FIT_BANDS_M = (0.2, 0.15, 0.1, 0.06, 0.06, 0.03, 0.02, 0.01, 0.01, 0.01)
_MAX_UNIT_ERROR = 0.02
_PLANE_ROWS = 10


def floor_in_camera(
    layout: ProxLayout,
    scene: str,
    T_world_from_camera: Float[np.ndarray, "4 4"],
    source: FloorSource,
) -> Float[np.ndarray, "4"]:
    """Floor of a scene in the colour camera.

    Raises:
        DataMissing: the source asked for is absent.
        DataInvalid: it holds no plane that could be a floor.
    """
    if source == "humor_planes":
        return read_humor_planes(layout.humor_planes(scene))
    path = layout.humor_floor(scene)
    if source == "humor_floors" or (source == "auto" and path.is_file()):
        return read_humor_floor(path)
    scan = layout.scan(scene)
    mesh = read_scan_mesh(scan)
    floor_world = estimate_floor(mesh.vertices_world, mesh.faces, source=scan)
    return up_in_camera(transform_plane(invert(T_world_from_camera), floor_world), source=scan)


def estimate_floor(
    vertices_world: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    source: object = None,
) -> Float[np.ndarray, "4"]:
    """The lowest substantial level surface of a scan, fitted robustly; world frame, z up.

    Areas decide, not vertex counts, so neither a coarse floor nor a finely scanned table misleads; the
    plane may be tilted by a few degrees, as PROX's floors are.

    Differs from HuMoR: its clustering of vertex heights below z = 0 depends on the scan's sampling.

    Raises:
        DataInvalid: the scan has no level surface.
    """
    corners = vertices_world[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.linalg.norm(normals, axis=1)
    level = np.abs(normals[:, 2]) > _LEVEL_COSINE * double_area
    level &= double_area > 0
    if not level.any():
        raise DataInvalid("the scan has no level surface, hence no floor", where=source)
    points = corners[level].reshape(-1, 3)
    weights = np.repeat(double_area[level] / 6, 3)
    height = _lowest_level(points[:, 2], weights)
    a, b, c = 0.0, 0.0, height
    for band in _FIT_BANDS_M:
        off = points[:, 2] - (points[:, :2] @ (a, b) + c)
        near = np.abs(off) <= band
        if not near.any():
            break
        a, b, c = _fit_plane(points[near], weights[near])
    scale = 1 / np.sqrt(a * a + b * b + 1)
    return np.array([-a, -b, 1.0, c]) * scale


def read_humor_floor(path: Path) -> Float[np.ndarray, "4"]:
    """Read HuMoR's floors/<Scene>.txt: one line `a b c d` in the camera frame."""
    if not path.is_file():
        raise DataMissing(
            "HuMoR floor file not found",
            where=path,
            fix="unpack HuMoR's PROX archive into the tree, or set prox.floor to scan",
        )
    try:
        plane = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except ValueError:
        plane = np.zeros(0)
    if plane.shape != (4,) or not np.isfinite(plane).all():
        raise DataInvalid("HuMoR floor file is wrong", where=path, expected="four numbers a b c d")
    return up_in_camera(plane, source=path)


def read_humor_planes(folder: Path) -> Float[np.ndarray, "4"]:
    """Pick the floor from HuMoR's PlaneRCNN results of one scene; camera frame.

    The plane with most pixels in the bottom ten rows whose normal is closest to the camera's y axis.
    A stored row is normal times offset in axes (x, z, -y) of the camera.

    Source: humor datasets/prox_dataset.py, as told in the datasets page, section 1.9.
    """
    parameters = sorted(folder.glob("*_plane_parameters_*.npy"))
    masks = sorted(folder.glob("*_plane_masks_*.npy"))
    if not parameters or not masks:
        raise DataMissing("HuMoR planes not found", where=folder, expected="*_plane_parameters_*.npy")
    try:
        stored = np.load(parameters[0], allow_pickle=False).astype(np.float64)
        bottom = np.load(masks[0], allow_pickle=False)[:, -_PLANE_ROWS:].sum(axis=(1, 2))
    except (ValueError, OSError, IndexError) as error:
        raise DataInvalid(f"HuMoR planes cannot be read: {error}", where=folder) from None
    for row in np.argsort(-bottom, kind="stable"):
        vector = stored[row][[0, 2, 1]] * (1, -1, 1)
        offset = float(np.linalg.norm(vector))
        if offset > 0 and np.abs(vector).argmax() == 1:
            return up_in_camera(np.append(vector / offset, offset), source=parameters[0])
    raise DataInvalid("no plane could be the floor", where=folder, found=f"{len(stored)} planes")


def up_in_camera(plane: Float[np.ndarray, "4"], source: object) -> Float[np.ndarray, "4"]:
    """Normalise a camera-frame plane so that its normal points up (n_y < 0)."""
    length = float(np.linalg.norm(plane[:3]))
    if abs(length - 1) > _MAX_UNIT_ERROR or plane[1] == 0:
        raise DataInvalid(
            "floor normal is no unit vector with a vertical part", where=source, found=plane.tolist()
        )
    return plane / length * (-1.0 if plane[1] > 0 else 1.0)


def _lowest_level(heights: Float[np.ndarray, " points"], weights: Float[np.ndarray, " points"]) -> float:
    first = heights.min()
    bins = ((heights - first) / _BIN_M).astype(np.int64)
    area = np.bincount(bins, weights)
    # A surface may straddle two bins: judge each bin together with the next.
    pair = area + np.append(area[1:], 0.0)
    lowest = int(np.flatnonzero(pair >= _PEAK_SHARE * pair.max())[0])
    return float(first + (lowest + 1) * _BIN_M)


def _fit_plane(
    points: Float[np.ndarray, "points 3"], weights: Float[np.ndarray, " points"]
) -> tuple[float, float, float]:
    """Weighted least squares of z = a x + b y + c; a = b = 0 where the points do not span a plane."""
    root = np.sqrt(weights)[:, None]
    center = (points * weights[:, None]).sum(axis=0) / weights.sum()
    offsets = (points - center) * root
    (a, b), _, rank, _ = np.linalg.lstsq(offsets[:, :2], offsets[:, 2], rcond=1e-6)
    if rank < 2:
        a = b = 0.0
    return float(a), float(b), float(center[2] - a * center[0] - b * center[1])
