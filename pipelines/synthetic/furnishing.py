"""Build the furniture a motion needs, clutter, and things to stand behind.

Local frame of a piece: +x is the block's x axis (furniture.py), z up, origin on the floor below its
middle. Touching pieces overlap and stand in the floor, so that the union's distance has no false seams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.furniture import FurnitureNeed
from pipelines.synthetic.primitives import Solid, Triple, triple
from pipelines.synthetic.rooms import clearance, draw_color

_SUNK_M = 0.30
"""How far furniture reaches into the floor solid."""


@dataclass(frozen=True, slots=True)
class Extra:
    """A part nobody needs, pushed outwards until it clears the body, or left out."""

    solid: Solid
    direction: tuple[float, float]
    reach_m: float


Pieces = tuple[list[Solid], list[Extra]]


def block(
    name: str,
    low: Sequence[float | int],
    high: Sequence[float | int],
    color: Triple,
    rounding_m: float = 0.02,
) -> Solid:
    """A box from two corners, local frame; parts that stand on the floor reach into it."""
    bottom = -_SUNK_M if low[2] <= 0 else low[2]
    first, last = np.array([low[0], low[1], bottom]), np.array(high, np.float64)
    half, center = (last - first) / 2, (last + first) / 2
    rounding = float(min(rounding_m, 0.45 * half.min()))
    return Solid(name, "box", triple(center), triple(half), rounding_m=rounding, color=color)


def post(name: str, radius_m: float, top_m: float, color: Triple, bottom_m: float = -_SUNK_M) -> Solid:
    """An upright cylinder at the origin, local frame."""
    half = (top_m - bottom_m) / 2
    rounding = float(min(0.01, 0.4 * half, 0.4 * radius_m))
    place, size = triple((0, 0, bottom_m + half)), triple((radius_m, radius_m, half))
    return Solid(name, "cylinder", place, size, rounding_m=rounding, color=color)


def furnish(
    need: FurnitureNeed, points: Float[np.ndarray, "points 3"], rng: np.random.Generator
) -> list[Solid]:
    """The furniture of one need, with arm rests or a head board where the body leaves room for them.

    Args:
        need: from the motion; room frame.
        points: body vertices of the recording.
        rng: draws the style.
    """
    build = {"seat": _seat, "table": _table, "bed": _bed}[need.kind]
    support, extras = build(need, draw_color(rng), rng)
    place = (*need.centre_xy_m, 0.0)
    placed = [solid.moved(need.yaw_rad, place) for solid in support]
    for extra in extras:
        fitted = _slide_clear(extra, need, points)
        if fitted is not None:
            placed.append(fitted)
    return placed


def _seat(need: FurnitureNeed, color: Triple, rng: np.random.Generator) -> Pieces:
    depth, width, height = need.size_m[0] / 2, need.size_m[1] / 2, need.size_m[2]
    support = [block("seat", (-depth, -width, 0), (depth, width, height), color, 0.03)]
    style = str(rng.choice(["stool", "chair", "sofa"], p=[0.2, 0.3, 0.5]))
    extras = []
    if need.backrest_height_m > 0:
        rear = -depth - need.backrest_thickness_m
        top = need.backrest_height_m
        # It reaches down behind the seat and the seat reaches under it: no seam between the two.
        support = [block("seat", (rear, -width, 0), (depth, width, height), color, 0.03)]
        support.append(block("back rest", (rear, -width, 0), (-depth, width, top), color, 0.015))
    elif style != "stool":
        low, high = (-depth - 0.14, -width, 0), (-depth, width, height + rng.uniform(0.3, 0.5))
        extras.append(Extra(block("back rest", low, high, color, 0.04), (-1.0, 0.0), 0.12))
    if style == "sofa":
        top = height + rng.uniform(0.14, 0.24)
        for side in (-1, 1):
            edges = sorted((side * width, side * (width + 0.16)))
            arm = block("arm rest", (-depth - 0.1, edges[0], 0), (depth, edges[1], top), color, 0.04)
            extras.append(Extra(arm, (0.0, float(side)), 0.25))
    return support, extras


def _table(need: FurnitureNeed, color: Triple, rng: np.random.Generator) -> Pieces:
    depth, width, height = need.size_m[0] / 2, need.size_m[1] / 2, need.size_m[2]
    solids = [block("table top", (-depth, -width, height - 0.04), (depth, width, height), color, 0.008)]
    if rng.random() < 0.4:
        solids.append(
            block("cupboard", (-depth + 0.02, -width, 0), (depth, width, height - 0.02), color)
        )
        return solids, []
    for x in (-depth + 0.05, depth - 0.05):
        for y in (-width + 0.05, width - 0.05):
            low, high = (x - 0.03, y - 0.03, 0), (x + 0.03, y + 0.03, height - 0.02)
            solids.append(block("table leg", low, high, color, 0.005))
    return solids, []


def _bed(need: FurnitureNeed, color: Triple, rng: np.random.Generator) -> Pieces:
    depth, width, height = need.size_m[0] / 2, need.size_m[1] / 2, need.size_m[2]
    bed = [block("bed", (-depth, -width, 0), (depth, width, height), color, 0.04)]
    side = int(rng.choice([-1, 1]))
    edges = sorted((side * width, side * (width + 0.08)))
    low, high = (-depth, edges[0], 0), (depth, edges[1], height + 0.4)
    return bed, [Extra(block("head board", low, high, color), (0.0, float(side)), 0.3)]


def _slide_clear(
    extra: Extra, need: FurnitureNeed, points: Float[np.ndarray, "points 3"]
) -> Solid | None:
    """The part pushed outwards until no vertex is inside it; None when that takes it too far."""
    gap = 0.0
    while gap <= extra.reach_m:
        shift = (extra.direction[0] * gap, extra.direction[1] * gap, 0.0)
        solid = extra.solid.moved(0.0, shift).moved(need.yaw_rad, (*need.centre_xy_m, 0.0))
        deepest = clearance([solid], points)
        if deepest >= 0.004:
            return solid
        gap += max(-deepest, 0.0) + 0.005
    return None


def clutter_piece(name: str, rng: np.random.Generator) -> list[Solid]:
    """Something that stands about, local frame: crate, bin, stool, side table, shelf or lamp."""
    color = draw_color(rng)
    x, y = rng.uniform(0.15, 0.35, 2)
    kind = str(rng.choice(["crate", "bin", "stool", "side table", "shelf", "lamp"]))
    if kind == "crate":
        return [block(name, (-x, -y, 0), (x, y, rng.uniform(0.25, 0.6)), color, 0.01)]
    if kind == "bin":
        return [post(name, 0.5 * (x + 0.1), rng.uniform(0.3, 0.55), color)]
    if kind == "stool":
        height = rng.uniform(0.42, 0.5)
        return [post(name, 0.14, height, color), post(name, 0.2, height + 0.03, color, height - 0.02)]
    if kind == "side table":
        height, (a, b) = rng.uniform(0.45, 0.75), (x + 0.1, y + 0.1)
        top = block(name, (-a, -b, height - 0.04), (a, b, height), color, 0.01)
        return [top, post(name, 0.05, height - 0.02, color)]
    if kind == "shelf":
        return [block(name, (-0.17, -y - 0.2, 0), (0.17, y + 0.2, rng.uniform(0.9, 1.9)), color, 0.01)]
    shade = post(name, 0.18, 1.7, color, 1.38)
    return [post(name, 0.14, 0.05, color), post(name, 0.025, 1.4, color), shade]


def screen_piece(kind: str, rng: np.random.Generator) -> list[Solid]:
    """Something to stand behind, wide along y, local frame: desk with a panel, counter, screen."""
    color, half = draw_color(rng), rng.uniform(0.45, 0.8)
    if kind == "desk":
        height = rng.uniform(0.72, 0.85)
        ends = ((-half + 0.02, -half + 0.06), (half - 0.06, half - 0.02))
        return [
            block("desk top", (-0.3, -half, height - 0.04), (0.3, half, height), color, 0.008),
            block("desk panel", (-0.28, ends[0][0], 0), (-0.25, ends[1][1], height - 0.02), color),
            *(block("desk leg", (-0.26, a, 0), (0.26, b, height - 0.02), color) for a, b in ends),
        ]
    if kind == "counter":
        return [block("counter", (-0.2, -half, 0), (0.2, half, rng.uniform(0.85, 1.15)), color, 0.015)]
    half = 0.4 * half
    return [block("screen", (-0.03, -half, 0), (0.03, half, rng.uniform(1.4, 1.7)), color, 0.01)]
