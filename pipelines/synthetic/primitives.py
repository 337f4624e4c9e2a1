"""Solids a room is built from: vertical extrusions with an exact signed distance and a surface mesh.

Every solid is a rectangle or a disc swept along z, its edges rounded by `rounding_m`, turned about z.
The distance to such a solid is exact, and its part in the horizontal plane does not depend on z, so a
grid is filled from one 2-D map per solid. A union takes the least distance: exact outside; inside
overlapping solids it may understate the depth, so touching pieces of one furniture are built to overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int

INFINITE_M = 50.0
"""Half size of the blocks that stand for half spaces (floor, walls): larger than any room."""


Triple = tuple[float, float, float]


def triple(values: Sequence[float | int] | Float[np.ndarray, "3"]) -> Triple:
    """Three plain floats."""
    a, b, c = (float(value) for value in values)
    return a, b, c


@dataclass(frozen=True, slots=True)
class Solid:
    """One solid in the room frame (z up, floor at z = 0), metres."""

    name: str
    footprint: Literal["box", "cylinder"]
    center: Triple
    half_size: Triple
    """Half lengths along the solid's own x, y and z before turning; a cylinder's radius is the first."""
    yaw_rad: float = 0.0
    rounding_m: float = 0.0
    color: Triple = (0.6, 0.6, 0.6)
    """RGB in 0..1."""
    front: str = ""
    """Walls and floor: the one side that is meshed, such as "+x"; empty for all sides."""

    def moved(self, yaw_rad: float, shift: Sequence[float | int]) -> Solid:
        """The same solid turned about the origin's z axis, then shifted."""
        c, s = np.cos(yaw_rad), np.sin(yaw_rad)
        x, y, z = self.center
        center = triple((c * x - s * y + shift[0], s * x + c * y + shift[1], z + shift[2]))
        return replace(self, center=center, yaw_rad=float(self.yaw_rad + yaw_rad))

    def footprint_distance(
        self, x: Float[np.ndarray, "*shape"], y: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """Signed distance in the plane to the footprint shrunk by the rounding."""
        c, s = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        dx, dy = x - self.center[0], y - self.center[1]
        u, v = c * dx + s * dy, c * dy - s * dx
        if self.footprint == "cylinder":
            return np.hypot(u, v) - (self.half_size[0] - self.rounding_m)
        qx = np.abs(u) - (self.half_size[0] - self.rounding_m)
        qy = np.abs(v) - (self.half_size[1] - self.rounding_m)
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return outside + np.minimum(np.maximum(qx, qy), 0)

    def signed_distance(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, " points"]:
        """Exact signed distance, negative inside."""
        flat = self.footprint_distance(points[:, 0], points[:, 1])
        return self._extrude(flat, points[:, 2])

    def _extrude(
        self, flat: Float[np.ndarray, "*shape"], z: Float[np.ndarray, "*other"]
    ) -> Float[np.ndarray, "*broadcast"]:
        upright = np.abs(z - self.center[2]) - (self.half_size[2] - self.rounding_m)
        outside = np.hypot(np.maximum(flat, 0), np.maximum(upright, 0))
        return outside + np.minimum(np.maximum(flat, upright), 0) - self.rounding_m


def union_distance(
    solids: Sequence[Solid], points: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, " points"]:
    """Signed distance to the union of solids."""
    distance = np.full(len(points), np.inf)
    for solid in solids:
        np.minimum(distance, solid.signed_distance(points), out=distance)
    return distance


def union_grid(
    solids: Sequence[Solid],
    axes_world: tuple[Float[np.ndarray, " nx"], Float[np.ndarray, " ny"], Float[np.ndarray, " nz"]],
    T_room_from_world: Float[np.ndarray, "4 4"],
) -> Float32[np.ndarray, "nx ny nz"]:
    """Signed distance at every node of an axis-aligned world grid.

    Args:
        solids: room frame.
        axes_world: cell centres along each world axis.
        T_room_from_world: a turn about z with a translation, which keeps the solids upright.
    """
    x, y = np.meshgrid(axes_world[0], axes_world[1], indexing="ij")
    flat_world = np.stack([x, y, np.zeros_like(x)], axis=-1)
    flat_room = flat_world @ T_room_from_world[:3, :3].T + T_room_from_world[:3, 3]
    z = (axes_world[2] + T_room_from_world[2, 3]).astype(np.float32)
    plan = [
        solid.footprint_distance(flat_room[..., 0], flat_room[..., 1]).astype(np.float32)
        for solid in solids
    ]
    grid = np.full((*x.shape, len(z)), np.inf, np.float32)
    for ix in range(len(x)):  # one slab stays in the cache while every solid passes over it
        slab = grid[ix]
        for solid, flat in zip(solids, plan, strict=True):
            _lower_slab(slab, solid, flat[ix][:, None], z)
    return grid


def _lower_slab(
    slab: Float32[np.ndarray, "ny nz"],
    solid: Solid,
    flat: Float32[np.ndarray, "ny 1"],
    z: Float32[np.ndarray, " nz"],
) -> None:
    """Take the minimum with one solid, in place; a row the solid cannot lower is left alone."""
    rows = np.flatnonzero(flat[:, 0] - np.float32(solid.rounding_m) < slab.max(axis=1))
    if len(rows) == 0:
        return
    nearer = solid._extrude(flat[rows], z)
    slab[rows] = np.minimum(slab[rows], nearer)


def tessellate(
    solid: Solid, edge_m: float
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Triangles of about `edge_m` on the solid's surface, counter-clockwise seen from outside."""
    if solid.footprint == "cylinder":
        return _place(solid, *_cylinder(solid, edge_m))
    vertices, faces = [], []
    count = 0
    for axis in range(3):
        for sign in (-1, 1):
            if solid.front and solid.front != f"{'+' if sign > 0 else '-'}{'xyz'[axis]}":
                continue
            v, f = _box_side(np.array(solid.half_size), axis, sign, edge_m)
            vertices.append(v)
            faces.append(f + count)
            count += len(v)
    return _place(solid, np.concatenate(vertices), np.concatenate(faces))


def _box_side(
    half: Float[np.ndarray, "3"], axis: int, sign: int, edge_m: float
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    b, c = (axis + 1) % 3, (axis + 2) % 3
    nb, nc = (max(int(np.ceil(2 * half[k] / edge_m)), 1) for k in (b, c))
    grid_b, grid_c = np.meshgrid(
        np.linspace(-half[b], half[b], nb + 1), np.linspace(-half[c], half[c], nc + 1), indexing="ij"
    )
    vertices = np.empty((grid_b.size, 3))
    vertices[:, axis], vertices[:, b], vertices[:, c] = sign * half[axis], grid_b.ravel(), grid_c.ravel()
    return vertices, _grid_faces(nb, nc, flip=sign < 0)


def _cylinder(
    solid: Solid, edge_m: float
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Side and caps of an upright cylinder about the origin."""
    radius, half_z = solid.half_size[0], solid.half_size[2]
    around = max(int(np.ceil(2 * np.pi * radius / edge_m)), 12)
    rings = max(int(np.ceil(radius / edge_m)), 2)
    steps = max(int(np.ceil(2 * half_z / edge_m)), 1)
    radii = np.concatenate(
        [
            np.linspace(0, radius, rings + 1)[:-1],
            np.full(steps + 1, radius),
            np.linspace(radius, 0, rings + 1)[1:],
        ]
    )
    heights = np.concatenate(
        [np.full(rings, -half_z), np.linspace(-half_z, half_z, steps + 1), np.full(rings, half_z)]
    )
    angle = np.linspace(0, 2 * np.pi, around + 1)
    vertices = np.stack(
        [
            np.outer(np.cos(angle), radii).ravel(),
            np.outer(np.sin(angle), radii).ravel(),
            np.tile(heights, around + 1),
        ],
        axis=1,
    )
    return vertices, _grid_faces(around, len(radii) - 1, flip=False)


def _grid_faces(nb: int, nc: int, *, flip: bool) -> Int[np.ndarray, "faces 3"]:
    index = np.arange((nb + 1) * (nc + 1)).reshape(nb + 1, nc + 1)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)]
    )
    return faces[:, ::-1] if flip else faces


def _place(
    solid: Solid, vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]
) -> tuple[Float[np.ndarray, "vertices 3"], Int[np.ndarray, "faces 3"]]:
    """Pull the corners onto the rounding, then turn and shift into the room."""
    if solid.rounding_m > 0:
        vertices = _round(solid, vertices)
    c, s = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    turned = vertices @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    return turned + np.array(solid.center), faces


def _round(solid: Solid, vertices: Float[np.ndarray, "vertices 3"]) -> Float[np.ndarray, "vertices 3"]:
    r = solid.rounding_m
    core = vertices.copy()
    core[:, 2] = np.clip(core[:, 2], -solid.half_size[2] + r, solid.half_size[2] - r)
    if solid.footprint == "cylinder":
        radius = np.hypot(core[:, 0], core[:, 1])
        shrink = np.minimum(1, (solid.half_size[0] - r) / np.maximum(radius, 1e-9))
        core[:, :2] *= shrink[:, None]
    else:
        for k in range(2):
            core[:, k] = np.clip(core[:, k], -solid.half_size[k] + r, solid.half_size[k] - r)
    outward = vertices - core
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    return core + r * outward / np.maximum(length, 1e-12)
