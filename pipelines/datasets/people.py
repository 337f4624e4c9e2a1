"""One person among several: whose keypoints, and which part of the common mask."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.datasets.openpose import BODY_ROWS, confident_body, on_mask

_BONES = (
    *((0, 1), (1, 8), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)),
    *((8, 9), (9, 10), (10, 11), (8, 12), (12, 13), (13, 14)),
    *((11, 22), (11, 24), (14, 19), (14, 21), (0, 15), (0, 16), (15, 17), (16, 18)),
)
"""Pairs of BODY_25 rows."""
_TINY = 1e-9


def choose_person(
    people: Float[np.ndarray, "people 118 3"],
    person: Bool[np.ndarray, "height width"] | None,
    previous: Float[np.ndarray, "118 3"] | None,
    min_confidence: float,
) -> int:
    """Row of the person whose confident keypoints overlap the mask most.

    Ties (two people on one mask, or no mask) go to the one nearer to the person of the frame before,
    then to the one with more confidence in total.

    Differs from HuMoR, which takes the first of the file.
    """
    scores: list[tuple[float, float, float]] = []
    for keypoints in people:
        points, _ = confident_body(keypoints, min_confidence)
        overlap = int(on_mask(points, person).sum()) if person is not None else 0
        nearness = -_distance(keypoints, previous, min_confidence)
        scores.append((float(overlap), nearness, float(keypoints[BODY_ROWS, 2].sum())))
    return max(range(len(scores)), key=scores.__getitem__)


def own_mask(
    person: Bool[np.ndarray, "height width"],
    mine: Float[np.ndarray, "118 3"],
    others: list[Float[np.ndarray, "118 3"]],
    min_confidence: float,
) -> Bool[np.ndarray, "height width"]:
    """The part of a mask of several people that is ours.

    A connected part with keypoints of one person alone is that person's. A part shared by several is
    split, and one without any keypoint given away whole, by which skeleton is nearer.
    """
    _, parts = cv2.connectedComponents(person.astype(np.uint8), connectivity=8)
    labels: Int[np.ndarray, "height width"] = np.asarray(parts)
    my_parts = _parts_under([mine], person, labels, min_confidence)
    their_parts = _parts_under(others, person, labels, min_confidence)
    nearer = _distance_to_bones([mine], person.shape, min_confidence) <= _distance_to_bones(
        others, person.shape, min_confidence
    )
    keep = np.zeros(labels.max() + 1, dtype=bool)
    for part in range(1, len(keep)):
        if part in my_parts or part in their_parts:
            keep[part] = part in my_parts
        else:
            keep[part] = nearer[labels == part].mean() > 0.5
    shared = np.isin(labels, list(my_parts & their_parts))
    return person & keep[labels] & (nearer | ~shared)


def _parts_under(
    people: list[Float[np.ndarray, "118 3"]],
    person: Bool[np.ndarray, "height width"],
    labels: Int[np.ndarray, "height width"],
    min_confidence: float,
) -> set[int]:
    pixels = np.concatenate([confident_body(keypoints, min_confidence)[0] for keypoints in people])
    column, row = np.rint(pixels[on_mask(pixels, person)]).astype(np.int64).T
    return set(labels[row, column].tolist())


def _distance_to_bones(
    people: list[Float[np.ndarray, "118 3"]], shape: tuple[int, ...], min_confidence: float
) -> Float[np.ndarray, "height width"]:
    canvas = np.ones(shape, np.uint8)
    for keypoints in people:
        found = keypoints[BODY_ROWS, 2] >= max(min_confidence, _TINY)
        pixels = np.rint(keypoints[BODY_ROWS, :2]).astype(np.int64)
        for a, b in _BONES:
            if found[a] and found[b]:
                cv2.line(canvas, pixels[a].tolist(), pixels[b].tolist(), 0, 1)
        for point in pixels[found]:
            cv2.circle(canvas, point.tolist(), 1, 0, -1)
    return np.asarray(cv2.distanceTransform(canvas, cv2.DIST_L2, 3))


def _distance(
    keypoints: Float[np.ndarray, "118 3"],
    previous: Float[np.ndarray, "118 3"] | None,
    min_confidence: float,
) -> float:
    if previous is None:
        return 0.0
    both = np.minimum(keypoints[BODY_ROWS, 2], previous[BODY_ROWS, 2]) >= max(min_confidence, _TINY)
    if not both.any():
        return float("inf")
    offsets = keypoints[BODY_ROWS, :2][both] - previous[BODY_ROWS, :2][both]
    return float(np.median(np.linalg.norm(offsets, axis=1)))
