"""The room as its scanner left it: noisy triangles with holes, colours, and the exact distance grid."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8

from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.transforms import invert, transform_points
from pipelines.synthetic.primitives import Solid, tessellate, union_distance, union_grid
from pipelines.synthetic.rendering import cell_noise, value_noise
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.visibility import merge_meshes

GRID_MARGIN_M = 0.35
"""The grid reaches this far behind walls and floor, so that bodies there are noticed."""


@dataclass(frozen=True, slots=True, eq=False)
class RoomMesh:
    """The clean surface of a room, room frame, with the solid each face belongs to."""

    vertices: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    solid: Int[np.ndarray, " faces"]


def room_mesh(surfaces: tuple[Solid, ...], edge_m: float) -> RoomMesh:
    """Triangles of about `edge_m` on every visible side."""
    return RoomMesh(*merge_meshes([tessellate(solid, edge_m) for solid in surfaces]))


def texture(
    points_room: Float[np.ndarray, "points 3"], solid: Int[np.ndarray, " points"], room: Room, seed: int
) -> Float32[np.ndarray, "points 3"]:
    """Colour in 0..1 of surface points: planks on the floor, plaster on walls, cloth or wood grain."""
    base = np.array([surface.color for surface in room.surfaces], np.float32)[solid]
    is_floor = np.array([s.name == "floor" for s in room.surfaces])[solid]
    is_wall = np.array([s.name.startswith("wall") for s in room.surfaces])[solid]
    grain = np.where(is_wall, 0.015, 0.05) * value_noise(points_room, 0.03, seed)
    shade = 1 + grain + 0.08 * value_noise(points_room, 0.4, seed + 1)
    shade[is_floor] *= _planks(points_room[is_floor], seed + 2)
    colors = base * shade[:, None].astype(np.float32)
    poster = is_wall & (points_room[:, 2] > 1.1) & (points_room[:, 2] < 2.2)
    poster &= cell_noise(points_room / 0.55, seed + 3) > 0.72
    tiles = points_room[poster] / 0.11
    hue = np.stack([cell_noise(tiles, seed + 4 + k) for k in range(3)], axis=1)
    colors[poster] = 0.5 + 0.3 * hue
    return np.clip(colors, 0.02, 1).astype(np.float32)


def _planks(points_room: Float[np.ndarray, "points 3"], seed: int) -> Float[np.ndarray, " points"]:
    """Brightness of floor boards along x, each with its own tone, dark at the joints."""
    across = points_room[:, 1] / 0.14
    plank = np.floor(across)
    along = np.floor(points_room[:, 0] / 1.1 + 0.37 * plank)
    tone = cell_noise(np.stack([plank, along, np.zeros_like(plank)], axis=1), seed)
    return (1 + 0.12 * tone) * np.where(across - plank < 0.04, 0.72, 1)


def scan_room(
    room: Room, edge_m: float, rng: np.random.Generator
) -> tuple[
    Float32[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"], UInt8[np.ndarray, "vertices 3"]
]:
    """The scanned mesh in the world frame: about 3 mm of noise, hidden parts and holes missing."""
    mesh = room_mesh(room.surfaces, edge_m)
    centers = mesh.vertices[mesh.faces].mean(axis=1)
    keep = union_distance(room.solids, centers) > -0.004
    keep &= ~_holes(centers[keep], centers, rng)
    keep &= centers[:, 2] > -0.01
    used, faces = np.unique(mesh.faces[keep], return_inverse=True)
    faces = faces.reshape(-1, 3)
    vertices = mesh.vertices[used]
    owner = np.zeros(len(mesh.vertices), dtype=np.int64)
    owner[mesh.faces] = mesh.solid[:, None]
    seed = int(rng.integers(1 << 30))
    colors = texture(vertices, owner[used], room, seed)
    normals = vertex_normals(torch.as_tensor(vertices), torch.as_tensor(faces), area_weighted=True)
    bump = 0.004 * value_noise(vertices, 0.12, seed + 9) + 0.0012 * rng.standard_normal(len(vertices))
    noisy = vertices + normals.numpy() * bump[:, None]
    world = transform_points(room.T_world_from_room, noisy).astype(np.float32)
    return world, faces, np.round(colors * 255).astype(np.uint8)


def _holes(
    seen: Float[np.ndarray, "seen 3"], centers: Float[np.ndarray, "faces 3"], rng: np.random.Generator
) -> Bool[np.ndarray, " faces"]:
    """Faces in a dozen ragged balls, most of them near the floor where a scanner rarely looks."""
    lost = np.zeros(len(centers), dtype=bool)
    low = seen[(seen[:, 2] < 0.25) | (rng.random(len(seen)) < 0.3)]
    for _ in range(12):
        middle = low[rng.integers(len(low))]
        near = np.linalg.norm(centers - middle, axis=1)
        lost |= near < rng.uniform(0.05, 0.2) * (1 + 0.4 * rng.standard_normal(len(centers)))
    return lost


def ply_bytes(
    vertices: Float32[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    colors: UInt8[np.ndarray, "vertices 3"],
) -> bytes:
    """Binary little-endian PLY with vertex colours."""
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(vertices), dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = vertices, colors
    corners = np.empty(len(faces), dtype=[("count", "u1"), ("ids", "<i4", 3)])
    corners["count"], corners["ids"] = 3, faces
    return header.encode() + rows.tobytes() + corners.tobytes()


def sdf_grid(
    room: Room, size: int
) -> tuple[Float32[np.ndarray, "nx ny nz"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Exact signed distance on a world-axis grid larger than the room, and its first and last nodes."""
    low, high = room.min_room - GRID_MARGIN_M, room.max_room + GRID_MARGIN_M
    corners = np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    world = transform_points(room.T_world_from_room, corners)
    first, last = world.min(axis=0), world.max(axis=0)
    axes = tuple(np.linspace(first[k], last[k], size) for k in range(3))
    grid = union_grid(room.solids, (axes[0], axes[1], axes[2]), invert(room.T_world_from_room))
    return grid, first, last


def sdf_json(first: Float[np.ndarray, "3"], last: Float[np.ndarray, "3"], size: int) -> bytes:
    """The grid's description as PROX writes it: `min` and `max` are the centres of the end cells."""
    content: dict[str, Any] = {"min": first.tolist(), "max": last.tolist(), "dim": size}
    return json.dumps(content).encode()


def sdf_normals(
    grid: Float32[np.ndarray, "nx ny nz"], first: Float[np.ndarray, "3"], last: Float[np.ndarray, "3"]
) -> Float32[np.ndarray, "nx ny nz 3"]:
    """Outward unit gradient of the grid; 200 MB at 256 cubed, so optional."""
    steps = (last - first) / (np.array(grid.shape) - 1)
    gradient = np.stack(np.gradient(grid, *steps), axis=-1)
    length = np.linalg.norm(gradient, axis=-1, keepdims=True)
    return (gradient / np.maximum(length, 1e-9)).astype(np.float32)
