"""A unit eyeball of exactly 546 vertices and 1073 faces: a sphere facing +z, open at the back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull

NUM_EYE = 546
_NUM_SPIRAL = 529
_NUM_RING = NUM_EYE - _NUM_SPIRAL
_SPIRAL_END_Z, _RING_Z = -0.91, -0.965


@lru_cache(maxsize=1)
def unit_eye() -> tuple[Float[np.ndarray, "546 3"], Int[np.ndarray, "1073 3"]]:
    """A Fibonacci spiral closed by a ring; the triangles that would close the ring are left out."""
    step = np.arange(_NUM_SPIRAL)
    z = 1 - step / (_NUM_SPIRAL - 1) * (1 - _SPIRAL_END_Z)
    angle = step * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(np.maximum(0, 1 - z * z))
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
    turn = np.arange(_NUM_RING) * 2 * np.pi / _NUM_RING
    radius = np.full(_NUM_RING, np.sqrt(1 - _RING_Z**2))
    ring = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.full(_NUM_RING, _RING_Z)], axis=1)
    points = np.concatenate([spiral, ring])
    hull = ConvexHull(points, qhull_options="Qt")
    faces = hull.simplices.astype(np.int64)
    a, b, c = points[faces].transpose(1, 0, 2)
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    faces[inward] = faces[inward][:, ::-1]
    return points, faces[(faces < _NUM_SPIRAL).any(axis=1)]
