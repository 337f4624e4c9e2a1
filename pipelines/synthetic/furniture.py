"""Furniture that fits the motion: solid blocks placed so that contact is true and nothing else is cut.

A block stands on the floor; its x axis is the side it is used from. Seats and beds are used from +x
(the person sits facing +x), tables from -x (the person stands at -x and faces +x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Kind = Literal["seat", "table", "bed"]

CONTACT_DEPTH_M = 0.002
"""How far the resting skin is let into the furniture."""
_CLEARANCE_M = 0.006
_TOLERATED_M: Final[dict[Kind, float]] = {"seat": 0.004, "table": 0.004, "bed": 0.005}
"""Skin this far below the top face does not push the edge away: beds carry limbs too."""
_RIM_M = 0.02
"""Skin closer than this to the edge does not rest on the block."""
_BACKREST_M = 0.1


@dataclass(frozen=True, slots=True)
class FurnitureNeed:
    """One solid block standing on the floor, motion's world frame.

    Anything that lies wholly inside the block and keeps its top face (a slab on legs, say) may be
    built in its place; nothing may stick out of it towards the person.
    """

    kind: Kind
    centre_xy_m: tuple[float, float]
    yaw_rad: float
    """Direction of the block's x axis: out of a seat towards its sitter's knees, or from the person
    across a table."""
    size_m: tuple[float, float, float]
    """Along x, along y, height of the top face."""
    backrest_height_m: float = 0.0
    """Height of a vertical backrest above the floor; 0 = none. Its front face is the block's -x face,
    and it stands outside the block, `backrest_thickness_m` deep and as wide as the block."""
    backrest_thickness_m: float = 0.0


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """A block a choreography asks for; the posed skin decides its exact faces."""

    kind: Kind
    yaw_rad: float
    origin_xy_m: tuple[float, float]
    """Seats and beds: pelvis at rest. Tables: the hand's place."""
    front_m: float
    """Seats and beds: x of the front edge from the origin. Tables: x of the near edge. At most; it
    moves back where the body is in the way."""
    width_m: float
    depth_m: float
    """Full size along x."""
    begin_s: float
    end_s: float
    """When the body (or a hand) rests on it."""
    backrest: bool = False
    shift_y_m: float = 0.0
    """Centre of the block across x, from the origin."""


def fit_block(
    plan: BlockPlan,
    vertices: Float[np.ndarray, "frames verts 3"],
    resting: Int[np.ndarray, " ids"],
    touching: Bool[np.ndarray, " frames"],
) -> FurnitureNeed:
    """Place a block's top face under the skin that rests on it and its front edge clear of the body.

    Args:
        plan: where about the block belongs.
        vertices: posed skin, world.
        resting: vertices that may rest on the block (trunk and thighs, or hands).
        touching: frames in which they do.
    """
    local = block_axes(plan, vertices)
    carried = local[touching][:, resting]
    edge, height = plan.front_m, _top(plan, carried, plan.front_m)
    for _ in range(3):  # what rests on the block depends on its edge, and the edge on its height
        moved = _edge(plan, local, height)
        top = _top(plan, carried, moved)
        if not np.isfinite(top):  # a limb a little too low must not take the whole block away
            break
        edge, height = moved, top
    if plan.kind == "table":
        front, rear = edge + plan.depth_m, edge
    else:
        front, rear = edge, edge - plan.depth_m
        if plan.backrest:
            above = (local[..., 2] > height + 0.02) & _beside(plan, local)
            rear = float(np.where(above, local[..., 0], np.inf).min()) + CONTACT_DEPTH_M
    middle, c, s = 0.5 * (front + rear), np.cos(plan.yaw_rad), np.sin(plan.yaw_rad)
    centre = np.array(plan.origin_xy_m) + np.array(
        [c * middle - s * plan.shift_y_m, s * middle + c * plan.shift_y_m]
    )
    return FurnitureNeed(
        plan.kind,
        (float(centre[0]), float(centre[1])),
        float(plan.yaw_rad),
        (float(front - rear), plan.width_m, height),
        backrest_height_m=height + 0.5 if plan.backrest else 0.0,
        backrest_thickness_m=_BACKREST_M if plan.backrest else 0.0,
    )


def block_axes(plan: BlockPlan, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """World points in the block's axes, from its origin on the floor."""
    c, s = np.cos(plan.yaw_rad), np.sin(plan.yaw_rad)
    rotation = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return (points - np.array([*plan.origin_xy_m, 0.0])) @ rotation


def depth_in(need: FurnitureNeed, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
    """How deep points lie inside the block or its backrest, metres; negative outside."""
    axes = BlockPlan(need.kind, need.yaw_rad, need.centre_xy_m, 0.0, 0.0, 0.0, 0.0, 0.0)
    local = block_axes(axes, points)
    length, width, height = need.size_m
    across = width / 2 - np.abs(local[..., 1])
    block = np.minimum(np.minimum(length / 2 - np.abs(local[..., 0]), across), height - local[..., 2])
    if need.backrest_height_m == 0.0:
        return block
    behind = -length / 2 - local[..., 0]
    rest = np.minimum(
        np.minimum(np.minimum(behind, need.backrest_thickness_m - behind), across),
        need.backrest_height_m - local[..., 2],
    )
    return np.maximum(block, rest)


def _beside(plan: BlockPlan, local: Float[np.ndarray, "*batch 3"]) -> Bool[np.ndarray, "*batch"]:
    return np.abs(local[..., 1] - plan.shift_y_m) < plan.width_m / 2 + _CLEARANCE_M


def _top(plan: BlockPlan, resting: Float[np.ndarray, "frames ids 3"], edge: float) -> float:
    """Height of the top face: let into the lowest skin over the block."""
    side = -1.0 if plan.kind == "table" else 1.0
    over = _beside(plan, resting) & (side * (edge - resting[..., 0]) > _RIM_M)
    return float(np.where(over, resting[..., 2], np.inf).min()) + CONTACT_DEPTH_M


def _edge(plan: BlockPlan, local: Float[np.ndarray, "frames verts 3"], height: float) -> float:
    """The edge towards the person: as planned, or where it clears everything below the top."""
    in_the_way = (local[..., 2] < height - _TOLERATED_M[plan.kind]) & _beside(plan, local)
    if plan.kind == "table":
        furthest = float(np.where(in_the_way, local[..., 0], -np.inf).max())
        return max(plan.front_m, furthest + _CLEARANCE_M)
    nearest = float(np.where(in_the_way, local[..., 0], np.inf).min())
    return min(plan.front_m, nearest - _CLEARANCE_M)
