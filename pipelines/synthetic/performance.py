"""What a body is asked to do in each frame, and the pose that does it.

A performance states pelvis, trunk, head, feet and hands; `solve` finds the joint rotations: legs and
arms by two-bone chains, collars a share of the arm's elevation, the pelvis lowered where a leg would
be too short. World frame z up, floor z = 0, metres, radians.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from pipelines.synthetic.footsteps import FootMotion
from pipelines.synthetic.inverse_kinematics import (
    angle_about,
    apply,
    blend,
    fraction_of,
    rotmat_about,
    smallest_rotation,
    solve_two_bone,
    unit,
)
from pipelines.synthetic.rig import (
    ANKLE,
    BALL,
    COLLAR,
    ELBOW,
    HEAD,
    HIP,
    KNEE,
    NECK,
    NUM_JOINTS,
    PELVIS,
    REST_FORWARD,
    REST_LEFT,
    REST_UP,
    SHOULDER,
    SIDES,
    SPINE,
    WORLD_UP,
    WRIST,
    BodyRig,
    Side,
)
from pipelines.synthetic.tracks import smooth_lower_envelope

COLLAR_SHARE = 0.24
"""Share of the arm's turn away from the T-pose that the collar takes (a stiff collar looks square)."""
SPINE_SHARES = (0.32, 0.36, 0.32)
_SOFT_REACH = 0.9
_LEG_SLACK = 0.995
"""Share of the stretched leg that a planted foot may ask for."""


@dataclass(frozen=True, slots=True, eq=False)
class ArmGoal:
    """One hand over time."""

    wrist: Float[np.ndarray, "frames 3"]
    """World target of the wrist joint where `in_world` is 1."""
    hang: Float[np.ndarray, "frames 3"]
    """Wrist from shoulder as a share of the arm (forward, outward, up) where `in_world` is 0."""
    upright: Float[np.ndarray, " frames"]
    """1 = `hang` and `elbow` are read in level axes of the chest's heading, 0 = in the chest's own."""
    in_world: Float[np.ndarray, " frames"]
    palm: Float[np.ndarray, "frames 3"]
    """Direction the palm shall face, world."""
    palm_weight: Float[np.ndarray, " frames"]
    """0 = the palm follows the forearm, 1 = it faces `palm`."""
    elbow: Float[np.ndarray, "frames 3"]
    """Where the elbow points (forward, outward, up)."""
    lift_m: Float[np.ndarray, " frames"]
    """Height added to the target, so that the hand clears what lies below it."""


@dataclass(frozen=True, slots=True, eq=False)
class LegGoal:
    """One leg over time: on its planned foot, or free in joint angles."""

    foot: FootMotion
    free: Float[np.ndarray, " frames"]
    """0 = the foot is where it was planned, 1 = the leg follows `angles`."""
    angles: Float[np.ndarray, "frames 4"]
    """Hip flexion, hip abduction, knee flexion, foot pointing down."""


@dataclass(frozen=True, slots=True, eq=False)
class Performance:
    """Everything a body shall do, one row per frame."""

    pelvis: Float[np.ndarray, "frames 3"]
    pelvis_rotation: Float[np.ndarray, "frames 3 3"]
    """World from rest axes."""
    spine: Float[np.ndarray, "frames 3"]
    """Forward flexion, bend to the right, twist to the left, over the three spine joints."""
    head: Float[np.ndarray, "frames 3"]
    """The same for neck and head together, relative to the chest."""
    legs: tuple[LegGoal, LegGoal]
    arms: tuple[ArmGoal, ArmGoal]


@dataclass(frozen=True, slots=True, eq=False)
class SolvedMotion:
    """Joint rotations and places of a performance."""

    rotations: Float[np.ndarray, "frames 22 3 3"]
    """Global, world from rest axes."""
    joints: Float[np.ndarray, "frames 22 3"]
    foot_contact: Bool[np.ndarray, "frames 4"]
    """Left toe base, left heel, right toe base, right heel at rest on the floor."""


def solve(rig: BodyRig, performance: Performance) -> SolvedMotion:
    """Find the pose of every frame."""
    performance = replace(performance, pelvis=reachable_pelvis(rig, performance))
    frames = len(performance.pelvis)
    rotations = np.broadcast_to(np.eye(3), (frames, NUM_JOINTS, 3, 3)).copy()
    rotations[:, PELVIS] = performance.pelvis_rotation
    _solve_trunk(rotations, performance)
    for side in SIDES:
        _solve_leg(rig, rotations, performance, side)
        _solve_arm(rig, rotations, performance, side)
    contact = [
        planted & (performance.legs[side].free < 1e-3)
        for side in SIDES
        for planted in (
            performance.legs[side].foot.toe_planted,
            performance.legs[side].foot.heel_planted,
        )
    ]
    joints = rig.forward_kinematics(rotations, performance.pelvis)
    return SolvedMotion(rotations, joints, np.stack(contact, axis=1))


def reachable_pelvis(rig: BodyRig, performance: Performance) -> Float[np.ndarray, "frames 3"]:
    """The pelvis, smoothly lowered where a planned foot would be out of the leg's reach."""
    excess = np.zeros(len(performance.pelvis))
    for side in SIDES:
        goal = performance.legs[side]
        hip = performance.pelvis + apply(performance.pelvis_rotation, rig.offsets[HIP[side]])
        reach = _LEG_SLACK * rig.leg(side).reach_m
        gap = goal.foot.ankle - hip
        flat = np.minimum(np.linalg.norm(gap[:, :2], axis=1), 0.98 * reach)
        highest = goal.foot.ankle[:, 2] + np.sqrt(reach**2 - flat**2)
        excess = np.minimum(excess, np.where(goal.free > 0.5, 0.0, highest - hip[:, 2]))
    lowered = performance.pelvis.copy()
    lowered[:, 2] += smooth_lower_envelope(excess, width_frames=6, sigma_frames=3.0)
    return lowered


def bend(angles: Float[np.ndarray, "frames 3"]) -> Float[np.ndarray, "frames 3 3"]:
    """Twist, then side bend, then flexion, as one turn in the parent's axes."""
    flexion = rotmat_about(REST_LEFT, angles[:, 0])
    right = rotmat_about(REST_FORWARD, angles[:, 1])
    return rotmat_about(REST_UP, angles[:, 2]) @ flexion @ right


def level_axes(rotation: Float[np.ndarray, "frames 3 3"]) -> Float[np.ndarray, "frames 3 3"]:
    """Columns forward, left, up of a body part after the smallest turn that sets it upright."""
    upright = smallest_rotation(rotation[:, :, 1], WORLD_UP) @ rotation
    return upright[:, :, [2, 0, 1]]


def _solve_trunk(rotations: Float[np.ndarray, "frames 22 3 3"], goal: Performance) -> None:
    parent = PELVIS
    for joint, share in zip(SPINE, SPINE_SHARES, strict=True):
        rotations[:, joint] = rotations[:, parent] @ bend(share * goal.spine)
        parent = joint
    rotations[:, NECK] = rotations[:, SPINE[-1]] @ bend(0.5 * goal.head)
    rotations[:, HEAD] = rotations[:, NECK] @ bend(0.5 * goal.head)


def _solve_leg(
    rig: BodyRig, rotations: Float[np.ndarray, "frames 22 3 3"], goal: Performance, side: Side
) -> None:
    leg, rest = goal.legs[side], rig.leg(side)
    hip = goal.pelvis + apply(goal.pelvis_rotation, rig.offsets[HIP[side]])
    thigh, shin, foot = _free_leg(goal.pelvis_rotation, leg.angles, side)
    free_ankle = hip + apply(thigh, rest.upper) + apply(shin, rest.lower)
    ankle = leg.foot.ankle + leg.free[:, None] * (free_ankle - leg.foot.ankle)
    foot_rotation = blend(leg.foot.ankle_rotation, foot, leg.free)
    toe_rotation = blend(leg.foot.toe_rotation, foot, leg.free)
    pole = 0.5 * goal.pelvis_rotation[:, :, 2] + 0.5 * foot_rotation[:, :, 2]
    pole = (1 - leg.free[:, None]) * pole + leg.free[:, None] * thigh[:, :, 2]
    upper, lower = solve_two_bone(rest, hip, ankle, pole)
    rotations[:, HIP[side]], rotations[:, KNEE[side]] = upper, lower
    rotations[:, ANKLE[side]], rotations[:, BALL[side]] = foot_rotation, toe_rotation


def _free_leg(
    pelvis: Float[np.ndarray, "frames 3 3"], angles: Float[np.ndarray, "frames 4"], side: Side
) -> tuple[Float[np.ndarray, "frames 3 3"], ...]:
    outward = 1.0 if side == 0 else -1.0
    abduction = rotmat_about(REST_FORWARD, outward * angles[:, 1])
    thigh = pelvis @ rotmat_about(REST_LEFT, -angles[:, 0]) @ abduction
    shin = thigh @ rotmat_about(REST_LEFT, angles[:, 2])
    return thigh, shin, shin @ rotmat_about(REST_LEFT, angles[:, 3])


def _solve_arm(
    rig: BodyRig, rotations: Float[np.ndarray, "frames 22 3 3"], goal: Performance, side: Side
) -> None:
    arm, rest = goal.arms[side], rig.arm(side)
    chest = rotations[:, SPINE[-1]]
    chest_place = _chest_place(rig, rotations, goal)
    outward = np.array([1.0, 1.0 if side == 0 else -1.0, 1.0])
    hang = rig.arm_m * _in_arm_axes(chest, arm.hang * outward, arm.upright)
    pole = _in_arm_axes(chest, arm.elbow * outward, arm.upright)
    collar_place = chest_place + apply(chest, rig.offsets[COLLAR[side]])
    collar = chest
    for _ in range(2):  # the collar follows the arm, which starts at the collar's end
        shoulder = collar_place + apply(collar, rig.offsets[SHOULDER[side]])
        target = shoulder + hang + arm.in_world[:, None] * (arm.wrist - shoulder - hang)
        target[:, 2] += arm.lift_m
        straight = apply(chest, rest.upper + rest.lower)
        collar = fraction_of(smallest_rotation(straight, target - shoulder), COLLAR_SHARE) @ chest
    shoulder = collar_place + apply(collar, rig.offsets[SHOULDER[side]])
    target = shoulder + _within_reach(target - shoulder, rest.reach_m)
    upper, lower = solve_two_bone(rest, shoulder, target, pole)
    forearm, hand = _turn_palm(upper, lower, rest.lower, arm)
    rotations[:, COLLAR[side]], rotations[:, SHOULDER[side]] = collar, upper
    rotations[:, ELBOW[side]], rotations[:, WRIST[side]] = forearm, hand


def _within_reach(
    vectors: Float[np.ndarray, "frames 3"], reach_m: float
) -> Float[np.ndarray, "frames 3"]:
    """Shorten what is too far, from a little before the limit on: elbows must not snap straight."""
    length = np.linalg.norm(vectors, axis=1)
    soft = (1 - _SOFT_REACH) * reach_m
    over = np.maximum(length - _SOFT_REACH * reach_m, 0.0)
    shortened = np.minimum(length, _SOFT_REACH * reach_m) + soft * (1 - np.exp(-over / soft))
    return vectors * (shortened / np.maximum(length, 1e-6))[:, None]


def _in_arm_axes(
    chest: Float[np.ndarray, "frames 3 3"],
    vectors: Float[np.ndarray, "frames 3"],
    upright: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames 3"]:
    own = apply(chest[:, :, [2, 0, 1]], vectors)
    return own + upright[:, None] * (apply(level_axes(chest), vectors) - own)


def _chest_place(
    rig: BodyRig, rotations: Float[np.ndarray, "frames 22 3 3"], goal: Performance
) -> Float[np.ndarray, "frames 3"]:
    place = goal.pelvis
    for parent, joint in zip((PELVIS, *SPINE[:2]), SPINE, strict=True):
        place = place + apply(rotations[:, parent], rig.offsets[joint])
    return place


def _turn_palm(
    upper: Float[np.ndarray, "frames 3 3"],
    lower: Float[np.ndarray, "frames 3 3"],
    rest_forearm: Float[np.ndarray, "3"],
    arm: ArmGoal,
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3 3"]]:
    """Turn the forearm about its length, then bend the wrist, until the palm faces its goal."""
    axis = apply(lower, rest_forearm)
    palm = -lower[:, :, 1]
    twist = angle_about(axis, palm, arm.palm) * arm.palm_weight
    twist = np.clip(twist, -1.4, 1.4)
    forearm = rotmat_about(unit(axis), 0.6 * twist) @ lower
    hand = rotmat_about(unit(axis), twist) @ lower
    wrist = smallest_rotation(-hand[:, :, 1], arm.palm)
    rotvec_angle = np.arccos(np.clip((-hand[:, :, 1] * unit(arm.palm)).sum(-1), -1, 1))
    allowed = np.minimum(1.0, np.deg2rad(50) / np.maximum(rotvec_angle, 1e-6))
    return forearm, fraction_of(wrist, arm.palm_weight * allowed) @ hand
