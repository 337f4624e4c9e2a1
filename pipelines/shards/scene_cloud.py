"""A scan's surface as points of even density: what shards hold and RCNet reads."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from pipelines.datasets.scenes import ScanMesh
from pipelines.records import SceneScan

SCENE_PITCH_M: Final = 0.02
"""Edge of the cells that hold one point each. SA-HMR's clouds carry theirs; the value is not published."""

_BORDER: Final = 1e-6
"""In cells: a surface exactly between two cells counts to the upper one, whatever its rounding."""


def scene_cloud(
    scene: SceneScan | ScanMesh, pitch_m: float = SCENE_PITCH_M
) -> Float[np.ndarray, "points 3"]:
    """Points of a scan's surface, world frame: the centres of the cells the surface passes through."""
    return surface_cells(scene.vertices_world, scene.faces, pitch_m)


def surface_cells(
    vertices: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"], pitch_m: float
) -> Float[np.ndarray, "points 3"]:
    """Centres of the cells of a grid, fixed at the origin, that hold part of a mesh's surface.

    Triangles are sampled on a lattice finer than a cell, so that only slivers at a cell's corner are missed.
    """
    corners = vertices[faces].astype(np.float64)  # (faces, 3, 3)
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    steps = np.maximum(np.ceil(2 * longest / pitch_m), 1).astype(np.int64)
    keys = [np.zeros(0, np.int64)]
    for count in np.unique(steps):
        weights = _lattice(int(count))
        own = corners[steps == count]
        rows = max(1, 2_000_000 // len(weights))  # keeps the peak near 50 MB
        for start in range(0, len(own), rows):
            points = np.einsum("wk,fkd->fwd", weights, own[start : start + rows]).reshape(-1, 3)
            keys.append(np.unique(_pack(np.floor(points / pitch_m + _BORDER).astype(np.int64))))
    return (_unpack(np.unique(np.concatenate(keys))) + 0.5) * pitch_m


@lru_cache(maxsize=64)
def _lattice(count: int) -> Float[np.ndarray, "points 3"]:
    """Barycentric weights of a triangular lattice with so many steps along an edge."""
    i, j = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
    inside = i + j <= count
    a, b = i[inside] / count, j[inside] / count
    return np.stack([a, b, 1 - a - b], axis=1)


_AXIS_BITS: Final = 21
_HALF: Final = 1 << (_AXIS_BITS - 1)


def _pack(cells: Int[np.ndarray, "cells 3"]) -> Int[np.ndarray, " cells"]:
    """One sortable number per cell, which is much faster to make unique than rows."""
    x, y, z = (cells + _HALF).T
    return ((x << _AXIS_BITS | y) << _AXIS_BITS) | z


def _unpack(keys: Int[np.ndarray, " cells"]) -> Int[np.ndarray, "cells 3"]:
    mask = (1 << _AXIS_BITS) - 1
    axes = [keys >> 2 * _AXIS_BITS, keys >> _AXIS_BITS & mask, keys & mask]
    return np.stack(axes, axis=1) - _HALF
