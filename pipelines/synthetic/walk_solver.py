"""A laid-out walk on one body: feet planted, pelvis within reach of the legs, collars natural."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from pipelines.synthetic.foot_locking import RawFoot, lock_feet
from pipelines.synthetic.footsteps import FootMotion
from pipelines.synthetic.inverse_kinematics import apply, fraction_of, smallest_rotation, solve_two_bone
from pipelines.synthetic.performance import COLLAR_SHARE, SolvedMotion
from pipelines.synthetic.rig import (
    ANKLE,
    BALL,
    COLLAR,
    HIP,
    KNEE,
    PELVIS,
    SHOULDER,
    SIDES,
    SPINE,
    BodyRig,
    global_rotations,
)
from pipelines.synthetic.tracks import smooth_lower_envelope
from pipelines.synthetic.walks import WalkPath

_LEG_SLACK = 0.99


def solve_walk(rig: BodyRig, path: WalkPath, frame_rate_hz: float) -> SolvedMotion:
    """Joint rotations of a walk whose feet stand still where they are planted."""
    rotations = global_rotations(path.local)
    joints = rig.forward_kinematics(rotations, path.pelvis)
    left, right = (RawFoot(joints[:, ANKLE[side]], rotations[:, ANKLE[side]]) for side in SIDES)
    feet = lock_feet(rig.feet, (left, right), frame_rate_hz)
    pelvis = _pelvis_over_feet(rig, path.pelvis, rotations, joints, feet)
    for side in SIDES:
        foot = feet[side]
        hip = pelvis + apply(rotations[:, PELVIS], rig.offsets[HIP[side]])
        pole = rotations[:, HIP[side], :, 2] + 0.5 * rotations[:, KNEE[side], :, 2]
        thigh, shin = solve_two_bone(rig.leg(side), hip, foot.ankle, pole)
        rotations[:, HIP[side]], rotations[:, KNEE[side]] = thigh, shin
        rotations[:, ANKLE[side]], rotations[:, BALL[side]] = foot.ankle_rotation, foot.toe_rotation
        _lower_collar(rig, rotations, side)
    contact = [planted for foot in feet for planted in (foot.toe_planted, foot.heel_planted)]
    return SolvedMotion(rotations, rig.forward_kinematics(rotations, pelvis), np.stack(contact, axis=1))


def _pelvis_over_feet(
    rig: BodyRig,
    pelvis: Float[np.ndarray, "frames 3"],
    rotations: Float[np.ndarray, "frames 22 3 3"],
    joints: Float[np.ndarray, "frames 22 3"],
    feet: tuple[FootMotion, ...],
) -> Float[np.ndarray, "frames 3"]:
    """Lower (or raise) the pelvis by what planting moved the feet, then into reach of both."""
    moved = np.full((len(feet), len(pelvis)), np.nan)
    for side in SIDES:
        planted = feet[side].toe_planted | feet[side].heel_planted
        moved[side, planted] = (feet[side].ankle - joints[:, ANKLE[side]])[planted, 2]
    result = pelvis.copy()
    result[:, 2] += float(np.nanmedian(moved)) if np.isfinite(moved).any() else 0.0
    excess = np.zeros(len(pelvis))
    for side in SIDES:
        hip = result + apply(rotations[:, PELVIS], rig.offsets[HIP[side]])
        gap = feet[side].ankle - hip
        reach = _LEG_SLACK * rig.leg(side).reach_m
        flat = np.minimum(np.linalg.norm(gap[:, :2], axis=1), 0.98 * reach)
        excess = np.minimum(excess, feet[side].ankle[:, 2] + np.sqrt(reach**2 - flat**2) - hip[:, 2])
    result[:, 2] += smooth_lower_envelope(excess, width_frames=5, sigma_frames=2.5)
    result[:, 2] = gaussian_filter1d(result[:, 2], 0.6, mode="nearest")
    return result


def _lower_collar(rig: BodyRig, rotations: Float[np.ndarray, "frames 22 3 3"], side: int) -> None:
    """CMU has no collar motion: give the collar its share of the arm's turn from the T-pose."""
    chest = rotations[:, SPINE[-1]]
    bone = rig.arm(0 if side == 0 else 1).upper
    at_rest = apply(chest, bone)
    arm = apply(rotations[:, SHOULDER[side]], bone)
    rotations[:, COLLAR[side]] = fraction_of(smallest_rotation(at_rest, arm), COLLAR_SHARE) @ chest
