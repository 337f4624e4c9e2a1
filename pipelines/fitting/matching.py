"""Pairs that energies take as constants: depth point to body vertex, contact vertex to scene vertex."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.fitting.scene_energies import facing_pairs
from pipelines.fitting.window_data import SceneData, WindowData
from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.nearest import FixedTargets, NearestCache
from pipelines.geometry.robust import bisquare_weights


@dataclass(frozen=True, slots=True, eq=False)
class PointMatch:
    """Nearest body vertex of every depth point."""

    indices: Int[Tensor, "windows frames points"]

    def squared_distances(
        self,
        points_camera: Float[Tensor, "windows frames points 3"],
        vertices_camera: Float[Tensor, "windows frames verts 3"],
    ) -> Float[Tensor, "windows residuals"]:
        """Squared distances (m^2), differentiable in the vertices; rows run over frames, then points."""
        index = self.indices[..., None].expand(-1, -1, -1, 3)
        matched = vertices_camera.gather(2, index)
        return (points_camera - matched).square().sum(-1).flatten(1)


@dataclass(frozen=True, slots=True, eq=False)
class SceneMatch:
    """Nearest scene vertex of every contact vertex of the body."""

    nearest_indices: Int[Tensor, "windows frames contacts"]
    nearest_world: Float[Tensor, "windows frames contacts 3"]
    kept: Bool[Tensor, "windows frames contacts"]


class Matcher:
    """Finds the pairs; keeps one cache per frame, so ask it about one set of points only."""

    def __init__(self) -> None:
        self._point_caches: dict[tuple[int, int], NearestCache] = {}
        self._surface: FixedTargets | None = None

    def points(
        self, data: WindowData, vertices_camera: Float[Tensor, "windows frames verts 3"]
    ) -> PointMatch:
        """Exact nearest vertices; frames without points get index 0."""
        windows, frames, points = data.points_camera.shape[:3]
        indices = torch.zeros(windows, frames, points, dtype=torch.int64)
        vertices = vertices_camera.detach()
        for window, frame in data.has_points.nonzero().tolist():
            cache = self._point_caches.setdefault((window, frame), NearestCache())
            indices[window, frame] = cache.query(
                data.points_camera[window, frame], vertices[window, frame]
            )
        return PointMatch(indices)

    def scene(
        self,
        data: WindowData,
        scene: SceneData,
        vertices_world: Float[Tensor, "windows frames verts 3"],
    ) -> SceneMatch:
        """Nearest scene vertices of the contact vertices, and which pairs face each other."""
        vertices = vertices_world.detach()
        contact = vertices[:, :, scene.contact_ids]
        if self._surface is None:
            self._surface = FixedTargets(scene.vertices_world, vertices.dtype)
        indices = self._surface.query(contact.flatten(0, 2)).unflatten(0, contact.shape[:3])
        normals = vertex_normals(vertices.flatten(0, 1), scene.contact_faces, area_weighted=False)
        body_normals = normals[:, scene.contact_ids].unflatten(0, contact.shape[:2])
        kept = facing_pairs(body_normals, scene.normals_world[indices])
        return SceneMatch(indices, self._surface.targets[indices], kept)


def robust_point_weights(
    data: WindowData, squared_distances: Float[Tensor, "windows residuals"]
) -> Float[Tensor, "windows residuals"]:
    """Bisquare weights of each window; points of frames without any do not count."""
    points = data.points_camera.shape[2]
    counts = data.has_points.repeat_interleave(points, dim=1)
    return bisquare_weights(squared_distances.detach().sqrt(), counts)
