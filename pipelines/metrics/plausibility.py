"""Does the motion look like a person's: acceleration, jitter, feet on the floor.

Joints are the 22 SMPL body joints, camera frame. A floor is a unit normal n pointing up and an offset d
with n . x = d, so a point's height is n . x - d. Motion is measured only across frames that follow
each other inside one segment and are all selected.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.joints import BODY25_NAMES, body_joint
from pipelines.metrics.definitions import FLOOR_THRESHOLDS_M, floor_frequency_id
from pipelines.metrics.tally import Tally, by_key

LEFT_TOE, RIGHT_TOE = body_joint("left_foot"), body_joint("right_foot")
_FEET = ((body_joint("left_ankle"), LEFT_TOE), (body_joint("right_ankle"), RIGHT_TOE))
_HUMOR_CONTACT_JOINTS = tuple(
    body_joint(name)
    for name in (
        "pelvis",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
        "left_foot",
        "right_foot",
        "left_wrist",
        "right_wrist",
    )
)
"""Hips, knees, ankles, toes, hands: the nine joints HuMoR labels."""
_LEFT_HEEL, _RIGHT_HEEL = BODY25_NAMES.index("left_heel"), BODY25_NAMES.index("right_heel")

ROHM_SPEED_M_S = 0.10
ROHM_ANKLE_HEIGHT_M = 0.15
ROHM_TOE_HEIGHT_M = 0.10
ROHM_PENETRATION_M = 0.05
HUMOR_CONTACT_STEP_M = 0.005
HUMOR_CONTACT_HEIGHT_M = 0.08
HUMOR_TOE_CONTACT_HEIGHT_M = 0.04


def run_starts(
    selected: Bool[np.ndarray, " frames"], segment_id: Int[np.ndarray, " frames"], length: int
) -> Int[np.ndarray, " starts"]:
    """First frames of all runs of `length` selected frames within one segment."""
    if len(selected) < length:
        return np.zeros(0, dtype=np.int64)
    number = len(selected) - length + 1
    unbroken = np.ones(number, dtype=bool)
    for offset in range(length):
        rows = slice(offset, offset + number)
        unbroken &= selected[rows] & (segment_id[rows] == segment_id[:number])
    return np.flatnonzero(unbroken)


def second_difference(
    joints: Float[np.ndarray, "frames joints 3"], starts: Int[np.ndarray, " starts"], rate_hz: float
) -> Float[np.ndarray, "starts joints 3"]:
    """(x_t-1 - 2 x_t + x_t+1) / h^2 of the runs of three frames, m/s^2."""
    x = joints.astype(np.float64)
    return (x[starts] - 2 * x[starts + 1] + x[starts + 2]) * rate_hz**2


def acceleration(
    joints_camera: Float[np.ndarray, "frames 22 3"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
    rate_hz: float,
) -> dict[str, Tally]:
    """Mean norm of the joints' acceleration, and the same after subtracting the root joint.

    Source: HuMoR `eval_utils.py`. SLAHMR and EmbodiedPose leave out 1/h^2 (a factor 900).
    """
    starts = run_starts(selected, segment_id, 3)
    relative = joints_camera - joints_camera[:, :1]
    skipped = _left_out(selected, len(starts), 3)
    tallies = []
    for key, joints in (("accel_v1", joints_camera), ("accel_root_v1", relative)):
        size = np.linalg.norm(second_difference(joints, starts, rate_hz), axis=-1)
        tallies.append(Tally(key, float(size.sum()), size.size, skipped))
    return by_key(tallies)


def jitter(
    joints_camera: Float[np.ndarray, "frames joints 3"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
    rate_hz: float,
) -> Tally:
    """Mean norm of the third difference x rate^3 / 10, in 10 m/s^3. Source: WHAM, GVHMR."""
    starts = run_starts(selected, segment_id, 4)
    x = joints_camera.astype(np.float64)
    third = x[starts + 3] - 3 * x[starts + 2] + 3 * x[starts + 1] - x[starts]
    size = np.linalg.norm(third, axis=-1) * rate_hz**3 / 10
    return Tally("jitter_v1", float(size.sum()), size.size, _left_out(selected, len(starts), 4))


def heights(
    points_camera: Float[np.ndarray, "*batch 3"], floor_camera: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "*batch"]:
    """Height above the floor plane, metres; negative below."""
    return points_camera.astype(np.float64) @ floor_camera[:3] - floor_camera[3]


def floor_penetration(
    joints_camera: Float[np.ndarray, "frames 22 3"], floor_camera: Float[np.ndarray, "4"]
) -> dict[str, Tally]:
    """How often and how deep the two toe joints are below the floor, by HuMoR and by RoHM.

    HuMoR's distance is a mean over the toes below the floor, RoHM's over all toes. Toes are joints, a
    centimetre or two inside the foot: zero here still allows sunken soles.

    Source: HuMoR `eval_utils.py`; RoHM.
    """
    height = heights(joints_camera[:, [LEFT_TOE, RIGHT_TOE]], floor_camera).ravel()
    depth = np.maximum(-height, 0.0)
    total, count = float(depth.sum()), height.size
    frequencies = {tau: int((height < -tau).sum()) for tau in FLOOR_THRESHOLDS_M}
    return by_key(
        [
            Tally("floor_depth_v1", total, int((height < 0).sum())),
            Tally("floor_product_v1", total, count),
            *(Tally(floor_frequency_id(tau), float(n), count) for tau, n in frequencies.items()),
            Tally("floor_mean_frequency_v1", sum(frequencies.values()) / len(FLOOR_THRESHOLDS_M), count),
            Tally("rohm_floor_frequency_v1", float((height < -ROHM_PENETRATION_M).sum()), count),
            Tally("rohm_floor_depth_v1", total, count),
        ]
    )


def skating_ratio(
    joints_camera: Float[np.ndarray, "frames 22 3"],
    floor_camera: Float[np.ndarray, "4"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
    rate_hz: float,
) -> Tally:
    """Share of frames in which both feet slide over the floor.

    A foot slides when ankle and toe both move faster than 0.10 m/s along the floor while the ankle is
    lower than 0.15 m and the toe lower than 0.10 m. Source: RoHM.
    """
    starts = run_starts(selected, segment_id, 2)
    speed = _slide(joints_camera, starts, floor_camera) * rate_hz
    height = heights(joints_camera[starts], floor_camera)
    skates = np.ones(len(starts), dtype=bool)
    for ankle, toe in _FEET:
        skates &= (speed[:, ankle] > ROHM_SPEED_M_S) & (speed[:, toe] > ROHM_SPEED_M_S)
        skates &= (height[:, ankle] < ROHM_ANKLE_HEIGHT_M) & (height[:, toe] < ROHM_TOE_HEIGHT_M)
    skipped = _left_out(selected, len(starts), 2)
    return Tally("skate_ratio_v1", float(skates.sum()), len(starts), skipped)


def planted_slide(
    joints_camera: Float[np.ndarray, "frames 22 3"],
    keypoint_joints_camera: Float[np.ndarray, "frames 25 3"],
    foot_contact: Bool[np.ndarray, "frames 4"],
    floor_camera: Float[np.ndarray, "4"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
    rate_hz: float,
) -> dict[str, Tally]:
    """Mean motion along the floor of toes and heels that are truly planted in both frames of a step.

    Args:
        joints_camera: toe bases are read from here.
        keypoint_joints_camera: heels are read from here (BODY_25).
        foot_contact: truth; left toe base, left heel, right toe base, right heel.
        floor_camera: the direction along the floor follows from it.
        selected: frames that count.
        segment_id: motion is continuous inside one segment.
        rate_hz: frames per second.
    """
    starts = run_starts(selected, segment_id, 2)
    points = np.stack(
        [
            joints_camera[:, LEFT_TOE],
            keypoint_joints_camera[:, _LEFT_HEEL],
            joints_camera[:, RIGHT_TOE],
            keypoint_joints_camera[:, _RIGHT_HEEL],
        ],
        axis=1,
    )
    planted = foot_contact[starts] & foot_contact[starts + 1]
    slide = _slide(points, starts, floor_camera)[planted]
    skipped = {"not_planted": int((~planted).sum())} | _left_out(selected, len(starts), 2)
    return by_key(
        [
            Tally("skate_slide_v1", float(slide.sum()), slide.size, skipped),
            Tally("skate_speed_v1", float(slide.sum()) * rate_hz, slide.size, skipped),
        ]
    )


def contact_accuracy(
    contacts: Float[np.ndarray, "frames 22"],
    true_joints_camera: Float[np.ndarray, "frames 22 3"],
    floor_camera: Float[np.ndarray, "4"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
) -> Tally:
    """Share of the predicted floor contacts (probability above 0.5) that agree with HuMoR's labels.

    A true joint is in contact when it moves less than 5 mm per frame and is lower than 4 cm (toes) or
    8 cm (others). Source: HuMoR; nine joints: hips, knees, ankles, toes, hands.
    """
    starts = run_starts(selected, segment_id, 2)
    chosen = list(_HUMOR_CONTACT_JOINTS)
    joints = true_joints_camera[:, chosen].astype(np.float64)
    step = np.linalg.norm(joints[starts + 1] - joints[starts], axis=-1)
    limit = np.where(
        np.isin(chosen, (LEFT_TOE, RIGHT_TOE)), HUMOR_TOE_CONTACT_HEIGHT_M, HUMOR_CONTACT_HEIGHT_M
    )
    label = (step < HUMOR_CONTACT_STEP_M) & (heights(joints[starts], floor_camera) < limit)
    equal = (contacts[starts][:, chosen] > 0.5) == label
    skipped = _left_out(selected, len(starts), 2)
    return Tally("contact_accuracy_v1", float(equal.sum()), equal.size, skipped)


def one_way_chamfer(
    points: Float[np.ndarray, "points 3"], targets: Float[np.ndarray, "targets 3"]
) -> Float[np.ndarray, " points"]:
    """Distance of each point to the nearest target: one way, not squared."""
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(targets).query(points)
    return np.asarray(distance, dtype=np.float64)


def _slide(
    points: Float[np.ndarray, "frames points 3"],
    starts: Int[np.ndarray, " starts"],
    floor_camera: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "starts points"]:
    """Distance moved along the floor from each start to the next frame, metres."""
    normal = floor_camera[:3]
    x = points.astype(np.float64)
    step = x[starts + 1] - x[starts]
    along = step - (step @ normal)[..., None] * normal
    return np.asarray(np.linalg.norm(along, axis=-1))


def _left_out(selected: Bool[np.ndarray, " frames"], runs: int, length: int) -> dict[str, int]:
    """Runs lost to gaps: what an unbroken recording of the selected frames would have had."""
    lost = max(int(selected.sum()) - length + 1, 0) - runs
    return {"not_consecutive": lost} if lost > 0 else {}
