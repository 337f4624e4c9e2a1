"""Confused left and right limbs get their names back; others keep theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES
from pipelines.fitting.side_swaps import mend_side_swaps

FRAMES = 40
LEGS = [
    row
    for row, name in enumerate(BODY25_NAMES)
    if name.endswith(("_hip", "knee", "ankle", "toe", "heel")) and name != "mid_hip"
]
ONE_SEGMENT = np.zeros(FRAMES, dtype=np.int64)


def walker(seed: int = 0) -> Float[np.ndarray, "frames 25 2"]:
    """Someone who walks across the image, legs swinging past each other, with 3 px of noise."""
    rng = np.random.default_rng(seed)
    at_rest = np.array([[600.0 + 30 * name.startswith("left"), 200.0] for name in BODY25_NAMES])
    at_rest[:, 1] += np.linspace(0, 600, 25)
    time = np.arange(FRAMES)[:, None]
    points = np.tile(at_rest, (FRAMES, 1, 1))
    points[..., 0] += 8 * time
    side = np.array([1.0 if name.startswith("left") else -1.0 for name in BODY25_NAMES])
    swinging = np.isin(np.arange(25), LEGS)
    points[..., 0] += 60 * np.sin(2 * np.pi * time / 30) * side * swinging
    return points + rng.normal(0, 3, points.shape)


def exchanged(points: np.ndarray, frames: slice) -> np.ndarray:
    """The legs' names exchanged in some frames."""
    wrong = points.copy()
    wrong[frames, LEGS] = points[frames][:, [BODY25_FLIP[row] for row in LEGS]]
    return wrong


@pytest.mark.parametrize("frames", [slice(5, 6), slice(5, 9), slice(0, 3), slice(36, 40)])
def test_confused_legs_get_their_names_back(frames: slice) -> None:
    points, confidence = walker(), np.full((FRAMES, 25), 0.8)
    mended = mend_side_swaps(exchanged(points, frames), confidence, ONE_SEGMENT)
    np.testing.assert_array_equal(mended.keypoints_px, points)
    legs = np.zeros(FRAMES, dtype=bool)
    legs[frames] = True
    np.testing.assert_array_equal(mended.exchanged, np.stack([np.zeros_like(legs), legs], axis=1))


@given(st.integers(0, 1000))
def test_legs_that_pass_each_other_keep_their_names(seed: int) -> None:
    points = walker(seed)
    mended = mend_side_swaps(points, np.full((FRAMES, 25), 0.8), ONE_SEGMENT)
    assert not mended.exchanged.any()


def test_confidence_goes_with_its_keypoint() -> None:
    points, confidence = walker(), np.random.default_rng(1).uniform(0.5, 0.9, (FRAMES, 25))
    wrong = confidence.copy()
    wrong[7, LEGS] = confidence[7, [BODY25_FLIP[row] for row in LEGS]]
    mended = mend_side_swaps(exchanged(points, slice(7, 8)), wrong, ONE_SEGMENT)
    np.testing.assert_array_equal(mended.confidence, confidence)


def test_missed_keypoints_neither_count_nor_move() -> None:
    points, confidence = walker(), np.full((FRAMES, 25), 0.8)
    confidence[10:20, LEGS[::2]] = 0
    points[confidence == 0] = 0
    mended = mend_side_swaps(points, confidence, ONE_SEGMENT)
    np.testing.assert_array_equal(mended.keypoints_px, points)


def test_nothing_is_compared_across_segments() -> None:
    points = walker()
    apart = exchanged(points, slice(20, 40))
    two = np.repeat([0, 1], 20)
    mended = mend_side_swaps(apart, np.full((FRAMES, 25), 0.8), two)
    assert not mended.exchanged.any()


def test_hands_and_face_stay_as_they_are() -> None:
    points = np.concatenate([exchanged(walker(), slice(5, 8)), np.zeros((FRAMES, 93, 2))], axis=1)
    points[:, 25:] = np.random.default_rng(2).uniform(0, 500, (FRAMES, 93, 2))
    mended = mend_side_swaps(points, np.full((FRAMES, 118), 0.8), ONE_SEGMENT)
    np.testing.assert_array_equal(mended.keypoints_px[:, 25:], points[:, 25:])
    assert mended.exchanged[5:8, 1].all()


def test_nobody_seen() -> None:
    mended = mend_side_swaps(np.zeros((3, 25, 2)), np.zeros((3, 25)), np.zeros(3, dtype=np.int64))
    assert not mended.exchanged.any()
