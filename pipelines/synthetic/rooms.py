"""Furnished rooms that fit a motion: what it needs to sit or lie on, walls, clutter, an occluder.

The room frame is the motion's own: z up, floor at z = 0, metres. Nothing may cut into the body beyond
true contact, which is checked with the signed distance of its vertices over all frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.errors import FittingFailed
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.synthetic.primitives import INFINITE_M, Solid, Triple, tessellate, triple, union_distance
from pipelines.synthetic.visibility import merge_meshes

CONTACT_TOLERANCE_M = 0.005
WALL_HEIGHT_M = 2.6
_FLOOR_COLOR = (0.58, 0.47, 0.36)
_PALETTE = (
    (0.55, 0.36, 0.22), (0.70, 0.60, 0.45), (0.30, 0.33, 0.38), (0.52, 0.20, 0.18),
    (0.22, 0.36, 0.32), (0.75, 0.73, 0.70), (0.25, 0.27, 0.45), (0.80, 0.70, 0.30),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """Solids with exact distance, and the sides of them that can be seen; room frame."""

    solids: tuple[Solid, ...]
    surfaces: tuple[Solid, ...]
    """What is meshed: the furniture itself, and finite patches of floor and walls."""
    T_world_from_room: Float[np.ndarray, "4 4"]
    """A turn about z and a shift: the scan's world is z-up but its floor is not z = 0."""
    T_room_from_camera: Float[np.ndarray, "4 4"]
    """Of the colour camera."""
    min_room: Float[np.ndarray, "3"]
    max_room: Float[np.ndarray, "3"]

    @property
    def T_world_from_camera(self) -> Float[np.ndarray, "4 4"]:  # noqa: N802
        """PROX's cam2world."""
        return self.T_world_from_room @ self.T_room_from_camera

    @property
    def floor_camera(self) -> Float[np.ndarray, "4"]:
        """Floor plane n . x = d of the colour camera frame, normal up."""
        T_camera_from_room = invert(self.T_room_from_camera)
        normal = T_camera_from_room[:3, 2]
        return np.append(normal, normal @ T_camera_from_room[:3, 3])

    def signed_distance_camera(
        self, points_camera: Float[np.ndarray, "*batch 3"]
    ) -> Float[np.ndarray, "*batch"]:
        """Exact distance of colour-camera points to the room, metres, negative inside."""
        flat = transform_points(self.T_room_from_camera, points_camera.reshape(-1, 3).astype(np.float64))
        return union_distance(self.solids, flat).reshape(points_camera.shape[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class BodySweep:
    """Where the body is over a whole recording, room frame; what a room is built around."""

    vertices: Float[np.ndarray, "frames vertices 3"]
    joints: Float[np.ndarray, "frames 22 3"]

    @property
    def points(self) -> Float[np.ndarray, "points 3"]:
        """All vertices of all frames."""
        return self.vertices.reshape(-1, 3)

    @property
    def sparse(self) -> Float[np.ndarray, "points 3"]:
        """Every second frame, every third vertex: enough to try places; `check_contact` takes all."""
        return np.ascontiguousarray(self.vertices[::2, ::3]).reshape(-1, 3)


def floor_solid() -> Solid:
    """Everything below z = 0."""
    size = (INFINITE_M, INFINITE_M, INFINITE_M)
    return Solid("floor", "box", (0.0, 0.0, -INFINITE_M), size, color=_FLOOR_COLOR)


def occlusion_mesh(solids: Sequence[Solid]) -> RayCaster | None:
    """The furniture as coarse triangles for visibility tests, room frame; None without furniture."""
    parts = [tessellate(solid, 0.15 if solid.footprint == "cylinder" else 5.0) for solid in solids]
    if not parts:
        return None
    vertices, faces, _ = merge_meshes(parts)
    return RayCaster(vertices, faces)


def clearance(solids: Sequence[Solid], points: Float[np.ndarray, "points 3"]) -> float:
    """Least signed distance of any point; infinite without solids."""
    return float(union_distance(solids, points).min()) if len(solids) else np.inf


def check_contact(solids: Sequence[Solid], sweep: BodySweep) -> None:
    """Refuse a room that cuts into the body.

    Raises:
        FittingFailed: a vertex lies deeper than the tolerance.
    """
    deepest = clearance(solids, sweep.points)
    if deepest < -CONTACT_TOLERANCE_M:
        worst = min(solids, key=lambda solid: float(solid.signed_distance(sweep.points).min()))
        raise FittingFailed(
            f"the room cuts {-1000 * deepest:.0f} mm into the body",
            where=worst.name,
            expected=f"at most {1000 * CONTACT_TOLERANCE_M:.0f} mm",
            fix="change the seed or the motion of this recording",
        )


def walls_and_floor(
    contents: Float[np.ndarray, "points 3"],
    open_side: str,
    rng: np.random.Generator,
) -> tuple[list[Solid], list[Solid], Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Half spaces around everything, and the finite patches a scanner would see of them.

    Args:
        contents: points that must lie inside the room, camera included.
        open_side: the wall left out, such as "+x"; empty for four walls.
        rng: draws the margins.
    """
    low = contents[:, :2].min(axis=0) - rng.uniform(0.35, 0.8, 2)
    high = contents[:, :2].max(axis=0) + rng.uniform(0.35, 0.8, 2)
    middle, half = (low + high) / 2, (high - low) / 2
    solids = [floor_solid()]
    place, size = triple((*middle, -0.05)), triple((*half, 0.05))
    surfaces = [Solid("floor", "box", place, size, color=_FLOOR_COLOR, front="+z")]
    color = triple(np.clip(rng.uniform(0.68, 0.88) + rng.uniform(-0.06, 0.06, 3), 0, 1))
    for side in ("-x", "+x", "-y", "+y"):
        if side == open_side:
            continue
        axis, sign = "xy".index(side[1]), 1 if side[0] == "+" else -1
        center, extent = np.append(middle, WALL_HEIGHT_M / 2), np.append(half, WALL_HEIGHT_M / 2)
        extent[axis] = 0.05
        edge = high[axis] if sign > 0 else low[axis]
        center[axis] = edge + sign * 0.05
        inward = side.translate(str.maketrans("+-", "-+"))
        patch = Solid(f"wall{side}", "box", triple(center), triple(extent), color=color, front=inward)
        surfaces.append(patch)
        center[axis] = edge + sign * INFINITE_M
        solids.append(replace(patch, center=triple(center), half_size=(INFINITE_M,) * 3, front=""))
    return solids, surfaces, np.append(low, 0.0), np.append(high, WALL_HEIGHT_M)


def world_pose(rng: np.random.Generator) -> Float[np.ndarray, "4 4"]:
    """`T_world_from_room`: some yaw, some shift, the floor below z = 0 as in the real scans."""
    yaw = rng.uniform(-0.35, 0.35)
    c, s = np.cos(yaw), np.sin(yaw)
    rotmat = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    return rigid(rotmat, np.array([*rng.uniform(-0.6, 0.6, 2), -rng.uniform(0.35, 1.05)]))


def draw_color(rng: np.random.Generator) -> Triple:
    """A furniture colour."""
    base = np.array(_PALETTE[rng.integers(len(_PALETTE))])
    return triple(np.clip(base + rng.uniform(-0.06, 0.06, 3), 0.05, 0.95))
