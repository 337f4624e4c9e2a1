"""OpenPose as the synthetic tree imitates it: noise that the confidence tells, misses, swaps, JSON.

Detections are made in the distorted colour image (where a detector would look), for a whole recording
at once, so that errors persist over neighbouring frames as a real detector's do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import lfilter

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES, FACE51_FLIP
from pipelines.config import Settings

NUM_KEYPOINTS = 118
BODY, LEFT_HAND, RIGHT_HAND, FACE = slice(0, 25), slice(25, 46), slice(46, 67), slice(67, 118)
NUM_FACE_CONTOUR, NUM_PUPILS = 17, 2
IMAGE_WIDTH_PX = 1920
_ARM, _LEG = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle", "big_toe", "small_toe", "heel")


class DetectorSettings(Settings):
    """How good the imitated detector is."""

    sigma_at_90_px: float = 2.5
    """Standard deviation per axis at confidence 0.9, for a person of `reference_height_px`."""
    sigma_at_30_px: float = 10.0
    """The same at confidence 0.3; in between (and beyond) the logarithm is linear."""
    reference_height_px: float = 600.0
    """Extent of the person's body joints that the pixel figures above and below are for."""
    correlated_share: float = 0.6
    """Share of the error's variance that persists over frames."""
    correlation_frames: float = 6.0
    """After so many frames the persistent part has forgotten 63 % of itself."""
    confidence_visible: tuple[float, float, float] = (0.86, 0.66, 0.82)
    """Mean for body, hands, face when nothing hides the joint."""
    confidence_behind_body: float = 0.52
    """Mean when the person's own body hides the joint."""
    confidence_behind_scene: float = 0.22
    """Mean when the room hides the joint."""
    confidence_spread: float = 0.07
    """Standard deviation of the slow part; a flicker of half of it is added."""
    hallucination_px: float = 22.0
    """Extra slow error of joints hidden by the scene, at the reference height."""
    miss_visible: float = 0.006
    """Share of frames in which a joint that nothing hides is not found at all (0, 0, 0)."""
    miss_behind_body: float = 0.06
    """The same for joints behind the person's own body."""
    miss_behind_scene: float = 0.45
    """The same for joints behind the room."""
    swaps_per_100_frames: float = 1.0
    """Starts of a left/right swap of one pair of limbs, each lasting 1 to 4 frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Keypoints of one person over a recording, PROX row order, true image."""

    keypoints_px: Float[np.ndarray, "frames 118 2"]
    confidence: Float[np.ndarray, "frames 118"]
    swapped: Bool[np.ndarray, " frames"]
    """True where a limb pair carries the wrong side."""


def detect_keypoints(
    true_px: Float[np.ndarray, "frames 118 2"],
    behind_body: Bool[np.ndarray, "frames 118"],
    behind_scene: Bool[np.ndarray, "frames 118"],
    inside: Bool[np.ndarray, "frames 118"],
    settings: DetectorSettings,
    rng: np.random.Generator,
) -> Detections:
    """Imitate a detector.

    Args:
        true_px: projected joints, distorted colour image.
        behind_body: hidden by the person's own body.
        behind_scene: hidden by the room.
        inside: within the image; others are never found.
        settings: the detector.
        rng: of the recording.
    """
    frames = len(true_px)
    confidence = _draw_confidence(frames, behind_body, behind_scene, settings, rng)
    scale = _person_scale(true_px, inside, settings.reference_height_px)
    sigma = keypoint_sigma_px(confidence, settings) * scale[:, None]
    share = settings.correlated_share
    slow = _persistent((frames, NUM_KEYPOINTS, 2), settings.correlation_frames, rng)
    fast = rng.standard_normal((frames, NUM_KEYPOINTS, 2))
    error = sigma[..., None] * (np.sqrt(share) * slow + np.sqrt(1 - share) * fast)
    drift = _persistent((frames, NUM_KEYPOINTS, 2), 15.0, rng) * settings.hallucination_px
    error += np.where(behind_scene[..., None], drift * scale[:, None, None], 0)
    found = true_px + error
    confidence, missed = _miss(confidence, behind_body, behind_scene, settings, rng)
    missed |= ~inside | ~_within_image(found)
    found, confidence = np.where(missed[..., None], 0, found), np.where(missed, 0, confidence)
    found, confidence, swapped = _swap_limbs(found, confidence, settings, rng)
    # OpenPose prints six digits; rounding here keeps the JSON short and the bytes repeatable.
    return Detections(np.round(found, 3), np.round(confidence, 6), swapped)


def keypoint_sigma_px(
    confidence: Float[np.ndarray, "*shape"], settings: DetectorSettings
) -> Float[np.ndarray, "*shape"]:
    """Standard deviation per axis that a confidence stands for, at the reference height."""
    rate = np.log(settings.sigma_at_30_px / settings.sigma_at_90_px) / 0.6
    return settings.sigma_at_90_px * np.exp(rate * (0.9 - confidence))


def _draw_confidence(
    frames: int,
    behind_body: Bool[np.ndarray, "frames 118"],
    behind_scene: Bool[np.ndarray, "frames 118"],
    settings: DetectorSettings,
    rng: np.random.Generator,
) -> Float[np.ndarray, "frames 118"]:
    body, hand, face = settings.confidence_visible
    mean = np.full((frames, NUM_KEYPOINTS), body)
    mean[:, LEFT_HAND], mean[:, RIGHT_HAND], mean[:, FACE] = hand, hand, face
    mean = np.where(behind_body, np.minimum(mean, settings.confidence_behind_body), mean)
    mean = np.where(behind_scene, settings.confidence_behind_scene, mean)
    mood = _persistent((frames, NUM_KEYPOINTS), 10.0, rng) * settings.confidence_spread
    flicker = rng.standard_normal((frames, NUM_KEYPOINTS)) * settings.confidence_spread * 0.5
    return np.clip(mean + mood + flicker, 0.05, 0.97)


def _persistent(
    shape: tuple[int, ...], correlation_frames: float, rng: np.random.Generator
) -> Float[np.ndarray, "frames *rest"]:
    """First-order autoregressive noise of unit variance along axis 0."""
    keep = np.exp(-1 / correlation_frames)
    drive = rng.standard_normal(shape)
    drive[1:] *= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], drive, axis=0))


def _person_scale(
    true_px: Float[np.ndarray, "frames 118 2"],
    inside: Bool[np.ndarray, "frames 118"],
    reference_height_px: float,
) -> Float[np.ndarray, " frames"]:
    """Size of the person relative to the reference, from the spread of the body joints."""
    body = np.where(inside[:, BODY, None], true_px[:, BODY], np.nan)
    seen = inside[:, BODY].sum(axis=1) >= 2
    extent = np.full(len(true_px), reference_height_px)
    span = np.nanmax(body[seen], axis=1) - np.nanmin(body[seen], axis=1)
    extent[seen] = np.linalg.norm(span, axis=1)
    return np.clip(extent / reference_height_px, 0.4, 2.0)


def _miss(
    confidence: Float[np.ndarray, "frames 118"],
    behind_body: Bool[np.ndarray, "frames 118"],
    behind_scene: Bool[np.ndarray, "frames 118"],
    settings: DetectorSettings,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "frames 118"], Bool[np.ndarray, "frames 118"]]:
    rate = np.where(behind_body, settings.miss_behind_body, settings.miss_visible)
    rate = np.where(behind_scene, settings.miss_behind_scene, rate)
    # A uniform variable that persists over frames: misses come in runs.
    level = _persistent(confidence.shape, 4.0, rng)
    threshold = _normal_quantile(rate)
    return confidence, level < threshold


def _normal_quantile(probability: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    from scipy.special import ndtri

    return np.asarray(ndtri(probability))


def _within_image(points: Float[np.ndarray, "frames 118 2"]) -> Bool[np.ndarray, "frames 118"]:
    size = np.array([IMAGE_WIDTH_PX, 1080])
    return np.asarray(((points >= 0) & (points <= size - 1)).all(axis=-1))


def _swap_limbs(
    found: Float[np.ndarray, "frames 118 2"],
    confidence: Float[np.ndarray, "frames 118"],
    settings: DetectorSettings,
    rng: np.random.Generator,
) -> tuple[
    Float[np.ndarray, "frames 118 2"], Float[np.ndarray, "frames 118"], Bool[np.ndarray, " frames"]
]:
    frames = len(found)
    swapped = np.zeros(frames, dtype=bool)
    starts = np.flatnonzero(rng.random(frames) < settings.swaps_per_100_frames / 100)
    for start in starts:
        limb = _ARM if rng.random() < 0.3 else _LEG
        span = slice(start, min(start + int(rng.integers(1, 5)), frames))
        rows = [BODY25_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in limb]
        partners = [BODY25_FLIP[row] for row in rows]
        found[span, rows], confidence[span, rows] = found[span, partners], confidence[span, partners]
        swapped[span] = True
    return found, confidence, swapped


def mirror_detections(
    keypoints_px: Float[np.ndarray, "118 2"], confidence: Float[np.ndarray, "118"]
) -> tuple[Float[np.ndarray, "118 2"], Float[np.ndarray, "118"]]:
    """What the detector says of the mirrored image: x -> 1919 - x and every side takes the other's name.

    Missing points stay (0, 0).
    """
    partner = np.concatenate(
        [
            np.array(BODY25_FLIP),
            np.arange(46, 67),
            np.arange(25, 46),
            67 + np.array(FACE51_FLIP),
        ]
    )
    mirrored = keypoints_px[partner].copy()
    found = confidence[partner] > 0
    mirrored[found, 0] = IMAGE_WIDTH_PX - 1 - mirrored[found, 0]
    return mirrored, confidence[partner]


def openpose_person(
    keypoints_px: Float[np.ndarray, "118 2"], confidence: Float[np.ndarray, "118"]
) -> dict[str, Any]:
    """One entry of `people`; the face's contour and pupils, which the body does not have, are zero."""
    rows = np.round(np.column_stack([keypoints_px, confidence]), 6)
    face = np.concatenate([np.zeros((NUM_FACE_CONTOUR, 3)), rows[FACE], np.zeros((NUM_PUPILS, 3))])
    person: dict[str, Any] = {
        "person_id": [-1],
        "pose_keypoints_2d": rows[BODY].ravel().tolist(),
        "face_keypoints_2d": face.ravel().tolist(),
        "hand_left_keypoints_2d": rows[LEFT_HAND].ravel().tolist(),
        "hand_right_keypoints_2d": rows[RIGHT_HAND].ravel().tolist(),
    }
    for part in ("pose", "face", "hand_left", "hand_right"):
        person[f"{part}_keypoints_3d"] = []
    return person


def openpose_json(people: list[dict[str, Any]]) -> bytes:
    """A whole OpenPose file."""
    return json.dumps({"version": 1.3, "people": people}, separators=(",", ":")).encode()


def frame_json(detections: Detections, frame: int, image: Literal["raw", "flipped"]) -> dict[str, Any]:
    """One frame's person, in the frame the keypoints of this tree are declared to be in."""
    points, confidence = detections.keypoints_px[frame], detections.confidence[frame]
    if image == "raw":
        points, confidence = mirror_detections(points, confidence)
    return openpose_person(points, confidence)
