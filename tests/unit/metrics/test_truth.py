import math

import numpy as np
import pytest

from pipelines.metrics.truth import (
    acceleration_error,
    frame_subsets,
    joint_errors,
    similarity_align,
    truth_errors,
)


def _subsets(recording):
    selected = np.ones(12, dtype=bool)
    return frame_subsets(recording.truth.joint_hidden, selected, 0.05, 0.25)


def test_global_and_pelvis_aligned_error_by_hand():
    # H36M rows 3 (an evaluated joint) and 0 (the pelvis); all others agree with the truth.
    truth, prediction = np.zeros((17, 3)), np.zeros((17, 3))
    truth[1:] = prediction[1:] = (0, 0, 1)
    prediction[:] += (0.3, 0, 0)
    prediction[1:] += (0, 0, 0.1)
    errors = joint_errors(prediction, truth)
    assert errors["g_mpjpe_h36m14_v1"] == pytest.approx(np.hypot(0.3, 0.1))
    assert errors["mpjpe_h36m14_v1"] == pytest.approx(0.1)
    assert errors["transl_v1"] == pytest.approx(0.3)
    two = [np.hypot(0.3, 0.1), 0.3]  # joint and pelvis of the two-point example: 308.1139, 50 mm
    assert 1000 * np.mean(two) == pytest.approx(308.1139, abs=1e-4)
    assert 1000 * np.mean([0.1, 0.0]) == pytest.approx(50.0)


def test_similarity_alignment_by_hand():
    target = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    source = target * [2, 1, 1]
    error = np.linalg.norm(similarity_align(source, target) - target, axis=1)
    assert error.mean() == pytest.approx(0.3)
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(
        similarity_align(2 * target @ quarter + [3, 4, 5], target), target, atol=1e-12
    )


def test_similarity_alignment_never_mirrors():
    target = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    error = np.linalg.norm(similarity_align(target * [-1, 1, 1], target) - target, axis=1)
    assert error.mean() == pytest.approx(0.428152, abs=1e-6)


def test_subsets_follow_the_share_of_hidden_joints(recording):
    subsets = _subsets(recording)
    assert subsets.visible.tolist() == [True] * 6 + [False] * 6  # 1 of 22 hidden is below 5 %
    assert subsets.occluded.tolist() == [False] * 8 + [True] * 4  # 6 of 22 is above 25 %


def test_a_shift_is_measured_in_every_unaligned_error_and_removed_by_alignment(recording, shifted):
    track = shifted(recording.truth_track, "fit", (0.03, 0.0, 0.04))
    errors = truth_errors(track, recording.truth_track, _subsets(recording), recording.anatomy)
    for key in ("v2v", "v2v_hands", "v2v_head", "v2v_trunk", "g_mpjpe_h36m14", "g_mpjpe_smpl22"):
        assert errors[f"{key}_v1"].value == pytest.approx(50.0, abs=1e-3)
    assert errors["transl_v1"].value == pytest.approx(50.0, abs=1e-3)
    assert errors["mpjpe_h36m14_v1"].value == pytest.approx(0.0, abs=1e-3)
    assert errors["pa_mpjpe_h36m14_v1"].value == pytest.approx(0.0, abs=1e-3)
    assert errors["v2v_v1"].count == 12
    assert errors["v2v_v1.visible"].count == 6
    assert errors["v2v_v1.occluded"].count == 4


def test_visible_and_occluded_frames_are_kept_apart(recording):
    track = recording.truth_track
    vertices = track.vertices_camera.copy()
    vertices[8:] += np.float32(0.1)
    worse = type(track)("fit", vertices, track.joints_camera, track.keypoint_joints_camera, track.valid)
    errors = truth_errors(worse, track, _subsets(recording), recording.anatomy)
    assert errors["v2v_v1.visible"].value == pytest.approx(0.0, abs=1e-3)
    assert errors["v2v_v1.occluded"].value == pytest.approx(100 * 3**0.5, abs=1e-2)


def test_hands_and_head_are_measured_apart(recording):
    track = recording.truth_track
    vertices = track.vertices_camera.copy()
    vertices[:, recording.anatomy.hand_vertices, 0] += np.float32(0.02)
    other = type(track)("fit", vertices, track.joints_camera, track.keypoint_joints_camera, track.valid)
    errors = truth_errors(other, track, _subsets(recording), recording.anatomy)
    assert errors["v2v_hands_v1"].value == pytest.approx(20.0, abs=1e-3)
    assert errors["v2v_head_v1"].value == pytest.approx(0.0, abs=1e-3)
    assert errors["v2v_trunk_v1"].value == pytest.approx(0.0, abs=1e-3)
    assert errors["v2v_v1"].value == pytest.approx(20.0 * 100 / 6890, abs=1e-3)


def test_acceleration_error_sees_what_the_truth_does_not_do(recording):
    track = recording.truth_track
    joints = track.joints_camera.copy()
    joints[5, :, 0] += np.float32(0.01)  # a spike: 9, 18, 9 m/s^2 around frame 5
    other = type(track)("fit", track.vertices_camera, joints, track.keypoint_joints_camera, track.valid)
    errors = acceleration_error(other, track, _subsets(recording), np.zeros(12, dtype=np.int64), 30.0)
    assert errors["accel_error_v1"].value == pytest.approx((9 + 18 + 9) / 10, abs=1e-3)
    assert errors["accel_error_v1.visible"].value == pytest.approx((9 + 18) / 5, abs=1e-3)
    assert errors["accel_error_v1.occluded"].value == pytest.approx(0.0, abs=1e-3)


def test_no_frame_gives_nan(recording, shifted):
    subsets = frame_subsets(recording.truth.joint_hidden, np.zeros(12, dtype=bool), 0.05, 0.25)
    track = recording.truth_track
    errors = truth_errors(track, track, subsets, recording.anatomy)
    assert all(math.isnan(tally.value) and tally.count == 0 for tally in errors.values())
