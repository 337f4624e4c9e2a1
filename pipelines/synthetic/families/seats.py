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
    seated_pelvis,
    sit_down,
    thigh_wrist,
)
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.rig import SIDES


def _sofa(ch: Choreography) -> SeatPose:
    return SeatPose(
        hip_drop_m=ch.rng.uniform(-0.03, 0.04),
        shin_rad=np.deg2rad(ch.rng.uniform(-4, 6)),
        pelvis_rad=np.deg2rad(ch.rng.uniform(-14, -6)),
        spine_rad=np.deg2rad(ch.rng.uniform(10, 18)),
    )


def sofa_sit(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Stand, sit down on a sofa, hands to the thighs, lean back, look about."""
    pose = _sofa(ch)
    ch.wait(ch.rng.uniform(0.15, 0.4))
    begin = ch.time_s
    sit_down(ch, pose, ch.rng.uniform(1.2, 1.6), np.deg2rad(ch.rng.uniform(38, 50)))
    seated = ch.time_s
    hands_to_thighs(ch, pose, begin + 0.35, seated + 0.25)
    block = seat_block(ch, seated + 0.1, duration_s, ch.rng.uniform(1.2, 1.7), 0.6, backrest=True)
    ch.wait(ch.rng.uniform(0.5, 0.9))
    _lean_back(ch, pose, ch.rng.uniform(0.8, 1.2))
    _look_about(ch, duration_s)
    return (block,)


def sofa_rise(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Sit leaning back, come forward, push up from the thighs, stand."""
    pose = _sofa(ch)
    place, height = seated_pelvis(ch, pose)
    ch.xy.key(0.0, place)
    ch.height.key(0.0, [height])
    ch.lean.key(0.0, [pose.pelvis_rad, 0.0])
    ch.spine.key(0.0, [pose.spine_rad, 0.0, 0.0])
    ch.unrest.key(0.0, [0.15])
    ch.support.key(0.0, [1.0])
    hands_to_thighs(ch, pose, -1.0, -0.5)
    block_width = ch.rng.uniform(1.2, 1.7)
    ch.wait(ch.rng.uniform(0.3, 0.6) if duration_s < 3.5 else ch.rng.uniform(0.8, 1.4))
    begin = ch.time_s
    block = seat_block(ch, 0.0, begin + 0.2, block_width, 0.6, backrest=True)
    rise(ch, ch.rng.uniform(1.4, 1.9), np.deg2rad(ch.rng.uniform(42, 55)))
    hands_down(ch, ch.time_s - 1.0, ch.time_s - 0.1)
    ch.wait(0.4)
    return (block,)


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
    MotionFamily("sofa_rise", sofa_rise, for_training=False),
)
