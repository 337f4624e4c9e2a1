"""Contact category of scene points and of body vertices; the one place where contact is decided.

A category is a small number per body vertex, 0 for vertices that never touch. The table is the caller's:
seven parts (`pipelines.bodies.parts.CONTACT_PARTS`), contact or not, or one category per coarse vertex.
Scene and body are in one frame, whichever. Distances are of float64, so the answer does not depend on the
type, the order or the number of the points asked for in one call.

Source: SA-HMR, lib/train/trainers/pose/supervision.py, as told in the networks page, section 9.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from pipelines.errors import DataInvalid

_DOUBT_M: Final = 1e-9
"""Vertices whose distances differ by less are compared by the reference; far above float64's rounding."""
_CHUNK_PAIRS: Final = 1 << 21


def category_numbers(names: Sequence[str], left_out: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the categories without a label: 0, and those named.

    Raises:
        DataInvalid: a name is not in the table.
    """
    unknown = sorted(set(left_out) - set(names))
    if unknown:
        raise DataInvalid("categories to leave out do not exist", expected=tuple(names), found=unknown)
    return (0, *(list(names).index(name) for name in left_out))


def label_points(
    points: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "verts 3"],
    category: Int[np.ndarray, " verts"],
    radius_m: float,
) -> Int[np.ndarray, " points"]:
    """Category of the nearest vertex if that is nearer than the radius, else 0; by a k-d tree.

    Of equally near vertices the smallest category decides. Give only vertices that can touch: a vertex of
    category 0 hides those behind it.

    Raises:
        DataInvalid: a coordinate is not finite.
    """
    points, vertices = _finite("points", points), _finite("vertices", vertices)
    labels = np.zeros(len(points), np.int64)
    rows = _within_reach(points, vertices, radius_m)
    if len(rows) == 0:
        return labels
    distance, nearest = _nearest_two(points[rows], vertices, radius_m)
    found = np.isfinite(distance[:, 0])
    rows, distance, nearest = rows[found], distance[found], nearest[found, 0]
    close = np.sqrt(_squared(points[rows], vertices[nearest])) < radius_m
    labels[rows] = np.where(close, category[nearest], 0)
    doubtful = rows[distance[:, 1] - distance[:, 0] < _DOUBT_M]
    labels[doubtful] = label_points_by_distances(points[doubtful], vertices, category, radius_m)
    return labels


def label_points_by_distances(
    points: Float[np.ndarray, "points 3"],
    vertices: Float[np.ndarray, "verts 3"],
    category: Int[np.ndarray, " verts"],
    radius_m: float,
) -> Int[np.ndarray, " points"]:
    """The same by looking at every pair: what `label_points` is held to."""
    points, vertices = _finite("points", points), _finite("vertices", vertices)
    labels = np.zeros(len(points), np.int64)
    if len(vertices) == 0:
        return labels
    step = max(1, _CHUNK_PAIRS // len(vertices))
    for start in range(0, len(points), step):
        squared = _squared(points[start : start + step, None], vertices[None])  # (points, verts)
        smallest = squared.min(axis=1, keepdims=True)
        of_nearest = np.where(squared == smallest, category[None], np.iinfo(np.int64).max).min(axis=1)
        labels[start : start + step] = np.where(np.sqrt(smallest[:, 0]) < radius_m, of_nearest, 0)
    return labels


def label_vertices(
    vertices: Float[np.ndarray, "verts 3"],
    category: Int[np.ndarray, " verts"],
    scene_points: Float[np.ndarray, "points 3"],
    radius_m: float,
) -> Int[np.ndarray, " verts"]:
    """A vertex's own category where a point of the scene is nearer than the radius, else 0.

    Raises:
        DataInvalid: a coordinate is not finite.
    """
    vertices, scene = _finite("vertices", vertices), _finite("scene points", scene_points)
    labels = np.zeros(len(vertices), np.int64)
    able = np.flatnonzero(category)
    rows = _within_reach(scene, vertices[able], radius_m)
    if len(rows) == 0:
        return labels
    scene = scene[rows]
    distance, nearest = (column[:, 0] for column in _nearest_two(vertices[able], scene, radius_m))
    found = np.isfinite(distance)
    able, nearest = able[found], nearest[found]
    close = np.sqrt(_squared(vertices[able], scene[nearest])) < radius_m
    labels[able[close]] = category[able[close]]
    return labels


def can_touch(
    category_of_vertex: Int[np.ndarray, " verts"], names: Sequence[str], left_out: Sequence[str]
) -> Bool[np.ndarray, " verts"]:
    """True for vertices with a category that is not left out."""
    return ~np.isin(category_of_vertex, category_numbers(names, left_out))


def _within_reach(
    points: Float[np.ndarray, "points 3"], vertices: Float[np.ndarray, "verts 3"], radius_m: float
) -> Int[np.ndarray, " rows"]:
    """Rows of the points inside the vertices' box, the radius beyond it."""
    if len(vertices) == 0:
        return np.zeros(0, np.int64)
    margin = radius_m + 2 * _DOUBT_M
    low, high = vertices.min(axis=0) - margin, vertices.max(axis=0) + margin
    rows = np.arange(len(points))
    for axis in range(3):  # each axis thins out the points for the next
        along = points[rows, axis]
        rows = rows[(along >= low[axis]) & (along <= high[axis])]
    return rows


def _squared(
    a: Float[np.ndarray, "*rows 3"], b: Float[np.ndarray, "*others 3"]
) -> Float[np.ndarray, "..."]:
    """Squared distance; one order of summation, so that both ways get the same bits."""
    x, y, z = (a[..., axis] - b[..., axis] for axis in range(3))
    return (x * x + y * y) + z * z


def _finite(what: str, coordinates: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, "rows 3"]:
    """As float64, in which float32 coordinates stay exact."""
    if not np.isfinite(coordinates).all():
        bad = int((~np.isfinite(coordinates)).any(axis=1).sum())
        raise DataInvalid(
            f"{what} to be labelled are not finite",
            expected="metres, scene and body in one frame",
            found=f"{bad} of {len(coordinates)} rows with NaN or infinity",
            fix="leave out frames without a valid body",
        )
    return np.asarray(coordinates, np.float64)


def _nearest_two(
    queries: Float[np.ndarray, "queries 3"], targets: Float[np.ndarray, "targets 3"], radius_m: float
) -> tuple[Float[np.ndarray, "queries 2"], Int[np.ndarray, "queries 2"]]:
    """Distances and rows of the two nearest targets; infinite where there is none within the radius."""
    # Quicker to build and, on surfaces, no slower to search than a balanced tree.
    tree = cKDTree(targets, balanced_tree=False, compact_nodes=False)
    reach = radius_m + 2 * _DOUBT_M
    distance, nearest = tree.query(queries, k=np.array([1, 2]), distance_upper_bound=reach)
    return np.asarray(distance), np.asarray(nearest)
