"""Arrange a room around a motion: furniture, camera, something in the way, walls, clutter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.joints import body_joint
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.synthetic.furnishing import clutter_piece, furnish, screen_piece
from pipelines.synthetic.furniture import FurnitureNeed
from pipelines.synthetic.primitives import Solid
from pipelines.synthetic.rooms import (
    BodySweep,
    Room,
    check_contact,
    clearance,
    occlusion_mesh,
    walls_and_floor,
    world_pose,
)
from pipelines.synthetic.sensor import KinectRig
from pipelines.synthetic.visibility import LIMB_RADIUS_M, hidden_by_scene, inside_image

_NUM_PROBES = 24
"""Frames looked at while places are tried."""
_OCCLUDED_SHARE = 0.25
"""A frame counts as occluded when more than this share of the 22 joints is hidden."""
_MOSTLY_HIDDEN = 0.4


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """What a room should be like."""

    needs: tuple[FurnitureNeed, ...]
    occluded_frames: float = 0.0
    """Wanted share of frames in which something hides more than a quarter of the joints."""
    num_clutter: int = 4


def arrange_room(
    request: RoomRequest, sweep: BodySweep, rig: KinectRig, rng: np.random.Generator
) -> Room:
    """A room that touches the body only where it should.

    Raises:
        FittingFailed: the furniture a motion asks for cuts into the body.
    """
    furniture = [solid for need in request.needs for solid in furnish(need, sweep.sparse, rng)]
    T_room_from_camera = _choose_view(furniture, sweep, rig, rng)
    camera = T_room_from_camera[:3, 3]
    if request.occluded_frames > 0:
        furniture += _choose_screen(furniture, sweep, camera, request.occluded_frames, rng)
    contents = np.concatenate([sweep.points, camera[None], *(_corners(s) for s in furniture)])
    open_side = _side_behind(T_room_from_camera) if rng.random() < 0.5 else ""
    walls, patches, low, high = walls_and_floor(contents, open_side, rng)
    furniture += _scatter(request, furniture, walls, sweep, camera, (low, high), rng)
    solids = (*walls, *furniture)
    check_contact(solids, sweep)
    return Room(
        solids=solids,
        surfaces=(*patches, *furniture),
        T_world_from_room=world_pose(rng),
        T_room_from_camera=T_room_from_camera,
        min_room=low,
        max_room=high,
    )


def look_at(
    position: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"], roll_rad: float
) -> Float[np.ndarray, "4 4"]:
    """`T_room_from_camera` of a camera (x right, y down, z forward) that looks at a point."""
    forward = target - position
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    return rigid(np.stack([c * right + s * down, c * down - s * right, forward], axis=1), position)


def _probe(sweep: BodySweep) -> Float[np.ndarray, "probes 22 3"]:
    frames = np.linspace(0, len(sweep.joints) - 1, min(_NUM_PROBES, len(sweep.joints)))
    return sweep.joints[np.round(frames).astype(int)]


def _choose_view(
    furniture: Sequence[Solid], sweep: BodySweep, rig: KinectRig, rng: np.random.Generator
) -> Float[np.ndarray, "4 4"]:
    """Kinect at 1.6 to 2 m that keeps the person in both images, 2 to 4 m away and not hidden."""
    joints = _probe(sweep)
    scene = occlusion_mesh(furniture)
    points = sweep.points[:: max(len(sweep.points) // 4000, 1)]
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    T_infrared_from_color = rig.infrared.T_camera_from_rig @ invert(rig.color.T_camera_from_rig)
    best: tuple[float, Float[np.ndarray, "4 4"]] | None = None
    for azimuth in np.arange(24) * np.pi / 12 + rng.uniform(0, np.pi / 12):
        for distance in (2.3, 2.7, 3.1, 3.6, 4.1):
            position = middle + distance * np.array([np.cos(azimuth), np.sin(azimuth), 0])
            position[2] = rng.uniform(1.6, 2.0)
            target = np.array([*middle[:2], rng.uniform(0.7, 0.95)])
            T = look_at(position, target, rng.uniform(-0.02, 0.02))
            score = _view_score(T, T_infrared_from_color, joints, scene, rig) + 0.1 * rng.random()
            crowded = np.linalg.norm(points - position, axis=1).min() < 1.0
            crowded |= bool(furniture) and clearance(furniture, position[None]) < 0.4
            if not crowded and (best is None or score > best[0]):
                best = score, T
    assert best is not None, "some distance is always clear of the body"
    return best[1]


def _view_score(
    T_room_from_camera: Float[np.ndarray, "4 4"],
    T_infrared_from_color: Float[np.ndarray, "4 4"],
    joints: Float[np.ndarray, "probes 22 3"],
    scene: RayCaster | None,
    rig: KinectRig,
) -> float:
    in_color = transform_points(invert(T_room_from_camera), joints)
    in_infrared = transform_points(T_infrared_from_color, in_color)
    seen = inside_image(rig.color, in_color, 40.0) & inside_image(rig.infrared, in_infrared, 12.0)
    depth = in_color[..., 2]
    comfortable = np.clip((depth - 1.5) / 0.5, 0, 1) * np.clip((4.4 - depth) / 0.6, 0, 1)
    hidden = 0.0
    if scene is not None:
        hidden = float(hidden_by_scene(scene, T_room_from_camera[:3, 3], joints, LIMB_RADIUS_M).mean())
    whole = (seen.mean(axis=1) > 0.95).mean()
    # Seen from the front up to 65 degrees aside is all the same; from behind is worse.
    frontal = min(_facing(in_color), 0.4)
    return float(
        2.0 * seen.mean()
        + 2.0 * whole
        + 2.0 * comfortable.mean()
        - 1.5 * hidden
        - 0.08 * depth.mean()
        + 0.4 * frontal
    )


def _facing(joints_camera: Float[np.ndarray, "probes 22 3"]) -> float:
    """1 when the chest faces the camera in all probes, -1 when it shows its back."""
    left, right = body_joint("left_shoulder"), body_joint("right_shoulder")
    across = joints_camera[:, left] - joints_camera[:, right]
    up = joints_camera[:, body_joint("neck")] - joints_camera[:, 0]
    front = np.cross(across, up)
    to_camera = -joints_camera[:, body_joint("neck")]
    lengths = np.linalg.norm(front, axis=1) * np.linalg.norm(to_camera, axis=1)
    return float(np.mean(np.einsum("ij,ij->i", front, to_camera) / np.maximum(lengths, 1e-9)))


def _choose_screen(
    furniture: Sequence[Solid],
    sweep: BodySweep,
    camera: Float[np.ndarray, "3"],
    wanted: float,
    rng: np.random.Generator,
) -> list[Solid]:
    """The piece between camera and person that comes nearest to the wanted share of occluded frames."""
    joints = _probe(sweep)
    best: tuple[float, list[Solid]] | None = None
    for _ in range(160):
        goal = joints[rng.integers(len(joints)), 0]
        place = camera + rng.uniform(0.45, 0.85) * (goal - camera)
        facing = np.arctan2(*(camera - goal)[[1, 0]]) + rng.uniform(-0.3, 0.3)
        piece = screen_piece(str(rng.choice(["desk", "counter", "counter", "screen"])), rng)
        solids = [s.moved(float(facing), (place[0], place[1], 0.0)) for s in piece]
        if clearance(solids, camera[None]) < 0.6 or clearance(solids, sweep.sparse) < 0.04:
            continue
        if furniture and min(clearance(furniture, _corners(s)) for s in solids) < 0.02:
            continue
        hidden = _hidden([*furniture, *solids], joints, camera).mean(axis=1)
        occluded = hidden > _OCCLUDED_SHARE
        error = abs(float(occluded.mean()) - wanted)
        # Legs behind a desk, not a person behind a wall.
        error += max(float(hidden[occluded].mean()) - _MOSTLY_HIDDEN, 0) if occluded.any() else 0.0
        if best is None or error < best[0]:
            best = error, solids
        if error < 0.04:
            break
    return best[1] if best is not None else []


def _hidden(
    solids: Sequence[Solid], joints: Float[np.ndarray, "probes 22 3"], camera: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "probes 22"]:
    scene = occlusion_mesh(solids)
    if scene is None:
        return np.zeros(joints.shape[:2], dtype=bool)
    return hidden_by_scene(scene, camera, joints, LIMB_RADIUS_M)


def _scatter(
    request: RoomRequest,
    furniture: Sequence[Solid],
    walls: Sequence[Solid],
    sweep: BodySweep,
    camera: Float[np.ndarray, "3"],
    bounds: tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]],
    rng: np.random.Generator,
) -> list[Solid]:
    """Clutter, a table and a bed where the motion brings none; clear of body, furniture and sight."""
    low, high = bounds
    joints = _probe(sweep)
    before = _hidden(furniture, joints, camera).mean()
    placed: list[Solid] = []
    for number in range(request.num_clutter):
        for _ in range(30):
            local = clutter_piece(f"clutter {number}", rng)
            x, y = rng.uniform(low[:2] + 0.1, high[:2] - 0.1)
            piece = [s.moved(float(rng.uniform(0, 2 * np.pi)), (x, y, 0.0)) for s in local[:1]]
            piece += [replace(s.moved(0.0, (x, y, 0.0)), yaw_rad=piece[0].yaw_rad) for s in local[1:]]
            room = [*walls[1:], *furniture, *placed]
            corners = np.concatenate([_corners(s) for s in piece])
            if clearance(room, corners[corners[:, 2] >= 0]) < 0.02:
                continue
            if clearance(piece, sweep.sparse) < 0.06 or clearance(piece, camera[None]) < 0.7:
                continue
            if _hidden([*furniture, *placed, *piece], joints, camera).mean() > before + 0.005:
                continue
            placed += piece
            break
    return placed


def _corners(solid: Solid) -> Float[np.ndarray, "points 3"]:
    """Points on the outline of a solid, above the floor, for overlap tests."""
    x, y, z = solid.half_size
    if solid.footprint == "cylinder":
        y = x
    steps = np.linspace(-1, 1, 7)
    grid = np.stack(np.meshgrid(steps * x, steps * y, [-z, 0, z], indexing="ij"), axis=-1).reshape(-1, 3)
    c, s = np.cos(solid.yaw_rad), np.sin(solid.yaw_rad)
    turned = grid @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) + np.array(solid.center)
    turned[:, 2] = np.maximum(turned[:, 2], 0.01)
    return turned


def _side_behind(T_room_from_camera: Float[np.ndarray, "4 4"]) -> str:
    """The wall the camera has its back to."""
    back = -T_room_from_camera[:3, 2]
    axis = int(np.argmax(np.abs(back[:2])))
    return f"{'+' if back[axis] > 0 else '-'}{'xy'[axis]}"
