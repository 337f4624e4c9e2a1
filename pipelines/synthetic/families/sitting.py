"""Sitting down and getting up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.choreography import ELBOW_BACK, Choreography
from pipelines.synthetic.furniture import BlockPlan
from pipelines.synthetic.inverse_kinematics import unit
from pipelines.synthetic.rig import HIP, PELVIS, SIDES, Side

ELBOW_RESTING = (-0.9, 0.12, -0.5)
"""Elbows close to the sides while the hands lie on the thighs."""


@dataclass(frozen=True, slots=True)
class SeatPose:
    """How a person sits, relative to his planted feet."""

    hip_drop_m: float
    """Hips below the knees (low sofa > 0, high stool < 0)."""
    shin_rad: float
    """Shins leaning forward (knees before the ankles)."""
    pelvis_rad: float
    """Pelvis pitch forward."""
    spine_rad: float


def seated_pelvis(ch: Choreography, pose: SeatPose) -> tuple[Float[np.ndarray, "2"], float]:
    """Where the pelvis comes to rest: x, y and height, metres."""
    leg, foot = ch.rig.leg(0), ch.rig.feet[0]
    thigh, shin = float(np.linalg.norm(leg.upper)), float(np.linalg.norm(leg.lower))
    knee_x, knee_z = shin * np.sin(pose.shin_rad), foot.ankle_height_m + shin * np.cos(pose.shin_rad)
    hip_x, hip_z = knee_x - np.sqrt(thigh**2 - pose.hip_drop_m**2), knee_z - pose.hip_drop_m
    drop = ch.rig.joints[PELVIS, 1] - ch.rig.joints[HIP[0], 1]
    ankles = 0.5 * (ch.foot(0).xy + ch.foot(1).xy)
    place = ankles + ch.direction(hip_x - drop * np.sin(pose.pelvis_rad), 0.0)
    return place, float(hip_z + drop * np.cos(pose.pelvis_rad))


def thigh_wrist(
    ch: Choreography, pose: SeatPose, side: Side, along: float = 0.7
) -> Float[np.ndarray, "3"]:
    """Where the wrist lies when the hand rests on the thigh."""
    pelvis, height = seated_pelvis(ch, pose)
    lateral = ch.outward(side) * (ch.rig.joints[HIP[0], 0] + 0.02)
    hip = np.append(pelvis + ch.direction(0.0, lateral), height - 0.055)
    ankle = np.append(ch.foot(side).xy, ch.rig.feet[side].ankle_height_m)
    knee = ankle + np.append(
        ch.direction(ch.rig.leg(side).reach_m * 0.5 * np.sin(pose.shin_rad), 0.0),
        np.linalg.norm(ch.rig.leg(side).lower) * np.cos(pose.shin_rad),
    )
    up = unit(np.cross(knee - hip, np.append(ch.direction(0.0, 1.0), 0.0)))
    up = up * np.sign(up[2])
    return np.asarray(hip + along * (knee - hip) + (ch.rig.thigh_top_m + ch.rig.palm_m) * up)


def start_seated(ch: Choreography, pose: SeatPose) -> None:
    """Let the clip begin with the person sitting, hands on the thighs."""
    place, height = seated_pelvis(ch, pose)
    ch.xy.key(0.0, place)
    ch.height.key(0.0, [height])
    ch.lean.key(0.0, [pose.pelvis_rad, 0.0])
    ch.spine.key(0.0, [pose.spine_rad, 0.0, 0.0])
    ch.unrest.key(0.0, [0.15])
    ch.support.key(0.0, [1.0])
    hands_to_thighs(ch, pose, -1.0, -0.5)


def sit_down(ch: Choreography, pose: SeatPose, seconds: float, lean_rad: float) -> None:
    """Hips back and down, trunk forward over the feet, then upright on the seat."""
    begin, end = ch.time_s, ch.time_s + seconds
    place, height = seated_pelvis(ch, pose)
    standing = ch.xy.last
    ch.xy.hold(begin)
    ch.xy.key(begin + 0.45 * seconds, standing + 0.45 * (place - standing))
    ch.xy.key(end, place)
    ch.height.hold(begin + 0.05 * seconds)
    ch.height.key(end, [height])
    ch.lean.hold(begin)
    ch.lean.key(begin + 0.6 * seconds, [0.6 * lean_rad, 0.0])
    ch.lean.key(end + 0.35, [pose.pelvis_rad, 0.0])
    ch.spine.hold(begin)
    ch.spine.key(begin + 0.65 * seconds, [0.4 * lean_rad, 0.0, 0.0])
    ch.spine.key(end + 0.4, [pose.spine_rad, 0.0, 0.0])
    ch.head.hold(begin)
    ch.head.key(begin + 0.6 * seconds, [-0.25 * lean_rad, 0.0, 0.0])
    ch.head.key(end + 0.5, [0.05, 0.0, 0.0])
    ch.unrest.move(begin, end, [0.15])
    ch.support.move(begin + 0.85 * seconds, end + 0.05, [1.0])
    ch.time_s = end


def rise(ch: Choreography, seconds: float, lean_rad: float) -> None:
    """Trunk forward until the weight is over the feet, then up."""
    begin, end = ch.time_s, ch.time_s + seconds
    seated = ch.xy.last
    ch.support.move(begin + 0.3 * seconds, begin + 0.42 * seconds, [0.0])
    ch.unrest.move(begin, end, [1.0])
    ch.lean.hold(begin)
    ch.lean.key(begin + 0.38 * seconds, [0.62 * lean_rad, 0.0])
    ch.lean.key(end, [0.4 * ch.style.stoop_rad, 0.0])
    ch.spine.hold(begin)
    ch.spine.key(begin + 0.36 * seconds, [0.38 * lean_rad, 0.0, 0.0])
    ch.spine.key(end, [ch.style.stoop_rad, 0.0, 0.0])
    ch.head.hold(begin)
    ch.head.key(begin + 0.4 * seconds, [-0.3 * lean_rad, 0.0, 0.0])
    ch.head.key(end, [-0.5 * ch.style.stoop_rad, 0.0, 0.0])
    ch.xy.hold(begin + 0.25 * seconds)
    ch.xy.key(begin + 0.6 * seconds, seated + 0.6 * (ch.over_feet() - seated))
    ch.xy.key(end - 0.05 * seconds, ch.over_feet())
    ch.height.hold(begin + 0.3 * seconds)
    ch.height.key(end, [ch.standing_m])
    ch.time_s = end


def hands_to_thighs(ch: Choreography, pose: SeatPose, begin_s: float, end_s: float) -> None:
    """Both hands come to rest on the thighs."""
    for side in SIDES:
        along = ch.rng.uniform(0.5, 0.72)
        end = end_s + ch.rng.uniform(0, 0.1)
        ch.put_hand(side, begin_s, end, thigh_wrist(ch, pose, side, along))
        ch.elbow[side].move(begin_s, end, ELBOW_RESTING)


def hands_down(ch: Choreography, begin_s: float, end_s: float) -> None:
    """Both hands hang again."""
    for side in SIDES:
        ch.drop_hand(side, begin_s, end_s)
        ch.elbow[side].move(begin_s, end_s, ELBOW_BACK)


def seat_block(
    ch: Choreography,
    begin_s: float,
    end_s: float,
    width_m: float,
    depth_m: float,
    backrest: bool = False,
) -> BlockPlan:
    """The seat under the pelvis where it is now."""
    x, y = ch.xy.last
    thigh = float(np.linalg.norm(ch.rig.leg(0).upper))
    return BlockPlan(
        "seat",
        ch.heading_rad,
        (float(x), float(y)),
        front_m=0.68 * thigh,
        width_m=width_m,
        depth_m=depth_m,
        begin_s=begin_s,
        end_s=end_s,
        backrest=backrest,
    )
