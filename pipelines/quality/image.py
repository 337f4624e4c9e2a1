"""Do joints project onto the detected keypoints, and how sure was the detector?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import median_filter

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES, IGNORED_BODY25
from pipelines.metrics.reprojection import project_joints
from pipelines.quality.evidence import RecordingEvidence
from pipelines.quality.settings import ObservableSettings
from pipelines.quality.time import by_segment, carried
from pipelines.records import BodyTrack

_USED = tuple(joint for joint in range(25) if joint not in IGNORED_BODY25)
_PAIRED = {
    "arm": ("shoulder", "elbow", "wrist"),
    "leg": ("knee", "ankle", "big_toe", "heel"),
}
_WORST = 3
"""The mean of so many worst joints: one joint alone is noise."""


def image_observables(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Reprojection in mm at the body's depth, of the result and of every other fit; the detector's own signs.

    `keypoints_sides_mm`: by how much arms or legs would agree better if left and right changed places
    (0 if not). `keypoints_jump_mm`: distance of the keypoints from their own running median, relative to
    the pelvis, worst joints. `keypoints_missing_share` and `keypoints_doubt` (1 - mean confidence).
    """
    observations = evidence.observations
    confidence = observations.keypoints_confidence[:, :25]
    found = confidence > settings.confidence
    error = _errors_mm(evidence, evidence.track, settings)
    columns = {
        "reprojection_mm": _weighted_mean(error, confidence),
        "reprojection_worst_mm": _worst_mean(error, found),
        "keypoints_sides_mm": _gain_of_other_sides(evidence, error, found, settings),
        "keypoints_jump_mm": _jump(evidence, found, settings),
        "keypoints_missing_share": 1.0 - found[:, _USED].mean(axis=1),
        "keypoints_doubt": 1.0 - confidence[:, _USED].mean(axis=1),
    }
    for row, track in evidence.others.items():
        error = _errors_mm(evidence, track, settings)
        columns[f"reprojection_mm.{row}"] = _weighted_mean(error, confidence)
        columns[f"reprojection_worst_mm.{row}"] = _worst_mean(error, found)
    return columns


def _errors_mm(
    evidence: RecordingEvidence,
    track: BodyTrack,
    settings: ObservableSettings,
    order: tuple[int, ...] | None = None,
) -> Float[np.ndarray, "frames 25"]:
    """Distance of keypoints from projected joints, scaled to the joint's depth, cut at `far_px_mm`."""
    observations = evidence.observations
    joints = track.keypoint_joints_camera
    keypoints = observations.keypoints_px[:, :25]
    keypoints = keypoints if order is None else keypoints[:, order]
    pixels = project_joints(joints, observations.K)
    error_px = np.linalg.norm(pixels - keypoints, axis=-1)
    error_mm = 1e3 * error_px * joints[..., 2] / observations.K[0, 0]
    return np.minimum(np.where(np.isfinite(error_mm), error_mm, settings.far_px_mm), settings.far_px_mm)


def _weighted_mean(
    error: Float[np.ndarray, "frames 25"], confidence: Float[np.ndarray, "frames 25"]
) -> Float[np.ndarray, " frames"]:
    error, weight = error[:, _USED], confidence[:, _USED]
    with np.errstate(invalid="ignore"):
        return np.asarray((error * weight).sum(axis=1) / weight.sum(axis=1))


def _worst_mean(
    error: Float[np.ndarray, "frames 25"], found: np.ndarray
) -> Float[np.ndarray, " frames"]:
    error = np.where(found, error, -np.inf)[:, _USED]
    worst = np.sort(error, axis=1)[:, -_WORST:]
    return np.where(np.isfinite(worst).all(axis=1), worst.mean(axis=1), np.nan)


def _gain_of_other_sides(
    evidence: RecordingEvidence,
    error: Float[np.ndarray, "frames 25"],
    found: np.ndarray,
    settings: ObservableSettings,
) -> Float[np.ndarray, " frames"]:
    flipped = _errors_mm(evidence, evidence.track, settings, BODY25_FLIP)
    both = found & found[:, BODY25_FLIP]
    gain = np.zeros(len(error))
    for parts in _PAIRED.values():
        rows = [BODY25_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in parts]
        count = both[:, rows].sum(axis=1)
        difference = np.where(both, error - flipped, 0.0)[:, rows].sum(axis=1)
        gain = np.maximum(gain, difference / np.maximum(count, 1))
    return gain


def _jump(
    evidence: RecordingEvidence, found: np.ndarray, settings: ObservableSettings
) -> Float[np.ndarray, " frames"]:
    """Keypoints move with the person; what leaves their running median at once is a mistake or fast."""
    observations, segments = evidence.observations, evidence.observations.segment_id
    pelvis = carried(evidence.track.joints_camera[:, :1].astype(np.float64), evidence.valid, segments)
    offset = np.nan_to_num(project_joints(pelvis, observations.K))
    tracks = observations.keypoints_px[:, :25] - offset
    for joint in _USED:  # a joint that is missing stays where it was last
        tracks[:, joint] = carried(tracks[:, joint], found[:, joint], segments)
    median = by_segment(
        lambda part: median_filter(part, size=(settings.median_frames, 1, 1), mode="nearest"),
        tracks,
        segments,
    )
    distance_px = np.linalg.norm(tracks - median, axis=-1)
    distance_mm = 1e3 * distance_px * pelvis[:, :, 2] / observations.K[0, 0]
    return _worst_mean(np.minimum(distance_mm, settings.far_px_mm), found)
