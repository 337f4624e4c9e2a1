"""A signed distance grid from a scan that is open, noisy and has holes.

Distance: exact to the triangles. Sign: that of the nearest triangle's (pseudo)normal, which is right
beside scanned surface, overruled by the generalised winding number where that leaves no doubt, as it
does at the rims of holes; and everything below the floor's plane is solid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import zoom

from pipelines.capture.scan import Scan

SOLID_WINDING, FREE_WINDING = 0.0, -0.5
"""With normals into the room the winding number is -1 in a closed room and 0 outside; a half-open one
lies between. Above 0 is solid for certain, below -0.5 free."""
_STEP = 4
_BAND_M = 0.35
_CHUNK = 400_000


@dataclass(frozen=True, slots=True, eq=False)
class DistanceGrid:
    """Values at nodes, index [ix, iy, iz]; metres, negative in solids."""

    values_m: Float32[np.ndarray, "nx ny nz"]
    min_world: Float[np.ndarray, "3"]
    max_world: Float[np.ndarray, "3"]


def signed_distance(
    scan: Scan, points_world: Float[np.ndarray, "points 3"], floor_world: Float[np.ndarray, "4"] | None
) -> Float[np.ndarray, " points"]:
    """Signed distance of points to a scan.

    Args:
        scan: normals point into the free space.
        points_world: metres.
        floor_world: plane (n, d), n up, below which all is solid; None = the scan alone decides.
    """
    import igl

    vertices, faces = np.ascontiguousarray(scan.vertices_world), np.ascontiguousarray(scan.faces)
    signed, *_ = igl.signed_distance(
        points_world, vertices, faces, igl.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
    )
    winding = igl.fast_winding_number(vertices, faces, points_world)
    solid = np.where(winding > SOLID_WINDING, True, np.where(winding < FREE_WINDING, False, signed < 0))
    values = np.where(solid, -np.abs(signed), np.abs(signed))
    if floor_world is None:
        return values
    height = points_world @ floor_world[:3] - floor_world[3]
    # The closed floor is a surface too: nothing lies farther from the free space than from it.
    return np.where(height < 0, -np.minimum(np.abs(values), -height), np.minimum(values, height))


def build_grid(
    scan: Scan, size: int, margin_m: float, floor_world: Float[np.ndarray, "4"] | None
) -> DistanceGrid:
    """A grid over the scan and a margin: exact near surfaces, interpolated from every fourth node afar.

    Args:
        scan: normals point into the free space.
        size: nodes along each axis.
        margin_m: beyond the scan, so that bodies behind walls and floor are noticed.
        floor_world: see `signed_distance`.
    """
    low = scan.vertices_world.min(axis=0) - margin_m
    high = scan.vertices_world.max(axis=0) + margin_m
    coarse_size = max(size // _STEP, 8)
    coarse = _evaluate(scan, _nodes(low, high, coarse_size), floor_world)
    coarse = coarse.reshape((coarse_size,) * 3)
    values = zoom(coarse, size / coarse_size, order=1, grid_mode=False).astype(np.float32)
    spacing = float(((high - low) / (coarse_size - 1)).max())
    near: Bool[np.ndarray, "nx ny nz"] = np.abs(values) < max(_BAND_M, 1.8 * spacing)
    axes = [np.linspace(low[k], high[k], size) for k in range(3)]
    index = np.argwhere(near)
    points = np.stack([axes[k][index[:, k]] for k in range(3)], axis=1)
    values[near] = _evaluate(scan, points, floor_world).astype(np.float32)
    return DistanceGrid(values, low, high)


def _evaluate(
    scan: Scan, points: Float[np.ndarray, "points 3"], floor_world: Float[np.ndarray, "4"] | None
) -> Float[np.ndarray, " points"]:
    parts = [
        signed_distance(scan, points[start : start + _CHUNK], floor_world)
        for start in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(parts)


def _nodes(
    low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"], size: int
) -> Float[np.ndarray, "nodes 3"]:
    axes = [np.linspace(low[k], high[k], size) for k in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
