"""Lying down. Recordings: from the edge of a bed, legs swung up. Training: reclining on the bed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.synthetic.choreography import Choreography, recline_rotvec
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.families.sitting import (
    SeatPose,
    hands_to_thighs,
    seated_pelvis,
    sit_down,
    start_seated,
)
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.rig import SIDES, Side

_SIT_FIRST_S = 5.0
"""Clips shorter than this begin with the person sitting on the bed's edge."""
_ELBOW_OUT = (-0.2, 0.9, 0.2)


def lie_down(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Sit on the edge of the bed, swing the legs up, lie down on the back."""
    pose = SeatPose(
        hip_drop_m=ch.rng.uniform(-0.03, 0.02),
        shin_rad=np.deg2rad(ch.rng.uniform(-3, 6)),
        pelvis_rad=np.deg2rad(ch.rng.uniform(-6, 0)),
        spine_rad=np.deg2rad(ch.rng.uniform(6, 12)),
    )
    head_to = 1.0 if ch.rng.uniform() < 0.5 else -1.0
    if duration_s < _SIT_FIRST_S:
        start_seated(ch, pose)
        ch.wait(ch.rng.uniform(0.2, 0.4))
    else:
        ch.wait(ch.rng.uniform(0.2, 0.5))
        begin = ch.time_s
        sit_down(ch, pose, ch.rng.uniform(1.3, 1.6), np.deg2rad(ch.rng.uniform(35, 45)))
        hands_to_thighs(ch, pose, begin + 0.4, ch.time_s + 0.2)
        ch.wait(ch.rng.uniform(0.4, 0.8))
    bed = bed_block(ch, head_to, duration_s)
    swing_onto_bed(ch, pose, head_to, ch.rng.uniform(2.2, 2.7))
    rest_supine(ch, duration_s)
    return (bed,)


def bed_block(ch: Choreography, head_to: float, until_s: float) -> BlockPlan:
    """A bed along which the person will lie, its edge under his knees now."""
    x, y = ch.xy.last
    thigh = float(np.linalg.norm(ch.rig.leg(0).upper))
    length = 2.45 * ch.rig.leg_m
    return BlockPlan(
        "bed",
        ch.heading_rad,
        (float(x), float(y)),
        front_m=0.68 * thigh,
        width_m=length,
        depth_m=ch.rng.uniform(1.0, 1.5),
        begin_s=ch.time_s,
        end_s=until_s,
        shift_y_m=-0.1 * head_to,
    )


def swing_onto_bed(ch: Choreography, pose: SeatPose, head_to: float, seconds: float) -> None:
    """Trunk down to the side and back while the bent legs come up, then stretch out."""
    begin, end = ch.time_s, ch.time_s + seconds
    near: Side = 0 if head_to > 0 else 1
    turn = recline_rotvec(ch.heading_rad, head_to)
    ch.recline.hold(begin + 0.1 * seconds)
    ch.recline.key(begin + 0.5 * seconds, 0.55 * turn)
    ch.recline.key(end - 0.08 * seconds, turn)
    place, _ = seated_pelvis(ch, pose)
    ch.xy.move(begin + 0.2 * seconds, end, place - ch.direction(ch.rng.uniform(0.26, 0.36), 0.0))
    ch.lean.move(begin, begin + 0.6 * seconds, [0.0, 0.0])
    ch.spine.hold(begin)
    ch.spine.key(begin + 0.45 * seconds, [0.35, -0.12 * head_to, 0.1 * head_to])
    ch.spine.key(end, [0.0, 0.0, 0.0])
    ch.head.hold(begin)
    ch.head.key(begin + 0.5 * seconds, [0.3, 0.0, 0.0])
    ch.head.key(end + 0.15, [-0.05, 0.0, 0.0])
    for side in SIDES:
        late = 0.06 * seconds if side == near else 0.0
        _swing_leg(ch, side, begin + 0.12 * seconds + late, end + 0.05)
    _support_hands(ch, near, begin, seconds)
    ch.upright.move(begin, begin + 0.3 * seconds, [0.0])
    ch.legs_rest.move(end - 0.15 * seconds, end + 0.1, [1.0])
    ch.time_s = end


def rest_supine(ch: Choreography, until_s: float) -> None:
    """Lie; now and then turn the head."""
    while ch.time_s < until_s:
        begin = ch.time_s + ch.rng.uniform(0.4, 1.2)
        ch.head.move(begin, begin + 0.7, [-0.05, 0.0, np.deg2rad(ch.rng.uniform(-35, 35))])
        ch.time_s = begin + 0.7


def _swing_leg(ch: Choreography, side: Side, begin: float, end: float) -> None:
    span = end - begin
    ch.free[side].move(begin, begin + 0.4 * span, [1.0])
    ch.angles[side].key(begin, [1.5, 0.08, 1.45, 0.0])
    ch.angles[side].key(begin + 0.5 * span, [1.55, 0.1, 1.5, 0.3])
    knee = ch.rng.uniform(0.08, 0.5)
    ch.angles[side].key(end, [0.55 * knee, ch.rng.uniform(0.06, 0.14), knee, ch.rng.uniform(0.4, 0.6)])


def _support_hands(ch: Choreography, near: Side, begin: float, seconds: float) -> None:
    """The hand on the head's side props the trunk, then both come to rest at the body."""
    far: Side = 1 if near == 0 else 0
    pelvis, height = ch.xy.last, float(ch.height.last[0])
    prop = pelvis + ch.direction(-0.22, ch.outward(near) * 0.85 * ch.rig.arm_m)
    wrist = np.append(prop, height - 0.1 + ch.rig.palm_m)
    ch.put_hand(near, begin, begin + 0.27 * seconds, wrist)
    ch.elbow[near].move(begin, begin + 0.25 * seconds, _ELBOW_OUT)
    for side in SIDES:
        start = begin + (0.34 if side == near else 0.1) * seconds
        ch.drop_hand(side, start, begin + (0.68 if side == near else 0.6) * seconds)
        on_belly = ch.rng.uniform() < 0.5
        goal = (0.3, -0.2, -0.62) if on_belly else (0.03, 0.32, -0.9)
        ch.hang[side].move(start, begin + 0.95 * seconds, goal)
        ch.elbow[side].move(start, begin + 0.6 * seconds, _ELBOW_OUT)
    ch.hang[far].key(begin + seconds, ch.hang[far].last)


FAMILIES = (MotionFamily("lie_down", lie_down, for_training=False),)
