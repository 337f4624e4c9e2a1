"""Meshes light enough for a page: thinned-out scans and coarse bodies with faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from scipy.sparse.csgraph import dijkstra

from pipelines.bodies.downsample import MeshPyramid
from pipelines.records import SceneScan

_GREY = 0.75
_FIRST_PITCH_M = 0.01
_GROWTH = 1.15


@dataclass(frozen=True, slots=True, eq=False)
class LightMesh:
    """A triangle mesh with a colour per vertex."""

    vertices: Float[np.ndarray, "verts 3"]
    faces: Int[np.ndarray, "faces 3"]
    colors: Float[np.ndarray, "verts 3"]
    """RGB, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class CoarseBody:
    """Some vertices of the 6890-vertex body, and triangles between them."""

    picked: Int[np.ndarray, " coarse"]
    """Rows of the fine mesh."""
    faces: Int[np.ndarray, "faces 3"]
    nearest: Int[np.ndarray, " fine"]
    """Coarse vertex that each fine one is closest to along the surface."""

    def smallest(self, values: Float[np.ndarray, " fine"]) -> Float[np.ndarray, " coarse"]:
        """Smallest value around each coarse vertex, so that a thin deep spot is not lost."""
        low = np.full(len(self.picked), np.inf)
        np.minimum.at(low, self.nearest, values)
        return low


def thin_out_scan(scene: SceneScan, max_vertices: int) -> LightMesh:
    """Merge a scan's vertices in cubes just large enough that no more than so many are left."""
    vertices = np.asarray(scene.vertices_world, np.float64)
    colors = scene.colors if scene.colors is not None else np.full_like(vertices, _GREY)
    pitch = _FIRST_PITCH_M
    labels, number = np.arange(len(vertices)), len(vertices)
    while number > max_vertices:
        cells = np.floor((vertices - vertices.min(axis=0)) / pitch).astype(np.int64)
        size = cells.max(axis=0) + 1
        flat = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
        found, labels = np.unique(flat, return_inverse=True)
        number, pitch = len(found), pitch * _GROWTH
    weight = np.bincount(labels, minlength=number)[:, None]

    def mean(values: Float[np.ndarray, "verts 3"]) -> Float[np.ndarray, "merged 3"]:
        columns = [np.bincount(labels, values[:, k], minlength=number) for k in range(3)]
        return np.stack(columns, axis=1) / weight

    return LightMesh(
        mean(vertices),
        _whole_faces(labels[scene.faces], keep_back_sides=True),
        mean(np.asarray(colors, np.float64)),
    )


def coarse_body(
    pyramid: MeshPyramid,
    faces: Int[np.ndarray, "faces 3"],
    vertices: Float[np.ndarray, "6890 3"],
    size: int,
) -> CoarseBody:
    """Triangles for one level of the mesh pyramid, which comes without any.

    Each fine vertex goes to the nearest picked one along the edges of a body in rest; three picked
    vertices whose regions meet in a fine triangle are joined.

    Args:
        pyramid: which vertices each level keeps.
        faces: of the fine mesh.
        vertices: of a body in rest.
        size: vertices of the level: 6890, 1723 or 431.
    """
    picked = np.arange(len(vertices))
    for down in pyramid.down:
        if len(picked) > size:
            picked = picked[np.asarray(down.argmax(axis=1)).ravel()]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    shape = (len(vertices), len(vertices))
    graph = scipy.sparse.csr_matrix((length, (edges[:, 0], edges[:, 1])), shape=shape)
    _, _, source = dijkstra(
        graph, directed=False, indices=picked, min_only=True, return_predecessors=True
    )
    place = np.full(len(vertices), -1)
    place[picked] = np.arange(len(picked))
    nearest = np.where(source >= 0, place[source], 0)
    return CoarseBody(picked, _whole_faces(nearest[faces], keep_back_sides=False), nearest)


def _whole_faces(
    faces: Int[np.ndarray, "faces 3"], *, keep_back_sides: bool
) -> Int[np.ndarray, "left 3"]:
    """Without triangles that collapsed or are there twice.

    A thin plate merges into one layer; with its back sides kept it is seen from above and below.
    """
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    turns = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    same = np.take_along_axis(faces, turns, axis=1) if keep_back_sides else np.sort(faces, axis=1)
    _, first = np.unique(same, axis=0, return_index=True)
    return np.asarray(faces[np.sort(first)], np.int64)
