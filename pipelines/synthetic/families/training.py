"""What the motion prior is trained on: generators of their own, never called for a recording.

Stools, chairs, tables, the floor, steps that turn, and a bed reclined on with the legs already up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.families.reaching import draw_back, reach_out
from pipelines.synthetic.families.sitting import (
    SeatPose,
    hands_down,
    hands_to_thighs,
    rise,
    seat_block,
    sit_down,
    start_seated,
)
from pipelines.synthetic.families.turning import step_aside
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.inverse_kinematics import rotmat_about, rotmat_to_rotvec
from pipelines.synthetic.rig import SIDES, Side


def _stool(ch: Choreography) -> SeatPose:
    return SeatPose(
        hip_drop_m=ch.rng.uniform(-0.12, 0.05),
        shin_rad=np.deg2rad(ch.rng.uniform(-8, 14)),
        pelvis_rad=np.deg2rad(ch.rng.uniform(-15, 8)),
        spine_rad=np.deg2rad(ch.rng.uniform(0, 25)),
    )


def stool_sit(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Sit down on a seat without a back, lean about, and get up if there is time."""
    pose = _stool(ch)
    ch.wait(ch.rng.uniform(0.2, 0.8))
    begin = ch.time_s
    sit_down(ch, pose, ch.rng.uniform(1.1, 2.2), np.deg2rad(ch.rng.uniform(30, 58)))
    seated = ch.time_s
    hands_to_thighs(ch, pose, begin + ch.rng.uniform(0.2, 0.8), seated + ch.rng.uniform(0.0, 0.2))
    ch.wait(0.5)
    block = seat_block(ch, seated + 0.1, duration_s, 0.5, 0.4)
    _lean_about(ch, pose, max(ch.time_s, duration_s - ch.rng.choice([0.0, 3.0])))
    if duration_s - ch.time_s > 2.0:
        rise(ch, ch.rng.uniform(1.2, 2.2), np.deg2rad(ch.rng.uniform(35, 58)))
        hands_down(ch, ch.time_s - 1.1, ch.time_s)
    return (block,)


def chair_rise(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Sit, lean about, get up, take a few steps."""
    pose = _stool(ch)
    start_seated(ch, pose)
    _lean_about(ch, pose, ch.rng.uniform(0.3, max(0.6, duration_s - 2.5)))
    block = seat_block(ch, 0.0, ch.time_s, 0.5, 0.4)
    begin = ch.time_s
    rise(ch, ch.rng.uniform(1.1, 2.2), np.deg2rad(ch.rng.uniform(35, 60)))
    hands_down(ch, begin + 0.5 * (ch.time_s - begin), ch.time_s)
    ch.wait(0.2)
    if ch.time_s < duration_s:
        _wander(ch, duration_s)
    return (block,)


def table_reach(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Reach down to a table again and again, one hand or the other."""
    blocks: list[BlockPlan] = []
    while ch.time_s < duration_s:
        ch.wait(ch.rng.uniform(0.1, 0.6))
        side: Side = 0 if ch.rng.uniform() < 0.5 else 1
        height = ch.rig.standing_pelvis_m * ch.rng.uniform(0.6, 1.05)
        seconds, hold = ch.rng.uniform(0.7, 1.5), ch.rng.uniform(0.2, 1.0)
        reach_out(ch, side, height, ch.rng.uniform(0.7, 1.2), ch.rng.uniform(-0.1, 0.25), seconds, hold)
        ch.wait(hold)
        draw_back(ch, side, seconds)
    return tuple(blocks)


def floor_pick(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Bend knees and back to pick something up from low down."""
    while ch.time_s < duration_s:
        ch.wait(ch.rng.uniform(0.2, 0.7))
        side: Side = 0 if ch.rng.uniform() < 0.5 else 1
        _crouch(ch, side, ch.rng.uniform(0.8, 1.4), ch.rng.uniform(0.1, 0.5))
    return ()


def step_turn(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Walk about with turns of up to 90 degrees between the legs of the way."""
    ch.wait(0.3)
    _wander(ch, duration_s)
    return ()


def side_step(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Small steps sideways, forwards and backwards, with rests."""
    while ch.time_s < duration_s:
        ch.wait(ch.rng.uniform(0.2, 1.0))
        forward, left = ch.rng.uniform(-0.22, 0.28), ch.rng.uniform(-0.25, 0.25)
        step_aside(ch, forward, left, ch.rng.uniform(0.45, 0.75))
    return ()


def bed_recline(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """On a bed, legs stretched out: lie back, shift, roll to a side, sit up again."""
    raised = ch.rng.uniform(0.0, 1.0) < 0.5
    _begin_on_bed(ch, 0.15 if raised else 1.0)
    x, y = ch.xy.last
    bed = BlockPlan("bed", ch.heading_rad, (float(x), float(y)), 1.6, 2.5, 3.0, 0.0, duration_s)
    back = raised
    while ch.time_s < duration_s:
        ch.wait(ch.rng.uniform(0.2, 0.8))
        seconds = ch.rng.uniform(1.3, 2.2)
        if back:
            _recline(ch, ch.rng.uniform(0.5, 1.0), 0.0, seconds)
        elif ch.rng.uniform() < 0.6:
            _recline(ch, 1.0, np.deg2rad(ch.rng.uniform(-75, 75)), seconds)
        else:
            _recline(ch, ch.rng.uniform(0.05, 0.6), 0.0, seconds)
        back = not back if ch.rng.uniform() < 0.5 else False
    return (bed,)


def _lean_about(ch: Choreography, pose: SeatPose, until_s: float) -> None:
    while ch.time_s < until_s:
        begin, seconds = ch.time_s + ch.rng.uniform(0.1, 0.8), ch.rng.uniform(0.6, 1.2)
        pitch = pose.pelvis_rad + np.deg2rad(ch.rng.uniform(-15, 12))
        ch.lean.move(begin, begin + seconds, [pitch, 0.0])
        spine = [pose.spine_rad, ch.rng.uniform(-0.1, 0.1), ch.rng.uniform(-0.3, 0.3)]
        ch.spine.move(begin, begin + seconds, spine)
        ch.head.move(begin, begin + seconds, [ch.rng.uniform(-0.2, 0.3), 0.0, ch.rng.uniform(-0.6, 0.6)])
        ch.time_s = begin + seconds


def _wander(ch: Choreography, until_s: float) -> None:
    while ch.time_s < until_s:
        stride = ch.rig.leg_m * ch.rng.uniform(0.4, 0.75)
        turn = np.deg2rad(ch.rng.uniform(-90, 90))
        count = int(ch.rng.integers(2, 5))
        place, heading = 0.5 * (ch.foot(0).xy + ch.foot(1).xy), ch.heading_rad
        way = []
        for _ in range(count):
            heading += turn / count
            place = place + stride * np.array([np.cos(heading), np.sin(heading)])
            way.append((float(place[0]), float(place[1]), float(heading)))
        ch.walk(way, ch.rng.uniform(0.55, 0.8))
        ch.wait(ch.rng.uniform(0.0, 0.6))


def _crouch(ch: Choreography, side: Side, seconds: float, hold_s: float) -> None:
    depth, begin = ch.rng.uniform(0.25, 0.6), ch.time_s
    low, end = begin + seconds, begin + 2 * seconds + hold_s
    lean = np.deg2rad(ch.rng.uniform(35, 60))
    place = ch.over_feet()
    reach = 0.5 * (ch.foot(0).xy + ch.foot(1).xy) + ch.direction(
        0.55 * ch.rig.arm_m, ch.outward(side) * 0.12
    )
    hand = np.append(reach, ch.rng.uniform(0.15, 0.45))
    ch.put_hand(side, begin, low, hand, palm=(0.0, 0.0, -1.0), palm_weight=0.4, flat=False)
    ch.drop_hand(side, low + hold_s, end)
    ch.xy.move(begin, low, place - ch.direction(0.25 * depth, 0.0))
    ch.xy.move(low + hold_s, end, place)
    ch.height.move(begin, low, [ch.standing_m * (1 - 0.75 * depth)])
    ch.height.move(low + hold_s, end, [ch.standing_m])
    ch.lean.move(begin, low, [0.6 * lean, 0.0])
    ch.lean.move(low + hold_s, end, [0.4 * ch.style.stoop_rad, 0.0])
    ch.spine.move(begin, low, [0.6 * lean, 0.0, 0.0])
    ch.spine.move(low + hold_s, end, [ch.style.stoop_rad, 0.0, 0.0])
    ch.time_s = end


def _begin_on_bed(ch: Choreography, back: float) -> None:
    bed_m = ch.rng.uniform(0.3, 0.55)
    ch.height.key(0.0, [bed_m + 0.1])
    ch.unrest.key(0.0, [0.1])
    ch.support.key(0.0, [1.0])
    ch.upright.key(0.0, [0.0])
    ch.legs_rest.key(0.0, [1.0])
    for side in SIDES:
        ch.free[side].key(0.0, [1.0])
        ch.elbow[side].key(0.0, (-0.2, 0.9, 0.2))
        ch.hang[side].key(0.0, (ch.rng.uniform(0.0, 0.35), ch.rng.uniform(-0.15, 0.3), -0.75))
    _lie(ch, 0.0, back, 0.0)


def _recline(ch: Choreography, back: float, roll_rad: float, seconds: float) -> None:
    begin, end = ch.time_s, ch.time_s + seconds
    for track in (ch.recline, ch.spine, ch.head, *ch.angles, *ch.hang):
        track.hold(begin)
    _lie(ch, end, back, roll_rad)
    ch.time_s = end


def _lie(ch: Choreography, end_s: float, back: float, roll_rad: float) -> None:
    """Trunk from upright (0) to flat (1) with the legs forward on the bed, rolled to the left."""
    c, s = np.cos(ch.heading_rad), np.sin(ch.heading_rad)
    left, forward = np.array([-s, c, 0.0]), np.array([c, s, 0.0])
    pitch = back * np.pi / 2
    turn = rotmat_about(forward, np.array(-roll_rad)) @ rotmat_about(left, np.array(-pitch))
    ch.recline.key(end_s, rotmat_to_rotvec(turn))
    curl = 0.35 * (1 - back)
    ch.spine.key(end_s, [curl + 0.15 * abs(roll_rad), 0.0, ch.rng.uniform(-0.1, 0.1)])
    ch.head.key(end_s, [ch.rng.uniform(-0.05, 0.3), 0.0, ch.rng.uniform(-0.5, 0.5)])
    for side in SIDES:
        knee = ch.rng.uniform(0.1, 0.6) + 0.5 * abs(roll_rad)
        flexion = (np.pi / 2 - pitch) + 0.5 * knee
        ch.angles[side].key(end_s, [flexion, ch.rng.uniform(0.04, 0.15), knee, ch.rng.uniform(0.2, 0.6)])
        hang = (ch.rng.uniform(0.05, 0.35), ch.rng.uniform(-0.2, 0.3), ch.rng.uniform(-0.85, -0.6))
        ch.hang[side].key(end_s, hang)


FAMILIES = tuple(
    MotionFamily(direct.__name__, direct, for_training=True)
    for direct in (stool_sit, chair_rise, table_reach, floor_pick, step_turn, side_step, bed_recline)
)
