"""Which image OpenPose saw: the mirrored raw files or the true image. Found out or checked, not assumed.

Four kinds of keypoints are in use (datasets page, 1.10); two need un-mirroring. A wrong choice puts the
keypoints on the other side of the image; un-mirroring x without exchanging left and right gives
bodies that face backwards. Both are caught here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES
from pipelines.datasets.openpose import confident_body, mirror_keypoints
from pipelines.datasets.settings import KeypointsFrame
from pipelines.errors import DataInvalid

Evidence = Literal["fits", "mask", "settings", "another recording", "no keypoints"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """When frames decide: each votes for the reading that is better by the margin."""

    margin_px: float
    min_votes: int
    majority: float
    min_ratio: float
    """Mean error of the worse reading over that of the better one."""


# A few clear frames decide; many that say the same do too, as when the person keeps to the middle of
# the image, where both readings differ by the pose alone.
_RULES = {
    "fits": (_Rule(10.0, 3, 0.8, 1.0), _Rule(2.0, 8, 0.9, 1.5)),
    "mask": (_Rule(4.0, 3, 0.8, 1.0), _Rule(0.5, 8, 0.9, 1.5)),
}
_SIDE_MARGIN_PX = 10.0
_CLIP_PX = {"fits": 300.0, "mask": 150.0}
_STRIDE = 2
_MAJORITY = 0.8
_MIN_SIDE_VOTES = 6
_FACING_CONFIDENCE = 0.65
_NOSE, _RIGHT_EYE, _LEFT_EYE = (BODY25_NAMES.index(n) for n in ("nose", "right_eye", "left_eye"))


@dataclass(frozen=True, slots=True, eq=False)
class KeypointsSample:
    """One frame's evidence, true image."""

    people: Float[np.ndarray, "people 118 3"]
    """As stored."""
    person: Bool[np.ndarray, "height width"] | None
    """Person mask of the colour image."""
    fitted_px: Float[np.ndarray, "25 2"] | None
    """BODY_25 joints of a released fit."""


@dataclass(frozen=True, slots=True)
class KeypointsFrameFinding:
    """What was found, and on what grounds."""

    frame: KeypointsFrame
    evidence: Evidence
    clear: bool = True
    """False where small differences decided; they do not overrule what is declared."""
    votes_raw: int = 0
    """Frames that fit better when un-mirrored."""
    votes_flipped: int = 0
    """Frames that fit better as they are."""
    error_raw_px: float = float("nan")
    error_flipped_px: float = float("nan")


def find_keypoints_frame(
    samples: Sequence[KeypointsSample],
    width_px: int,
    min_confidence: float,
    declared: Literal["auto", "raw", "flipped"],
    recording: str,
) -> KeypointsFrameFinding | None:
    """Compare both readings of the keypoints with the released fits, else with the person mask.

    Returns:
        The finding; None when nothing is declared and the evidence does not decide.

    Raises:
        DataInvalid: the evidence contradicts what is declared, or left and right are exchanged.
    """
    finding: KeypointsFrameFinding | None = None
    for evidence in ("fits", "mask"):
        errors = np.array([_errors(s, evidence, width_px, min_confidence) for s in samples])
        finding = _vote(errors.reshape(-1, 2), evidence)
        if finding is not None:
            break
    if declared != "auto" and finding is not None and not finding.clear:
        finding = None
    if declared != "auto" and finding is not None and finding.frame != declared:
        raise DataInvalid(
            f"PROX recording {recording}: keypoints are not in the {declared} image",
            expected=f"keypoints_frame {declared}",
            found=f"{finding.frame}: mean distance from the {finding.evidence} "
            f"{finding.error_raw_px:.0f} px read as raw, {finding.error_flipped_px:.0f} px as flipped",
            fix=f"set prox.keypoints_frame to {finding.frame} or auto",
        )
    if finding is None and declared != "auto":
        finding = KeypointsFrameFinding(declared, "settings")
    if finding is not None:
        _check_sides(samples, finding, width_px, min_confidence, recording)
    return finding


def read_as(
    people: Float[np.ndarray, "people 118 3"], frame: KeypointsFrame, width_px: int
) -> Float[np.ndarray, "people 118 3"]:
    """Stored keypoints -> true image."""
    return mirror_keypoints(people, width_px) if frame == "raw" else people


def _errors(
    sample: KeypointsSample, evidence: str, width_px: int, min_confidence: float
) -> tuple[float, float]:
    """Mean distance (px) of the best person read as raw and as flipped; NaN without evidence."""
    readings = (mirror_keypoints(sample.people, width_px), sample.people)
    if evidence == "fits":
        raw, flipped = (_fit_error(people, sample.fitted_px, min_confidence) for people in readings)
    else:
        distance = _distance_to_mask(sample.person)
        raw, flipped = (_mask_error(people, distance, min_confidence) for people in readings)
    return raw, flipped


def _vote(errors: Float[np.ndarray, "frames 2"], evidence: str) -> KeypointsFrameFinding | None:
    errors = errors[np.isfinite(errors).all(axis=1)]
    difference = errors[:, 0] - errors[:, 1]
    grounds: Evidence = "fits" if evidence == "fits" else "mask"
    for rule in _RULES[grounds]:
        votes_flipped = int((difference > rule.margin_px).sum())
        votes_raw = int((difference < -rule.margin_px).sum())
        total = votes_raw + votes_flipped
        if total < rule.min_votes or max(votes_raw, votes_flipped) < rule.majority * total:
            continue
        means = errors.mean(axis=0).tolist()
        if max(means) >= rule.min_ratio * min(means):
            frame: KeypointsFrame = "raw" if votes_raw > votes_flipped else "flipped"
            clear = rule is _RULES[grounds][0]
            return KeypointsFrameFinding(frame, grounds, clear, votes_raw, votes_flipped, *means)
    return None


def _check_sides(
    samples: Sequence[KeypointsSample],
    finding: KeypointsFrameFinding,
    width_px: int,
    min_confidence: float,
    recording: str,
) -> None:
    """Refuse keypoints whose left and right are exchanged in most frames."""
    votes = []
    for sample in samples:
        for person in read_as(sample.people, finding.frame, width_px):
            vote = _sides_by_fit(person, sample.fitted_px, min_confidence)
            votes.append(_sides_by_face(person) if vote is None else vote)
    cast = [vote for vote in votes if vote is not None]
    exchanged = sum(not vote for vote in cast)
    if len(cast) >= _MIN_SIDE_VOTES and exchanged > _MAJORITY * len(cast):
        raise DataInvalid(
            f"PROX recording {recording}: left and right of the keypoints are exchanged",
            expected="a person who faces the camera has the right eye left of the left eye",
            found=f"the reverse in {exchanged} of {len(cast)} frames that tell",
            fix="the keypoints were mirrored without renaming left and right (or the reverse); "
            "run OpenPose again on the raw or the flipped images",
        )


def _sides_by_fit(
    person: Float[np.ndarray, "118 3"],
    fitted_px: Float[np.ndarray, "25 2"] | None,
    min_confidence: float,
) -> bool | None:
    if fitted_px is None:
        return None
    as_named = _fit_error(person[None], fitted_px, min_confidence)
    exchanged = _fit_error(person[None], fitted_px[list(BODY25_FLIP)], min_confidence)
    if not abs(as_named - exchanged) > _SIDE_MARGIN_PX:
        return None
    return as_named < exchanged


def _sides_by_face(person: Float[np.ndarray, "118 3"]) -> bool | None:
    """True or False for an upright head that surely faces the camera, else None."""
    nose, right_eye, left_eye = person[[_NOSE, _RIGHT_EYE, _LEFT_EYE]]
    if min(nose[2], right_eye[2], left_eye[2]) < _FACING_CONFIDENCE:
        return None
    across, down = left_eye[0] - right_eye[0], nose[1] - (left_eye[1] + right_eye[1]) / 2
    tilt = abs(left_eye[1] - right_eye[1])
    if abs(across) < 2 * tilt or down <= 0:
        return None
    return bool(across > 0)


def _fit_error(
    people: Float[np.ndarray, "people 118 3"],
    fitted_px: Float[np.ndarray, "25 2"] | None,
    min_confidence: float,
) -> float:
    best = float("nan")
    for person in people if fitted_px is not None else ():
        pixels, rows = confident_body(person, min_confidence)
        if len(rows):
            assert fitted_px is not None
            distance = np.linalg.norm(pixels - fitted_px[rows], axis=1)
            best = np.fmin(best, np.minimum(distance, _CLIP_PX["fits"]).mean())
    return float(best)


def _distance_to_mask(
    person: Bool[np.ndarray, "height width"] | None,
) -> Float[np.ndarray, "rows columns"] | None:
    """Distance (px) to the nearest person pixel, at every second row and column."""
    if person is None or not person.any():
        return None
    coarse = (~person[::_STRIDE, ::_STRIDE]).astype(np.uint8)  # to 2 px is enough, and four times faster
    return np.asarray(cv2.distanceTransform(coarse, cv2.DIST_L2, 3)) * _STRIDE


def _mask_error(
    people: Float[np.ndarray, "people 118 3"],
    distance: Float[np.ndarray, "rows columns"] | None,
    min_confidence: float,
) -> float:
    best = float("nan")
    for person in people if distance is not None else ():
        pixels, rows = confident_body(person, min_confidence)
        if len(rows):
            assert distance is not None
            height, width = distance.shape
            column = np.rint(pixels[:, 0] / _STRIDE).astype(np.int64).clip(0, width - 1)
            row = np.rint(pixels[:, 1] / _STRIDE).astype(np.int64).clip(0, height - 1)
            best = np.fmin(best, np.minimum(distance[row, column], _CLIP_PX["mask"]).mean())
    return float(best)
