"""Seat families. Recordings: sofas, with the back leaned on. Training: stools and chairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.families.sitting import (
    SeatPose,
    hands_down,
    hands_to_thighs,
    rise,
    seat_block,
    sit_down,
    start_seated,
    thigh_wrist,
)
from pipelines.synthetic.families.turning import step_aside
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.rig import SIDES

_LONG_S = 3.5
_VISIT_STEP_S, _VISIT_TURN_S, _VISIT_WALK_S, _VISIT_RISE_S = 4.0, 7.0, 10.0, 15.0


def _sofa(ch: Choreography) -> SeatPose:
    return SeatPose(
        hip_drop_m=ch.rng.uniform(-0.03, 0.04),
        shin_rad=np.deg2rad(ch.rng.uniform(-4, 6)),
        pelvis_rad=np.deg2rad(ch.rng.uniform(-14, -6)),
        spine_rad=np.deg2rad(ch.rng.uniform(10, 18)),
    )


def sofa_sit(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Stand, sit down on a sofa, hands to the thighs, lean back, look about."""
    ch.wait(ch.rng.uniform(0.15, 0.4))
    return (_sit_and_stay(ch, _sofa(ch), duration_s),)


def sofa_visit(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Walk up to a sofa, turn round, step back, sit down, lean back; get up again if there is time.

    A short clip begins later in this story: with the turn, or with the step back.
    """
    ch.wait(0.35)
    if duration_s > _VISIT_WALK_S:
        stride = ch.rig.leg_m * ch.rng.uniform(0.5, 0.65)
        ch.walk([(stride, 0.0, 0.0), (2 * stride, 0.0, 0.0)], ch.rng.uniform(0.62, 0.72))
    if duration_s > _VISIT_TURN_S:
        sign = 1.0 if ch.rng.uniform() < 0.5 else -1.0
        ch.turn_in_place(sign * np.deg2rad(ch.rng.uniform(165, 190)), 4, ch.rng.uniform(0.5, 0.58))
    if duration_s > _VISIT_STEP_S:
        step_aside(ch, -0.16, 0.0, 0.45)
    pose = _sofa(ch)
    block = _sit_and_stay(ch, pose, duration_s - 3.5 if duration_s > _VISIT_RISE_S else duration_s)
    if duration_s > _VISIT_RISE_S:
        _get_up(ch)
        ch.wait(0.5)
    return (block,)


def sofa_rise(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Sit leaning back, come forward, push up from the thighs, stand, walk away if there is time."""
    start_seated(ch, _sofa(ch))
    ch.wait(ch.rng.uniform(0.3, 0.6) if duration_s < _LONG_S else ch.rng.uniform(0.8, 1.4))
    block = seat_block(ch, 0.0, ch.time_s + 0.2, ch.rng.uniform(1.2, 1.7), 0.6, backrest=True)
    _get_up(ch)
    if duration_s - ch.time_s > 1.0:
        stride = ch.rig.leg_m * ch.rng.uniform(0.5, 0.65)
        forward = [ch.over_feet() + ch.direction(k * stride, 0.0) for k in (1, 2)]
        ch.walk([(*place, ch.heading_rad) for place in forward], ch.rng.uniform(0.62, 0.72))
    return (block,)


def _sit_and_stay(ch: Choreography, pose: SeatPose, until_s: float) -> BlockPlan:
    begin = ch.time_s
    sit_down(ch, pose, ch.rng.uniform(1.2, 1.6), np.deg2rad(ch.rng.uniform(38, 50)))
    seated = ch.time_s
    hands_to_thighs(ch, pose, begin + 0.35, seated + 0.25)
    block = seat_block(ch, seated + 0.1, until_s, ch.rng.uniform(1.2, 1.7), 0.6, backrest=True)
    ch.wait(ch.rng.uniform(0.5, 0.9))
    _lean_back(ch, pose, ch.rng.uniform(0.8, 1.2))
    _look_about(ch, until_s)
    return block


def _get_up(ch: Choreography) -> None:
    begin = ch.time_s
    rise(ch, ch.rng.uniform(1.4, 1.9), np.deg2rad(ch.rng.uniform(42, 55)))
    hands_down(ch, begin + 0.45 * (ch.time_s - begin), ch.time_s - 0.1)
    ch.wait(0.2)


def _lean_back(ch: Choreography, pose: SeatPose, seconds: float) -> None:
    begin, end = ch.time_s, ch.time_s + seconds
    angle = np.deg2rad(ch.rng.uniform(8, 13))
    ch.lean.move(begin, end, [pose.pelvis_rad - angle, 0.0])
    ch.spine.move(begin, end, [0.6 * pose.spine_rad, 0.0, 0.0])
    ch.head.move(begin, end, [angle, 0.0, 0.0])
    for side in SIDES:
        ch.wrist[side].move(begin, end, thigh_wrist(ch, pose, side, ch.rng.uniform(0.22, 0.32)))
    ch.time_s = end


def _look_about(ch: Choreography, until_s: float) -> None:
    while ch.time_s < until_s:
        yaw = np.deg2rad(ch.rng.uniform(-35, 35))
        begin = ch.time_s + ch.rng.uniform(0.3, 1.0)
        ch.head.move(begin, begin + 0.6, [ch.head.last[0], 0.0, yaw])
        ch.time_s = begin + 0.6


FAMILIES = (
    MotionFamily("sofa_sit", sofa_sit, for_training=False),
    MotionFamily("sofa_visit", sofa_visit, for_training=False),
    MotionFamily("sofa_rise", sofa_rise, for_training=False),
)
