"""OpenPose files of every origin come out the same."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.bodies.joints import PROX118_FLIP
from pipelines.capture.keypoints import understand_keypoints
from pipelines.datasets.openpose import mirror_keypoints
from pipelines.errors import DataInvalid

WIDTH, HEIGHT = 640, 480
BODY = {0: (0, -60), 15: (-6, -66), 16: (6, -66), 2: (-20, -40), 5: (20, -40), 4: (-25, 5), 7: (25, 5)}
BODY |= {10: (-10, 40), 13: (10, 40), 11: (-10, 75), 14: (10, 75)}


def true_people(frames: int = 12) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Someone who faces the camera and walks in the left half of the image; and their masks."""
    people, masks = [], []
    for frame in range(frames):
        rows = np.zeros((1, 118, 3))
        center = np.array([120 + 6 * frame, 240])
        for row, offset in BODY.items():
            rows[0, row] = (*(center + offset), 0.9)
        mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
        mask[center[1] - 80 : center[1] + 80, center[0] - 32 : center[0] + 32] = True
        people.append(rows)
        masks.append(mask)
    return people, masks


def only_x(people: np.ndarray) -> np.ndarray:
    moved = people.copy()
    found = moved[..., 2] > 0
    moved[..., 0] = np.where(found, WIDTH - 1 - moved[..., 0], 0)
    return moved


STORED = {
    "as a person sees it": lambda people: people,
    "of mirrored images": lambda people: mirror_keypoints(people, WIDTH),
    "left and right exchanged": lambda people: people[:, PROX118_FLIP],
    "x mirrored, names kept": only_x,
    "shares of the image": lambda people: people / np.array([WIDTH, HEIGHT, 1.0]),
}


@pytest.mark.parametrize("kind", STORED)
def test_every_kind_is_read_as_the_truth(kind: str) -> None:
    people, masks = true_people()
    stored = [STORED[kind](frame) for frame in people]
    reading = understand_keypoints(stored, masks, (WIDTH, HEIGHT), "here")
    assert reading.decided
    assert reading.said
    for frame, truth in zip(stored, people, strict=True):
        read = reading.true_px(frame, WIDTH)
        found = truth[..., 2] > 0
        np.testing.assert_array_equal(read[..., 2] > 0, found)
        np.testing.assert_allclose(read[found], truth[found], atol=1e-6)


def test_without_evidence_they_are_taken_as_they_are_and_it_is_said() -> None:
    people, masks = true_people()
    reading = understand_keypoints(
        people, [np.zeros_like(mask) for mask in masks], (WIDTH, HEIGHT), "here"
    )
    assert not reading.decided
    assert "nothing tells" in reading.said[-1]


def test_keypoints_of_a_larger_image_are_refused() -> None:
    people, masks = true_people()
    larger = [frame * np.array([3.0, 3.0, 1.0]) for frame in people]
    with pytest.raises(DataInvalid, match="outside the colour image"):
        understand_keypoints(larger, masks, (WIDTH, HEIGHT), "here")
