"""Which body vertex is drawn to which point: visibility, nearest neighbours, contact pairs.

All of it is found without gradient and held fixed while a term is evaluated, as in PROX
(`fitting.py`: `visibility_compute`, chamfer distance, contact angle test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from pipelines.errors import DataInvalid
from pipelines.fitting.prox_style.energies import VertexPairs
from pipelines.geometry.meshes import RayCaster, vertex_normals
from pipelines.records import SceneScan

_RAY_START_M = 1e-3


def visible_vertices(
    vertices_camera: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"]
) -> Bool[np.ndarray, " verts"]:
    """True where the ray from 1 mm above a vertex to the camera meets no triangle of the body.

    Only the body hides itself: furniture, the image border and the normal play no part. Rays are cast
    against the triangles that face the camera: a ray that crosses a closed surface leaves it through
    one of them.
    Source: MPI-IS/mesh `visibility_compute` as PROX calls it (camera at the origin).
    """
    vertices = vertices_camera.astype(np.float64)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    towards = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    to_camera = -vertices / np.linalg.norm(vertices, axis=-1, keepdims=True)
    caster = RayCaster(vertices, faces[towards])
    return ~caster.any_hit(vertices + _RAY_START_M * to_camera, to_camera)


@dataclass(frozen=True, slots=True, eq=False)
class ScanPoints:
    """The person's depth points of one frame with the search tree that is built once."""

    points_camera: Float[np.ndarray, "points 3"]
    weight: float
    """Points of the full scan that each of these stands for."""
    tree: cKDTree

    @staticmethod
    def build(points_camera: Float[np.ndarray, "points 3"], num_full: int) -> ScanPoints:
        """Points of one frame; `num_full` is their number before subsampling."""
        if len(points_camera) == 0:
            raise DataInvalid("a frame without person points cannot be fitted", found="0 points")
        points = np.asarray(points_camera, np.float64)
        return ScanPoints(points, num_full / len(points), cKDTree(points))


def scan_pairs(
    vertices_camera: Float[np.ndarray, "verts 3"],
    visible_ids: Int[np.ndarray, " visible"],
    scan: ScanPoints,
) -> Int[np.ndarray, " points"]:
    """Nearest visible vertex (head included) of every person point."""
    tree = cKDTree(vertices_camera[visible_ids], compact_nodes=False, balanced_tree=False)
    _, nearest = tree.query(scan.points_camera)
    return visible_ids[nearest]


def body_pairs(
    vertices_camera: Float[np.ndarray, "verts 3"],
    visible_body_ids: Int[np.ndarray, " visible"],
    scan: ScanPoints,
) -> Int[np.ndarray, " visible"]:
    """Nearest person point of every visible vertex that is not of the head."""
    _, nearest = scan.tree.query(vertices_camera[visible_body_ids])
    return np.asarray(nearest, np.int64)


class ContactScene:
    """Scene vertices, their normals and their search tree."""

    def __init__(self, scene: SceneScan) -> None:
        vertices = torch.as_tensor(scene.vertices_world, dtype=torch.float64)
        faces = torch.as_tensor(np.asarray(scene.faces, np.int64))
        # The PLY's own normals are not used: PROX weights by area.
        normals = vertex_normals(vertices, faces, area_weighted=True)
        self.vertices_world: Float[np.ndarray, "verts 3"] = vertices.numpy()
        self.normals_world: Float[np.ndarray, "verts 3"] = normals.numpy()
        self.tree = cKDTree(self.vertices_world)


class NearestInScene:
    """Nearest scene vertex of points that move little from one call to the next.

    The answer for a point is kept until the point has moved by more than a share of its distance, and
    is searched for with the same tolerance: it is at most (1 + share)^3 times as far as the nearest
    vertex. Where contact acts, within some centimetres, that is less than the scan's own noise; far
    from any surface, where the term is saturated, it saves nearly all of the searching.
    """

    def __init__(self, scene: ContactScene, share: float) -> None:
        self._scene, self._share = scene, share
        self._asked: Float[np.ndarray, "points 3"] = np.zeros((0, 3))
        self._reach: Float[np.ndarray, " points"] = np.zeros(0)
        self._nearest: Int[np.ndarray, " points"] = np.zeros(0, np.int64)

    def query(self, points_world: Float[np.ndarray, "points 3"]) -> Int[np.ndarray, " points"]:
        """Index of the nearest scene vertex of every point; their number must not change."""
        if len(self._asked) == 0:
            self._asked = np.full_like(points_world, np.inf)
            self._reach = np.full(len(points_world), -1.0)
            self._nearest = np.zeros(len(points_world), np.int64)
        moved = np.linalg.norm(points_world - self._asked, axis=1)
        stale = ~(moved <= self._reach)
        if stale.any():
            distance, found = self._scene.tree.query(points_world[stale], eps=self._share)
            self._asked[stale] = points_world[stale]
            self._reach[stale] = self._share * np.asarray(distance)
            self._nearest[stale] = found
        return self._nearest.copy()


def faces_touching(
    faces: Int[Tensor, "faces 3"], vertex_ids: Int[Tensor, " ids"], num_vertices: int
) -> Int[Tensor, "touching 3"]:
    """Faces with a corner in the set: enough for the set's vertex normals."""
    chosen = torch.zeros(num_vertices, dtype=torch.bool)
    chosen[vertex_ids] = True
    return faces[chosen[faces].any(dim=1)]


def contact_angles_deg(
    body_normals: Float[np.ndarray, "*batch 3"], scene_normals: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch"]:
    """Angle between two lines, 0 to 90 degrees: PROX takes asin of the normals' cross product."""
    sine = np.linalg.norm(np.cross(body_normals, scene_normals), axis=-1)
    return np.degrees(np.arcsin(np.clip(sine, 0, 1)))


def contact_pairs(
    vertices_world: Float[Tensor, "frames verts 3"],
    faces: Int[Tensor, "faces 3"],
    contact_ids: Int[Tensor, " contacts"],
    scene: ContactScene,
    searches: Sequence[NearestInScene],
    angle_deg: float,
) -> VertexPairs:
    """Contact vertices whose nearest scene vertex has a normal parallel to theirs within an angle.

    Args:
        vertices_world: bodies; the gradient is not followed.
        faces: of the body, at least those that touch a contact vertex.
        contact_ids: vertices of the seven contact parts.
        scene: the room.
        searches: nearest scene vertices, one search per frame.
        angle_deg: PROX takes 45; antiparallel normals count as parallel.
    """
    body = vertices_world.detach()
    points = body[:, contact_ids].double().numpy()  # (frames, contacts, 3)
    normals = vertex_normals(body, faces, area_weighted=False)[:, contact_ids].double().numpy()
    nearest = np.stack([search.query(row) for search, row in zip(searches, points, strict=True)])
    kept = contact_angles_deg(normals, scene.normals_world[nearest]) <= angle_deg
    frame, column = np.nonzero(kept)
    return VertexPairs(
        frame=torch.as_tensor(frame),
        vertex=contact_ids[torch.as_tensor(column)],
        target=torch.as_tensor(scene.vertices_world[nearest[kept]]).to(body),
        weight=torch.as_tensor(1.0 / kept.sum(1)[frame]).to(body),
    )
