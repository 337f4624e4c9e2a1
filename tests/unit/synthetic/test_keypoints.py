from __future__ import annotations

import json

import numpy as np
import pytest

from pipelines.bodies.joints import BODY25_FLIP, BODY25_NAMES
from pipelines.synthetic.keypoints import (
    Detections,
    DetectorSettings,
    detect_keypoints,
    frame_json,
    keypoint_sigma_px,
    mirror_detections,
    openpose_json,
)

FRAMES = 800
STEADY = DetectorSettings(swaps_per_100_frames=0.0)


def standing_px(frames: int = FRAMES) -> np.ndarray:
    """A person of the reference height, not moving, in the middle of the image."""
    rng = np.random.default_rng(3)
    points = rng.uniform([860, 350], [1060, 850], (118, 2))
    points[0], points[24] = (960, 317), (960, 317 + 595)
    points[1:3] = [[880, 400], [955, 400]]
    return np.repeat(points[None], frames, axis=0)


def detect(
    *, behind_body: bool = False, behind_scene: bool = False, settings: DetectorSettings = STEADY
) -> tuple[np.ndarray, Detections]:
    true = standing_px()
    flags = np.ones((FRAMES, 118), dtype=bool)
    detections = detect_keypoints(
        true, flags & behind_body, flags & behind_scene, flags, settings, np.random.default_rng(11)
    )
    return true, detections


def test_declared_spread_at_the_two_anchors() -> None:
    sigma = keypoint_sigma_px(np.array([0.9, 0.3, 0.6]), DetectorSettings())
    np.testing.assert_allclose(sigma, [2.5, 10.0, 5.0])


@pytest.mark.parametrize("behind_body", [False, True])
def test_errors_are_as_large_as_the_confidence_says(behind_body: bool) -> None:
    true, detections = detect(behind_body=behind_body)
    found = detections.confidence > 0
    error = (detections.keypoints_px - true)[found]
    extent = np.linalg.norm(np.ptp(true[0, :25], axis=0))
    sigma = keypoint_sigma_px(detections.confidence[found], STEADY) * extent / 600
    for low, high in ((0.3, 0.55), (0.55, 0.75), (0.75, 0.97)):
        bin_ = (detections.confidence[found] >= low) & (detections.confidence[found] < high)
        if bin_.sum() < 2000:
            continue
        assert np.std(error[bin_] / sigma[bin_, None]) == pytest.approx(1.0, abs=0.12)


def test_errors_persist_over_frames() -> None:
    true, detections = detect()
    error = np.where((detections.confidence > 0)[..., None], detections.keypoints_px - true, 0)
    together = (error[1:] * error[:-1]).mean() / (error**2).mean()
    assert 0.35 < together < 0.65


def test_joints_behind_the_scene_are_low_often_missed_and_far_off() -> None:
    true, hidden = detect(behind_scene=True)
    _, seen = detect()
    found = hidden.confidence > 0
    assert 0.4 < (~found).mean() < 0.5
    assert (seen.confidence == 0).mean() < 0.02
    assert hidden.confidence[found].mean() < 0.3
    error = np.linalg.norm(hidden.keypoints_px - true, axis=-1)[found]
    assert np.median(error) > 15


def test_points_outside_the_image_are_never_found() -> None:
    true = standing_px(20)
    inside = np.ones((20, 118), dtype=bool)
    inside[:, 4] = False
    none = np.zeros_like(inside)
    detections = detect_keypoints(true, none, none, inside, STEADY, np.random.default_rng(0))
    assert (detections.confidence[:, 4] == 0).all()
    assert (detections.keypoints_px[:, 4] == 0).all()


def test_swaps_are_rare_and_exchange_both_sides() -> None:
    often = DetectorSettings(swaps_per_100_frames=3.0)
    true, detections = detect(settings=often)
    assert 0.02 < detections.swapped.mean() < 0.15
    knee, other = BODY25_NAMES.index("left_knee"), BODY25_NAMES.index("right_knee")
    to_other = np.linalg.norm(detections.keypoints_px[:, knee] - true[:, other], axis=-1)
    crossed = (to_other < 15) & (detections.confidence[:, knee] > 0)
    assert crossed[detections.swapped].any()
    assert not crossed[~detections.swapped].any()


def test_mirroring_twice_returns_the_same_points() -> None:
    rng = np.random.default_rng(4)
    points, confidence = rng.uniform(0, 1919, (118, 2)), rng.uniform(0.1, 1, 118)
    points[7], confidence[7] = 0, 0
    once = mirror_detections(points, confidence)
    np.testing.assert_allclose(once[0][BODY25_FLIP[7]], 0)
    twice = mirror_detections(*once)
    np.testing.assert_allclose(twice[0], points)
    np.testing.assert_allclose(twice[1], confidence)


def test_raw_keypoints_name_the_other_side_at_the_mirrored_place() -> None:
    points, confidence = np.full((118, 2), 500.0), np.ones(118)
    wrist = BODY25_NAMES.index("left_wrist")
    points[wrist], points[25] = (100.0, 7.0), (101.0, 8.0)
    mirrored, _ = mirror_detections(points, confidence)
    np.testing.assert_allclose(mirrored[BODY25_NAMES.index("right_wrist")], (1819.0, 7.0))
    np.testing.assert_allclose(mirrored[46], (1818.0, 8.0))


def test_file_is_openpose_json_of_the_right_lengths() -> None:
    detections = Detections(standing_px(1), np.full((1, 118), 0.5), np.zeros(1, dtype=bool))
    content = json.loads(openpose_json([frame_json(detections, 0, "flipped")]))
    person = content["people"][0]
    lengths = {
        key: len(person[f"{key}_keypoints_2d"]) for key in ("pose", "face", "hand_left", "hand_right")
    }
    assert lengths == {"pose": 75, "face": 210, "hand_left": 63, "hand_right": 63}
    np.testing.assert_allclose(person["pose_keypoints_2d"][:3], [*standing_px(1)[0, 0], 0.5])
    assert person["face_keypoints_2d"][: 17 * 3] == [0.0] * 51
    np.testing.assert_allclose(person["face_keypoints_2d"][51:53], standing_px(1)[0, 67])


def test_same_generator_gives_the_same_detections() -> None:
    np.testing.assert_array_equal(detect()[1].keypoints_px, detect()[1].keypoints_px)
