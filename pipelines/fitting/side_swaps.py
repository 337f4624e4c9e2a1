"""Left and right limbs that the detector confused for some frames, told by how the keypoints move.

A detector looks at one image at a time, so for a few frames it may call the left leg right. Keypoints then
jump across the body and back; exchanging the two sides for those frames makes the track smooth.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES
from pipelines.records import SequenceObservations

LOGGER = logging.getLogger(__name__)

_SIDES: Final = ("left", "right")
_LIMBS: Final = {
    "arms": ("shoulder", "elbow", "wrist"),
    "legs": ("hip", "knee", "ankle", "big_toe", "small_toe", "heel"),
}
_FARTHEST: Final = 0.25
"""In person extents: a keypoint that moves farther in a frame is an outlier, not a motion."""
_UNKNOWN: Final = 0.05
"""In person extents: what a keypoint costs that is missing in one of two frames. More than it usually moves,
so that an exchange never pays because it pairs found keypoints with missing ones."""
_EXCHANGE_COST: Final = 0.005
"""In person extents per keypoint and frame: sides stay as they were found unless that is clearly worse,
so that limbs that pass each other in the image, where both readings are alike, keep their names. Not
weighted by confidence, so that hidden limbs, whose keypoints wander, keep theirs too."""


@dataclass(frozen=True, slots=True, eq=False)
class MendedKeypoints:
    """Keypoints with the sides exchanged where they were confused."""

    keypoints_px: Float[np.ndarray, "frames keypoints 2"]
    confidence: Float[np.ndarray, "frames keypoints"]
    exchanged: Bool[np.ndarray, "frames limbs"]
    """Frames in which arms or legs changed names."""


def with_sides_mended(observations: SequenceObservations) -> SequenceObservations:
    """The observations with confused limbs given their names back; how many frames is logged."""
    mended = mend_side_swaps(
        observations.keypoints_px, observations.keypoints_confidence, observations.segment_id
    )
    for limb, count in zip(_LIMBS, mended.exchanged.sum(0), strict=True):
        if count:
            LOGGER.info(
                "%s: left and right %s exchanged in %d of %d frames, where the detector confused them",
                observations.recording,
                limb,
                count,
                len(mended.exchanged),
            )
    return replace(
        observations, keypoints_px=mended.keypoints_px, keypoints_confidence=mended.confidence
    )


def mend_side_swaps(
    keypoints_px: Float[np.ndarray, "frames keypoints 2"],
    confidence: Float[np.ndarray, "frames keypoints"],
    segment_id: Int[np.ndarray, " frames"],
) -> MendedKeypoints:
    """Give confused limbs their names back, arms and legs each for themselves.

    For each pair of limbs and each segment the cheapest path through "as found" and "exchanged" is taken:
    a frame costs what its keypoints moved since the frame before, in person extents, weighted by
    confidence; exchanged frames cost a little more. Keypoints beyond BODY_25 stay as they are.

    Differs from HuMoR and PROX, which take keypoints as they are.

    Args:
        keypoints_px: un-mirrored image; rows of confidence 0 do not count.
        confidence: 0 where a keypoint was not found.
        segment_id: nothing is compared across segments.
    """
    points, seen = keypoints_px.copy(), confidence.copy()
    exchanged = np.zeros((len(points), len(_LIMBS)), dtype=bool)
    extent_px = _person_extent(keypoints_px[:, :25], confidence[:, :25])
    for limb, parts in enumerate(_LIMBS.values()):
        rows = np.array([BODY25_NAMES.index(f"{side}_{part}") for side in _SIDES for part in parts])
        partners = np.array(BODY25_FLIP)[rows]
        for segment in np.unique(segment_id):
            frames = np.flatnonzero(segment_id == segment)
            as_found, other = np.ix_(frames, rows), np.ix_(frames, partners)
            cost = _step_costs(
                np.stack([keypoints_px[as_found], keypoints_px[other]]) / extent_px,
                np.stack([confidence[as_found], confidence[other]]),
            )
            wrong = _cheapest_path(cost, _EXCHANGE_COST * (confidence[as_found] > 0).sum(1))
            exchanged[frames, limb] = wrong
            into, origin = np.ix_(frames[wrong], rows), np.ix_(frames[wrong], partners)
            points[into], seen[into] = keypoints_px[origin], confidence[origin]
    return MendedKeypoints(points, seen, exchanged)


def _person_extent(
    keypoints_px: Float[np.ndarray, "frames 25 2"], confidence: Float[np.ndarray, "frames 25"]
) -> float:
    """Median diagonal of the box round the keypoints of a frame."""
    found = np.where(confidence[..., None] > 0, keypoints_px, np.nan)[(confidence > 0).sum(1) >= 2]
    if len(found) == 0:
        return 1.0
    return float(np.median(np.linalg.norm(np.nanmax(found, 1) - np.nanmin(found, 1), axis=1)).clip(1.0))


def _step_costs(
    points: Float[np.ndarray, "2 frames rows 2"], confidence: Float[np.ndarray, "2 frames rows"]
) -> Float[np.ndarray, "steps 2 2"]:
    """Cost of every step from one reading of a frame to one of the next."""
    moved = np.linalg.norm(points[:, None, :-1] - points[None, :, 1:], axis=-1).clip(max=_FARTHEST)
    both = np.sqrt(confidence[:, None, :-1] * confidence[None, :, 1:])
    cost = np.where(both > 0, moved * both, _UNKNOWN)
    return np.asarray(cost.sum(-1).transpose(2, 0, 1))


def _cheapest_path(
    step_cost: Float[np.ndarray, "steps 2 2"], exchange_cost: Float[np.ndarray, " frames"]
) -> Bool[np.ndarray, " frames"]:
    """Viterbi over two readings; ties go to what was found."""
    best = np.array([0.0, exchange_cost[0]])
    origins = np.zeros((len(exchange_cost), 2), dtype=np.int64)
    for frame, cost in enumerate(step_cost, start=1):
        arriving = best[:, None] + cost
        origins[frame] = arriving.argmin(0)
        best = arriving.min(0) + np.array([0.0, exchange_cost[frame]])
    reading = np.zeros(len(exchange_cost), dtype=np.int64)
    reading[-1] = best.argmin()
    for frame in range(len(exchange_cost) - 1, 0, -1):
        reading[frame - 1] = origins[frame, reading[frame]]
    return reading == 1
