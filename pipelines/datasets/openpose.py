"""OpenPose keypoints in PROX's row order, and their mirror image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.bodies.joints import IGNORED_BODY25, PROX118_FLIP
from pipelines.datasets.layout import read_json
from pipelines.errors import DataInvalid

NUM_KEYPOINTS = 118
BODY_ROWS = slice(0, 25)
LEFT_HAND_ROWS = slice(25, 46)
RIGHT_HAND_ROWS = slice(46, 67)
FACE_ROWS = slice(67, 118)
"""Face landmarks 17..67: without the contour (0..16) and the pupils (68, 69)."""

_FIELDS: tuple[tuple[str, int, slice, slice], ...] = (
    ("pose_keypoints_2d", 25, BODY_ROWS, slice(0, 25)),
    ("hand_left_keypoints_2d", 21, LEFT_HAND_ROWS, slice(0, 21)),
    ("hand_right_keypoints_2d", 21, RIGHT_HAND_ROWS, slice(0, 21)),
    ("face_keypoints_2d", 70, FACE_ROWS, slice(17, 68)),
)

_TINY = 1e-9
"""Confidence 0 is "not found", whatever the threshold."""


def read_people(path: Path) -> Float[np.ndarray, "people 118 3"]:
    """Every detected person: x, y (pixels of the image OpenPose saw), confidence.

    Hands or face that OpenPose did not run on have confidence 0, like single missing points. Numbers
    are as stored, so they may be NaN; see `without_broken`.

    Raises:
        DataMissing: no such file.
        DataInvalid: empty, not JSON, or numbers missing.
    """
    return parse_people(read_json(path), source=path)


def parse_people(content: Any, source: object) -> Float[np.ndarray, "people 118 3"]:
    """The people of one OpenPose file's content."""
    people = content.get("people") if isinstance(content, dict) else None
    if not isinstance(people, list):
        raise DataInvalid("OpenPose file has no list `people`", where=source)
    keypoints = np.zeros((len(people), NUM_KEYPOINTS, 3))
    for row, person in enumerate(people):
        for field, count, target, chosen in _FIELDS:
            keypoints[row, target] = _triples(person, field, count, source)[chosen]
    return keypoints


def without_broken(
    people: Float[np.ndarray, "people 118 3"],
) -> tuple[Float[np.ndarray, "people 118 3"], int]:
    """NaN, infinite and negatively confident keypoints become "not found" (0, 0, 0); and their count."""
    broken = ~np.isfinite(people).all(axis=-1) | (people[..., 2] < 0)
    return np.where(broken[..., None], 0.0, people), int(broken.sum())


def mirror_keypoints(
    keypoints: Float[np.ndarray, "*people 118 3"], width_px: int
) -> Float[np.ndarray, "*people 118 3"]:
    """Keypoints found on the mirrored image -> the true image: x reversed and left/right exchanged.

    Forgetting the exchange gives bodies that face backwards. Applying it twice changes nothing.
    Differs from HuMoR: x' = width - 1 - x, as an image flip moves pixel centres; HuMoR is 1 px off.
    """
    mirrored = keypoints[..., PROX118_FLIP, :].copy()
    mirrored[..., 0] = width_px - 1 - mirrored[..., 0]
    return mirrored


def confident_body(
    keypoints: Float[np.ndarray, "118 3"], min_confidence: float
) -> tuple[Float[np.ndarray, "points 2"], Int[np.ndarray, " points"]]:
    """Pixels and rows of the body keypoints that can be trusted.

    Neck and hips are left out, as by every fit (OpenPose and SMPL place them differently).
    """
    trusted = keypoints[BODY_ROWS, 2] >= max(min_confidence, _TINY)
    trusted[list(IGNORED_BODY25)] = False
    rows = np.flatnonzero(trusted)
    return keypoints[rows, :2], rows


def on_mask(
    pixels: Float[np.ndarray, "points 2"], person: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, " points"]:
    """Which points lie on the person mask; points outside the image do not."""
    height, width = person.shape
    column, row = np.rint(pixels).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hit = np.zeros(len(pixels), dtype=bool)
    hit[inside] = person[row[inside], column[inside]]
    return hit


def _triples(person: Any, field: str, count: int, source: object) -> Float[np.ndarray, "points 3"]:
    values = person.get(field, []) if isinstance(person, dict) else None
    if values == [] and field != "pose_keypoints_2d":
        return np.zeros((count, 3))
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != (3 * count,):
        raise DataInvalid(
            f"OpenPose field {field} is wrong",
            where=source,
            expected=f"{3 * count} numbers",
            found=f"shape {array.shape}",
            fix="run OpenPose with BODY_25 (and hands and face) and its JSON output",
        )
    return array.reshape(count, 3)
