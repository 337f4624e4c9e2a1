"""Reaching while standing. Recordings: across a high sideboard. Training: to a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.rig import PELVIS, SHOULDER, Side


def shelf_reach(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Reach far across a chest-high sideboard with one hand, rest it there, draw back."""
    height = ch.rig.standing_pelvis_m * ch.rng.uniform(1.1, 1.3)
    side: Side = 0 if ch.rng.uniform() < 0.5 else 1
    ch.wait(ch.rng.uniform(0.2, 0.4))
    reach_s = ch.rng.uniform(0.9, 1.2)
    hold_s = max(0.5, min(1.5, duration_s - ch.time_s - 2 * reach_s))
    block = reach_out(
        ch, side, height, ch.rng.uniform(0.95, 1.1), ch.rng.uniform(-0.05, 0.2), reach_s, hold_s
    )
    ch.wait(hold_s)
    draw_back(ch, side, reach_s)
    return (block,)


def reach_out(
    ch: Choreography,
    side: Side,
    height_m: float,
    distance: float,
    across_m: float,
    seconds: float,
    hold_s: float,
) -> BlockPlan:
    """Lay a hand on a surface in front; the trunk leans after it and the hips go back.

    Args:
        ch: the choreography.
        side: which hand.
        height_m: the surface, above the floor.
        distance: hand before the ankles as a share of the arm's length.
        across_m: to the hand's own side of the body's middle.
        seconds: how long the hand takes.
        hold_s: how long it stays (for the furniture's fit).
    """
    rig, begin, end = ch.rig, ch.time_s, ch.time_s + seconds
    out = ch.outward(side)
    ahead = distance * rig.arm_m
    shoulder_m = rig.standing_pelvis_m + rig.joints[SHOULDER[0], 1] - rig.joints[PELVIS, 1]
    ankles = 0.5 * (ch.foot(0).xy + ch.foot(1).xy)
    place = ankles + ch.direction(ahead, out * across_m)
    wrist = np.append(place, height_m + rig.palm_m)
    missing = np.hypot(ahead, shoulder_m - height_m) - 0.85 * rig.arm_m
    lean = float(np.clip(missing / (0.55 * rig.standing_pelvis_m), 0.0, 0.9))
    hips_back = 0.18 * lean
    _lift_over_edge(ch, side, begin, end, wrist)
    ch.lean.move(begin, end + 0.1, [0.6 * lean, 0.0])
    ch.spine.move(begin, end + 0.1, [0.45 * lean, out * 0.1, -out * 0.25])
    ch.head.move(begin - 0.1, end - 0.1, [-0.1, 0.0, out * 0.15])
    ch.xy.move(begin, end, ch.over_feet() - ch.direction(hips_back, -0.02 * out))
    ch.height.move(begin, end, [ch.standing_m - 0.03 * lean])
    ch.time_s = end
    return BlockPlan(
        "table",
        ch.heading_rad,
        (float(place[0]), float(place[1])),
        front_m=-0.5 * rig.arm_m,
        width_m=ch.rng.uniform(1.0, 1.5),
        depth_m=0.5 * rig.arm_m + ch.rng.uniform(0.25, 0.45),
        begin_s=end + 0.1,
        end_s=end + hold_s - 0.1,
    )


def _lift_over_edge(
    ch: Choreography, side: Side, begin: float, end: float, wrist: Float[np.ndarray, "3"]
) -> None:
    """Raise the hand close to the body before it goes out over the surface."""
    near = wrist + np.append(ch.direction(-0.42 * ch.rig.arm_m, 0.0), 0.12)
    middle = begin + 0.55 * (end - begin)
    ch.put_hand(side, begin, middle, near, palm_weight=0.6)
    ch.wrist[side].key(end, wrist)
    ch.palm[side].key(end, [0.0, 0.0, -1.0, 0.9])


def draw_back(ch: Choreography, side: Side, seconds: float) -> None:
    """Take the hand back and stand upright."""
    begin, end = ch.time_s, ch.time_s + seconds
    wrist = ch.wrist[side].last
    over = wrist + np.append(ch.direction(-0.42 * ch.rig.arm_m, 0.0), 0.1)
    ch.wrist[side].move(begin, begin + 0.5 * seconds, over)
    ch.drop_hand(side, begin + 0.4 * seconds, end + 0.2)
    ch.lean.move(begin, end, [0.4 * ch.style.stoop_rad, 0.0])
    ch.spine.move(begin, end, [ch.style.stoop_rad, 0.0, 0.0])
    ch.head.move(begin, end, [-0.5 * ch.style.stoop_rad, 0.0, 0.0])
    ch.xy.move(begin, end, ch.over_feet())
    ch.height.move(begin, end, [ch.standing_m])
    ch.time_s = end


FAMILIES = (MotionFamily("shelf_reach", shelf_reach, for_training=False),)
