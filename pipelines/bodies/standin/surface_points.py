"""Closest points and barycentric weights on triangles."""

from __future__ import annotations

import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

_CANDIDATES = 24


def closest_points(
    triangles: Float[np.ndarray, "faces 3 3"], points: Float[np.ndarray, "points 3"]
) -> tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, " points"]]:
    """Nearest place on the mesh and its face, among the faces with the nearest centres."""
    count = min(_CANDIDATES, len(triangles))
    _, nearest = cKDTree(triangles.mean(axis=1)).query(points, count)
    candidates = np.asarray(nearest)
    repeated = np.repeat(points, count, axis=0)
    places = trimesh.triangles.closest_point(triangles[candidates.ravel()], repeated)
    distance = np.linalg.norm(places - repeated, axis=1).reshape(-1, count)
    best = distance.argmin(axis=1)
    rows = np.arange(len(points))
    return places.reshape(-1, count, 3)[rows, best], candidates[rows, best]


def barycentric(
    triangles: Float[np.ndarray, "points 3 3"], points: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3"]:
    """Non-negative weights of each point in its triangle, summing to one."""
    weights = np.clip(trimesh.triangles.points_to_barycentric(triangles, points), 0, 1)
    return weights / weights.sum(axis=1, keepdims=True)
