"""Distance to the true bodies, metres, camera frame; needs data whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.joints import H36M14, H36M_NAMES
from pipelines.metrics.anatomy import BodyAnatomy
from pipelines.metrics.plausibility import run_starts, second_difference
from pipelines.metrics.tally import Tally, by_key
from pipelines.records import BodyTrack

H36M_PELVIS = H36M_NAMES.index("pelvis")


@dataclass(frozen=True, slots=True, eq=False)
class FrameSubsets:
    """Frames by how much of the person the scene hides."""

    all: Bool[np.ndarray, " frames"]
    visible: Bool[np.ndarray, " frames"]
    occluded: Bool[np.ndarray, " frames"]


def frame_subsets(
    joint_hidden: Bool[np.ndarray, "frames 22"],
    selected: Bool[np.ndarray, " frames"],
    visible_below: float,
    occluded_above: float,
) -> FrameSubsets:
    """Selected frames with few joints hidden, with many, and all; the rest lies between."""
    share = joint_hidden.mean(axis=1)
    return FrameSubsets(
        selected, selected & (share < visible_below), selected & (share > occluded_above)
    )


def truth_errors(
    track: BodyTrack, truth: BodyTrack, subsets: FrameSubsets, anatomy: BodyAnatomy
) -> dict[str, Tally]:
    """V2V, MPJPE, pelvis error for all, visible and occluded frames.

    No alignment except where the id says so: `mpjpe_` shifts the prediction's pelvis onto the true
    one, `pa_mpjpe_` removes a similarity. The 14 H36M joints and the pelvis are regressed from the
    6890 vertices, alike for every method, so that no method's own joint definition helps or harms it.

    Source: SA-HMR `lib/evaluators/pose/metrics.py` for the joint set and the alignments.
    """
    per_frame = _per_frame_errors(track, truth, anatomy, subsets.all)
    tallies = []
    for suffix, mask in _named(subsets):
        inside = mask[subsets.all]
        for key, errors in per_frame.items():
            values = errors[inside]
            values = values[np.isfinite(values)]  # a part without vertices has no error
            tallies.append(Tally(key + suffix, float(values.sum()), len(values)))
    return by_key(tallies)


def acceleration_error(
    track: BodyTrack,
    truth: BodyTrack,
    subsets: FrameSubsets,
    segment_id: Int[np.ndarray, " frames"],
    rate_hz: float,
) -> dict[str, Tally]:
    """Mean ||a - a*|| of the 22 joints, m/s^2; a run of three frames belongs to its middle frame."""
    starts = run_starts(subsets.all, segment_id, 3)
    difference = track.joints_camera.astype(np.float64) - truth.joints_camera
    error = np.linalg.norm(second_difference(difference, starts, rate_hz), axis=-1)
    tallies = []
    for suffix, mask in _named(subsets):
        values = error[mask[starts + 1]]
        tallies.append(Tally("accel_error_v1" + suffix, float(values.sum()), values.size))
    return by_key(tallies)


def similarity_align(
    source: Float[np.ndarray, "points 3"], target: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3"]:
    """`source` after the similarity (rotation, scale, shift) that brings it closest to `target`."""
    source_centre, target_centre = source.mean(axis=0), target.mean(axis=0)
    x, y = source - source_centre, target - target_centre
    variance = float((x**2).sum())
    if variance == 0.0:
        return np.broadcast_to(target_centre, source.shape).copy()
    U, singular, Vt = np.linalg.svd(x.T @ y)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])  # no reflection
    R = (U * sign) @ Vt
    scale = float((singular * sign).sum()) / variance
    return np.asarray(scale * x @ R + target_centre)


def _per_frame_errors(
    track: BodyTrack, truth: BodyTrack, anatomy: BodyAnatomy, selected: Bool[np.ndarray, " frames"]
) -> dict[str, Float[np.ndarray, " selected"]]:
    frames = np.flatnonzero(selected)
    parts = {
        "v2v_v1": np.ones(6890, dtype=bool),
        "v2v_hands_v1": anatomy.hand_vertices,
        "v2v_head_v1": anatomy.head_vertices,
        "v2v_trunk_v1": ~(anatomy.hand_vertices | anatomy.head_vertices),
    }
    rows: dict[str, list[float]] = {key: [] for key in parts}
    for key in ("g_mpjpe_h36m14_v1", "mpjpe_h36m14_v1", "pa_mpjpe_h36m14_v1", "transl_v1"):
        rows[key] = []
    for frame in frames:  # one frame at a time: a recording of vertices twice over is a gigabyte
        vertices = track.vertices_camera[frame].astype(np.float64)
        true_vertices = truth.vertices_camera[frame].astype(np.float64)
        distance = np.linalg.norm(vertices - true_vertices, axis=-1)
        for key, part in parts.items():
            rows[key].append(float(distance[part].mean()) if part.any() else np.nan)
        joints = anatomy.h36m_regressor @ vertices
        true_joints = anatomy.h36m_regressor @ true_vertices
        for key, value in joint_errors(joints, true_joints).items():
            rows[key].append(value)
    own = track.joints_camera[frames].astype(np.float64) - truth.joints_camera[frames]
    errors = {key: np.array(values, dtype=np.float64) for key, values in rows.items()}
    return errors | {"g_mpjpe_smpl22_v1": np.linalg.norm(own, axis=-1).mean(axis=1)}


def joint_errors(
    joints: Float[np.ndarray, "17 3"], true_joints: Float[np.ndarray, "17 3"]
) -> dict[str, float]:
    """Errors of one frame's H36M-17 joints, metres: global, pelvis-aligned, Procrustes, pelvis."""
    chosen = list(H36M14)
    shift = true_joints[H36M_PELVIS] - joints[H36M_PELVIS]
    prediction, target = joints[chosen], true_joints[chosen]

    def mean_distance(points: Float[np.ndarray, "14 3"]) -> float:
        return float(np.linalg.norm(points - target, axis=-1).mean())

    return {
        "g_mpjpe_h36m14_v1": mean_distance(prediction),
        "mpjpe_h36m14_v1": mean_distance(prediction + shift),
        "pa_mpjpe_h36m14_v1": mean_distance(similarity_align(prediction, target)),
        "transl_v1": float(np.linalg.norm(shift)),
    }


def _named(subsets: FrameSubsets) -> tuple[tuple[str, Bool[np.ndarray, " frames"]], ...]:
    return (
        ("", subsets.all),
        (".visible", subsets.visible),
        (".occluded", subsets.occluded),
    )
