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
from pipelines.fitting.prox_style_energies import VertexPairs
from pipelines.geometry.meshes import RayCaster, vertex_normals
from pipelines.records import SceneScan

_RAY_START_M = 1e-3
_REMEMBERED = 16
"""Scene vertices remembered per contact vertex."""


def visible_vertices(
    vertices_camera: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"]
) -> Bool[np.ndarray, " verts"]:
    """True where the ray from 1 mm above a vertex to the camera meets no triangle of the body.

    Only the body hides itself: furniture, the image border and the normal play no part.
    Source: MPI-IS/mesh `visibility_compute` as PROX calls it (camera at the origin).
    """
    vertices = vertices_camera.astype(np.float64)
    to_camera = -vertices / np.linalg.norm(vertices, axis=-1, keepdims=True)
    return ~RayCaster(vertices, faces).any_hit(vertices + _RAY_START_M * to_camera, to_camera)


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
    _, nearest = cKDTree(vertices_camera[visible_ids]).query(scan.points_camera)
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
    """Exact nearest scene vertex of points that move little from one call to the next.

    The first nearest vertices of each point are remembered. As long as one of them is closer than the
    furthest of them was, less the way the point has moved, no other vertex can be the nearest.
    """

    def __init__(self, scene: ContactScene) -> None:
        self._scene = scene
        self._asked: Float[np.ndarray, "points 3"] = np.zeros((0, 3))
        self._candidates: Int[np.ndarray, "points near"] = np.zeros((0, 0), np.int64)
        self._reach: Float[np.ndarray, " points"] = np.zeros(0)

    def query(self, points_world: Float[np.ndarray, "points 3"]) -> Int[np.ndarray, " points"]:
        """Index of the nearest scene vertex of every point; their number must not change."""
        if len(self._asked) == 0:
            self._asked = np.full_like(points_world, np.inf)
            self._candidates = np.zeros((len(points_world), _REMEMBERED), np.int64)
            self._reach = np.zeros(len(points_world))
        moved = np.linalg.norm(points_world - self._asked, axis=1)
        column, distance = self._nearest_candidate(points_world)
        stale = ~(distance <= self._reach - moved)
        if stale.any():
            count = min(_REMEMBERED, len(self._scene.vertices_world))
            ranks = np.arange(1, count + 1)
            distances, found = map(np.asarray, self._scene.tree.query(points_world[stale], k=ranks))
            self._asked[stale] = points_world[stale]
            self._candidates[stale, :count] = found
            self._candidates[stale, count:] = found[:, :1]
            self._reach[stale] = distances[:, -1] if count == _REMEMBERED else np.inf
            column[stale] = 0
        return self._candidates[np.arange(len(points_world)), column]

    def _nearest_candidate(
        self, points_world: Float[np.ndarray, "points 3"]
    ) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        apart = self._scene.vertices_world[self._candidates] - points_world[:, None]
        squared = np.einsum("pnk,pnk->pn", apart, apart)
        column = squared.argmin(axis=1)
        return column, np.sqrt(squared[np.arange(len(column)), column])


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
