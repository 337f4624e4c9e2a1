"""Turning and stepping. Recordings: turning about on the spot. Training: steps that turn, side steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.rig import Side


def pivot_turn(ch: Choreography, duration_s: float) -> Sequence[BlockPlan]:
    """Turn about on the spot by 110 to 190 degrees, look, and turn again until the time is up."""
    sign = 1.0 if ch.rng.uniform() < 0.5 else -1.0
    ch.wait(ch.rng.uniform(0.15, 0.5))
    while ch.time_s < duration_s:
        angle = sign * np.deg2rad(ch.rng.uniform(110, 190))
        steps = max(2, round(abs(angle) / np.deg2rad(ch.rng.uniform(38, 52))))
        ch.turn_in_place(angle, steps, ch.rng.uniform(0.5, 0.65))
        ch.wait(ch.rng.uniform(0.5, 1.2))
        sign = -sign
    return ()


def step_aside(ch: Choreography, forward_m: float, left_m: float, pace_s: float) -> None:
    """Both feet, one after the other, a short way in any direction; the heading stays."""
    first: Side = 0 if left_m > 0 or (left_m == 0 and ch.rng.uniform() < 0.5) else 1
    shift = ch.direction(forward_m, left_m)
    for side in (first, 1 if first == 0 else 0):
        place = ch.foot(side).xy + shift
        ch.step(0 if side == 0 else 1, place, ch.foot(side).yaw_rad, 0.75 * pace_s, lift_m=0.035)
        ch.wait(0.25 * pace_s)
    ch.settle(0.2)


FAMILIES = (MotionFamily("pivot_turn", pivot_turn, for_training=False),)
