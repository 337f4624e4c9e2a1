import logging
import math

import numpy as np
import pytest

from pipelines.metrics.reprojection import (
    project_joints,
    reprojection,
    reprojection_to_truth,
    warn_if_mirrored,
)
from pipelines.metrics.settings import MetricSettings
from pipelines.metrics.tally import Tally

K = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
JOINTS = MetricSettings().joint_indices
NOSE, NECK, RIGHT_SHOULDER, RIGHT_ELBOW = 0, 1, 2, 3


@pytest.fixture
def scene_of_three_joints():
    """Nose 5 px off, right shoulder 12 px off, right elbow at confidence 0.75 exactly."""
    joints = np.zeros((1, 25, 3))
    joints[..., 2] = 2.0
    keypoints, confidence = np.zeros((1, 25, 2)), np.zeros((1, 25))
    joints[0, NOSE] = (0.1, 0.2, 2.0)
    keypoints[0, NOSE], confidence[0, NOSE] = (1013, 644), 0.9
    joints[0, RIGHT_SHOULDER] = (0, 0, 2)
    keypoints[0, RIGHT_SHOULDER], confidence[0, RIGHT_SHOULDER] = (960, 552), 0.8
    keypoints[0, RIGHT_ELBOW], confidence[0, RIGHT_ELBOW] = (0, 0), 0.75
    return joints, keypoints, confidence


def test_projection_by_hand():
    pixels = project_joints(np.array([[[0.1, 0.2, 2.0], [0.0, 0.0, 2.0]]]), K)
    np.testing.assert_allclose(pixels, [[[1010, 640], [960, 540]]])


def test_two_joints_by_hand(scene_of_three_joints):
    tallies = reprojection(*scene_of_three_joints, K, JOINTS)
    assert tallies["reproj_pooled_v1"].value == pytest.approx(8.5)
    assert tallies["reproj_pooled_v1"].unit == "px"
    assert tallies["reproj_rms_v1"].value == pytest.approx(9.1924, abs=1e-4)
    assert tallies["reproj_pooled_v1"].count == 2
    assert tallies["reproj_pooled_v1"].skipped == {"confidence_not_above_threshold": 20}


def test_pooled_weighs_observations_and_per_frame_weighs_frames(scene_of_three_joints):
    joints, keypoints, confidence = (np.repeat(a, 2, axis=0) for a in scene_of_three_joints)
    confidence[1, RIGHT_SHOULDER] = 0.0
    tallies = reprojection(joints, keypoints, confidence, K, JOINTS)
    assert tallies["reproj_pooled_v1"].value == pytest.approx(22 / 3)
    assert tallies["reproj_frame_v1"].value == pytest.approx((8.5 + 5) / 2)
    assert tallies["reproj_frame_v1"].count == 2


def test_neck_and_hips_count_only_in_the_all25_variant(scene_of_three_joints):
    joints, keypoints, confidence = scene_of_three_joints
    confidence[0, NECK], keypoints[0, NECK] = 0.9, (960, 640)
    tallies = reprojection(joints, keypoints, confidence, K, JOINTS)
    assert tallies["reproj_pooled_v1"].value == pytest.approx(8.5)
    assert tallies["reproj_all25_v1"].value == pytest.approx((5 + 12 + 100) / 3)
    all25 = MetricSettings(joint_set="all25").joint_indices
    assert reprojection(joints, keypoints, confidence, K, all25)["reproj_pooled_v1"].count == 3


def test_joints_behind_the_camera_or_not_finite_are_skipped_and_counted(scene_of_three_joints):
    joints, keypoints, confidence = scene_of_three_joints
    confidence[0, 4:7] = 0.9
    joints[0, 4] = (0, 0, -2)
    joints[0, 5] = (np.nan, 0, 2)
    joints[0, 6] = (0, 0, 0)
    tally = reprojection(joints, keypoints, confidence, K, JOINTS)["reproj_pooled_v1"]
    assert tally.value == pytest.approx(8.5)
    assert tally.skipped == {
        "confidence_not_above_threshold": 17,
        "behind_camera": 2,
        "not_finite": 1,
    }


def test_no_confident_detection_gives_nan_and_count_zero():
    tallies = reprojection(np.ones((3, 25, 3)), np.zeros((3, 25, 2)), np.zeros((3, 25)), K, JOINTS)
    for tally in tallies.values():
        assert math.isnan(tally.value)
        assert tally.count == 0
    assert tallies["reproj_frame_v1"].skipped["frames_without_observation"] == 3


def test_against_truth_the_detectors_noise_plays_no_part(scene_of_three_joints):
    joints, _, confidence = scene_of_three_joints
    truth = joints.copy()
    truth[0, NOSE, 0] += 0.006  # 3 px at 2 m
    tallies = reprojection_to_truth(joints, truth, confidence, K, (1920, 1080), JOINTS)
    assert tallies["reproj_truth_v1"].value == pytest.approx(1.5)
    assert tallies["reproj_truth_v1"].count == 2
    assert tallies["reproj_truth_all_v1"].value == pytest.approx(3 / 22)
    assert tallies["reproj_truth_all_v1"].count == 22


def test_true_joints_outside_the_image_are_left_out_of_the_undetected_variant():
    joints = np.zeros((1, 25, 3))
    joints[..., 2] = 2.0
    joints[0, NOSE, 0] = 5.0
    tally = reprojection_to_truth(joints, joints, np.zeros((1, 25)), K, (1920, 1080), JOINTS)[
        "reproj_truth_all_v1"
    ]
    assert tally.count == 21
    assert tally.skipped == {"true_joint_outside_image": 1}


def test_a_huge_mean_warns_of_mirrored_keypoints(caplog):
    with caplog.at_level(logging.WARNING):
        assert warn_if_mirrored("humor", "Room_00001_01", Tally("reproj_pooled_v1", 900.0, 3), 200.0)
        assert not warn_if_mirrored("humor", "Room_00001_01", Tally("reproj_pooled_v1", 9.0, 3), 200.0)
    assert "Room_00001_01, humor: mean reprojection 300 px" in caplog.text
    assert "mirrored or left/right-unswapped" in caplog.text
    assert len(caplog.records) == 1


def test_mirroring_the_keypoints_of_a_person_at_the_side_trips_the_smell_test(scene_of_three_joints):
    joints, keypoints, confidence = scene_of_three_joints
    joints[0, :, 0] += 1.0
    keypoints = project_joints(joints, K)
    assert 1919 - 100.0 == 1819.0  # the mirror of a column, consistent with flipping the image
    keypoints[..., 0] = 1919 - keypoints[..., 0]
    tally = reprojection(joints, keypoints, confidence, K, JOINTS)["reproj_pooled_v1"]
    assert tally.value > MetricSettings().smell_test_px
