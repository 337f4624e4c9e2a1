"""Shaded triangle meshes by ray casting: small, exact, no GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from pipelines.geometry.meshes import RayCaster, vertex_normals

_AMBIENT = 0.35
"""Share of the light that falls everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Rays:
    """One ray per pixel of a picture, row by row."""

    origins: Float[np.ndarray, "rays 3"]
    directions: Float[np.ndarray, "rays 3"]
    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """What the rays saw of one mesh."""

    distance: Float[np.ndarray, " rays"]
    """In units of the ray directions; inf where nothing was hit."""
    color: Float[np.ndarray, "rays 3"]
    """Shaded RGB in 0..1; zero where nothing was hit."""

    @property
    def hit(self) -> Bool[np.ndarray, " rays"]:
        """Rays that met the mesh."""
        return np.isfinite(self.distance)


def pinhole_rays(
    K: Float[np.ndarray, "3 3"],
    left_top_px: tuple[float, float],
    pixels_per_step: float,
    size_px: tuple[int, int],
) -> Rays:
    """Rays of a crop of the image: `size_px` (width, height) samples, each a step apart, camera frame.

    Directions have z = 1, so a hit's distance is its depth.
    """
    width, height = size_px
    u = left_top_px[0] + pixels_per_step * np.arange(width)
    v = left_top_px[1] + pixels_per_step * np.arange(height)
    grid_u, grid_v = np.meshgrid(u, v)
    directions = np.stack(
        [(grid_u - K[0, 2]) / K[0, 0], (grid_v - K[1, 2]) / K[1, 1], np.ones_like(grid_u)], axis=-1
    ).reshape(-1, 3)
    return Rays(np.zeros_like(directions), directions, height, width)


def parallel_rays(
    centre: Float[np.ndarray, "3"],
    right: Float[np.ndarray, "3"],
    down: Float[np.ndarray, "3"],
    extent_m: float,
    start_m: float,
    size_px: int,
) -> Rays:
    """Rays of a square orthographic view, `extent_m` wide, starting `start_m` before the centre."""
    forward = np.cross(right, down)
    steps = (np.arange(size_px) + 0.5) / size_px * extent_m - extent_m / 2
    plane = steps[None, :, None] * right + steps[:, None, None] * down
    origins = (centre - start_m * forward + plane).reshape(-1, 3)
    return Rays(origins, np.broadcast_to(forward, origins.shape).copy(), size_px, size_px)


def shade(
    vertices: Float[np.ndarray, "verts 3"],
    faces: Int[np.ndarray, "faces 3"],
    colors: Float[np.ndarray, "verts 3"],
    rays: Rays,
    caster: RayCaster | None = None,
) -> Layer:
    """Cast the rays and light the mesh from the viewer, smoothly over the faces.

    Args:
        vertices: in the frame of the rays.
        faces: triangles.
        colors: RGB of each vertex, 0..1.
        rays: one per pixel.
        caster: of the same mesh, to save building it again.
    """
    caster = caster or RayCaster(vertices.astype(np.float64), faces)
    distance, hit_faces = caster.first_hit(rays.origins, rays.directions)
    hit = (hit_faces >= 0) & np.isfinite(distance)
    color = np.zeros((len(distance), 3))
    corners = faces[hit_faces[hit]]
    directions = rays.directions[hit]
    points = rays.origins[hit] + distance[hit, None] * directions
    weights = _barycentric(points, vertices[corners])
    normals = _normals(vertices, faces)[corners]
    normal = np.einsum("rk,rkd->rd", weights, normals)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    view = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    facing = np.abs(np.einsum("rd,rd->r", normal, view))
    base = np.einsum("rk,rkd->rd", weights, colors[corners])
    color[hit] = base * (_AMBIENT + (1 - _AMBIENT) * facing)[:, None]
    return Layer(np.where(hit, distance, np.inf), color)


def section(
    vertices: Float[np.ndarray, "verts 3"],
    faces: Int[np.ndarray, "faces 3"],
    point: Float[np.ndarray, "3"],
    normal: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "segments 2 3"]:
    """Line segments in which a plane cuts the mesh."""
    height = (vertices - point) @ normal
    side = height[faces] > 0
    crossing = faces[side.any(axis=1) & ~side.all(axis=1)]
    ends = []
    for k in range(3):
        a, b = crossing[:, k], crossing[:, (k + 1) % 3]
        cut = (height[a] > 0) != (height[b] > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = height[a] / (height[a] - height[b])
            place = vertices[a] + share[:, None] * (vertices[b] - vertices[a])
        ends.append(np.where(cut[:, None], place, np.nan))
    stacked = np.stack(ends, axis=1)  # (triangles, edges, 3): two of the three edges are cut
    order = np.argsort(np.isnan(stacked[..., 0]), axis=1, kind="stable")[:, :2]
    return np.take_along_axis(stacked, order[..., None], axis=1)


def _normals(
    vertices: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "verts 3"]:
    tensor = torch.tensor(vertices, dtype=torch.float64)
    return vertex_normals(tensor, torch.tensor(faces), area_weighted=True).numpy()


def _barycentric(
    points: Float[np.ndarray, "points 3"], triangles: Float[np.ndarray, "points 3 3"]
) -> Float[np.ndarray, "points 3"]:
    a, b, c = triangles.astype(np.float64).transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(axis=1), 1e-30)
    v = np.einsum("pd,pd->p", np.cross(c - b, points - b), normal) / area
    w = np.einsum("pd,pd->p", np.cross(a - c, points - c), normal) / area
    return np.column_stack([v, w, 1 - v - w]).clip(0, 1)
