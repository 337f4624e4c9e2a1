import math

import numpy as np
import pytest

from pipelines.metrics import plausibility
from pipelines.metrics.plausibility import run_starts
from pipelines.metrics.seams import seam_jump

FLOOR_ONE_METRE_BELOW = np.array([0.0, -1.0, 0.0, -1.0])
"""Camera frame, y down: the floor lies at y = 1."""
RATE_HZ = 30.0


def _chain(frames):
    return np.ones(frames, dtype=bool), np.zeros(frames, dtype=np.int64)


def _line(positions, joints=22):
    points = np.zeros((len(positions), joints, 3))
    points[..., 0] = np.asarray(positions)[:, None]
    return points


def _feet(heights_m, step_m, frames=3):
    """Ankles and toes at a height above the floor, moving along it; other joints far up."""
    joints = np.zeros((frames, 22, 3))
    joints[..., 1] = -1.0
    for joint in (7, 8, 10, 11):
        joints[:, joint, 1] = 1.0 - heights_m
        joints[:, joint, 0] = step_m * np.arange(frames)
    return joints


def test_acceleration_by_hand():
    tallies = plausibility.acceleration(_line([0, 0.01, 0.03]), *_chain(3), RATE_HZ)
    assert tallies["accel_v1"].value == pytest.approx(9.0)
    assert tallies["accel_v1"].count == 22
    assert tallies["accel_root_v1"].value == pytest.approx(0.0)


def test_jitter_by_hand():
    tally = plausibility.jitter(_line([0, 0.001, 0.008, 0.027]), *_chain(4), RATE_HZ)
    assert tally.value == pytest.approx(16.2)
    assert tally.unit == "10 m/s³"


def test_toe_floor_penetration_by_hand():
    joints = np.zeros((2, 22, 3))
    joints[:, [10, 11], 1] = 1.0 - np.array([[0.02, -0.01], [-0.05, 0.0]])
    tallies = plausibility.floor_penetration(joints, FLOOR_ONE_METRE_BELOW)
    frequencies = [tallies[f"floor_frequency_{t:02d}_v1"].value for t in (0, 3, 6, 9, 12, 15)]
    assert frequencies == pytest.approx([50, 25, 0, 0, 0, 0])
    assert tallies["floor_depth_v1"].value == pytest.approx(30.0)
    assert tallies["floor_product_v1"].value == pytest.approx(15.0)
    assert tallies["floor_mean_frequency_v1"].value == pytest.approx(12.5)
    assert tallies["rohm_floor_depth_v1"].value == pytest.approx(15.0)
    assert tallies["rohm_floor_frequency_v1"].count == 4


@pytest.mark.parametrize(("depth_m", "expected"), [(0.049, 0.0), (0.051, 100.0)])
def test_rohm_counts_toes_deeper_than_5_cm(depth_m, expected):
    joints = np.full((1, 22, 3), 1.0 + depth_m)
    tallies = plausibility.floor_penetration(joints, FLOOR_ONE_METRE_BELOW)
    assert tallies["rohm_floor_frequency_v1"].value == expected


def test_height_above_a_camera_frame_floor():
    points = np.array([[0.0, 0.9, 3.0], [0.0, 1.02, 3.0]])
    assert plausibility.heights(points, FLOOR_ONE_METRE_BELOW) == pytest.approx([0.1, -0.02])


@pytest.mark.parametrize(("step_m", "expected"), [(0.004, 100.0), (0.003, 0.0)])
def test_rohm_skating_by_hand(step_m, expected):
    joints = _feet(0.05, step_m)
    tally = plausibility.skating_ratio(joints, FLOOR_ONE_METRE_BELOW, *_chain(3), RATE_HZ)
    assert tally.value == expected
    assert tally.count == 2


@pytest.mark.parametrize("joint", [7, 8, 10, 11])
def test_one_foot_joint_at_rest_or_in_the_air_is_no_skating(joint):
    for change in ("rest", "lift"):
        joints = _feet(0.05, 0.01)
        if change == "rest":
            joints[:, joint, 0] = 0
        else:
            joints[:, joint, 1] = 0.5
        tally = plausibility.skating_ratio(joints, FLOOR_ONE_METRE_BELOW, *_chain(3), RATE_HZ)
        assert tally.value == 0.0


def test_lifting_a_foot_straight_up_is_no_slide():
    joints = _feet(0.05, 0.0)
    joints[:, [7, 8, 10, 11], 1] -= 0.01 * np.arange(3)[:, None]
    tally = plausibility.skating_ratio(joints, FLOOR_ONE_METRE_BELOW, *_chain(3), RATE_HZ)
    assert tally.value == 0.0


def test_slide_counts_only_feet_planted_in_both_frames():
    joints, keypoints = _feet(0.05, 0.002, frames=4), np.zeros((4, 25, 3))
    contact = np.zeros((4, 4), dtype=bool)
    contact[:3, 0] = True  # left toe planted in frames 0..2: two steps
    tallies = plausibility.planted_slide(
        joints, keypoints, contact, FLOOR_ONE_METRE_BELOW, *_chain(4), RATE_HZ
    )
    assert tallies["skate_slide_v1"].value == pytest.approx(2.0)
    assert tallies["skate_speed_v1"].value == pytest.approx(6.0)
    assert tallies["skate_slide_v1"].count == 2
    assert tallies["skate_slide_v1"].skipped == {"not_planted": 10}


def test_heels_are_read_from_body25():
    joints, keypoints = np.zeros((2, 22, 3)), np.zeros((2, 25, 3))
    keypoints[1, 24, 2] = 0.007  # right heel
    contact = np.zeros((2, 4), dtype=bool)
    contact[:, 3] = True
    tallies = plausibility.planted_slide(
        joints, keypoints, contact, FLOOR_ONE_METRE_BELOW, *_chain(2), RATE_HZ
    )
    assert tallies["skate_slide_v1"].value == pytest.approx(7.0)


def test_motion_is_not_measured_across_gaps_and_segments():
    selected, segment = np.ones(9, dtype=bool), np.repeat([0, 1], [5, 4])
    selected[7] = False
    assert run_starts(selected, segment, 2).tolist() == [0, 1, 2, 3, 5]
    assert run_starts(selected, segment, 3).tolist() == [0, 1, 2]
    assert run_starts(selected[:2], segment[:2], 3).tolist() == []
    jump = _line([0, 0, 0, 100, 100, 100])
    tallies = plausibility.acceleration(jump, np.ones(6, dtype=bool), np.repeat([0, 1], 3), RATE_HZ)
    assert tallies["accel_v1"].value == 0.0
    assert tallies["accel_v1"].skipped == {"not_consecutive": 2}


def test_one_frame_has_no_motion():
    tallies = plausibility.acceleration(np.zeros((1, 22, 3)), *_chain(1), RATE_HZ)
    assert math.isnan(tallies["accel_v1"].value)
    assert math.isnan(plausibility.jitter(np.zeros((1, 22, 3)), *_chain(1), RATE_HZ).value)


def test_contact_accuracy_counts_equal_flags_of_nine_joints():
    joints = _feet(0.03, 0.0)
    contacts = np.zeros((3, 22))
    contacts[:, [7, 10, 11]] = 0.9  # right ankle missed
    tally = plausibility.contact_accuracy(contacts, joints, FLOOR_ONE_METRE_BELOW, *_chain(3))
    assert tally.value == pytest.approx(100 * 8 / 9)
    joints[:, 10] += np.arange(3)[:, None] * 0.006  # left toe now moves: no contact
    tally = plausibility.contact_accuracy(contacts, joints, FLOOR_ONE_METRE_BELOW, *_chain(3))
    assert tally.value == pytest.approx(100 * 7 / 9)


def test_one_way_chamfer_by_hand():
    a, b = np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 0.1]])
    assert plausibility.one_way_chamfer(a, b).mean() == pytest.approx(0.552494, abs=1e-6)
    assert plausibility.one_way_chamfer(b, a).mean() == pytest.approx(0.1)
    assert (plausibility.one_way_chamfer(a, b) ** 2).mean() == pytest.approx(0.51)


def test_seam_jump_is_the_seam_step_over_the_inside_step():
    joints = _line([0, 1, 2, 5, 6, 7])
    tallies = seam_jump(joints, np.array([0, 0, 0, 1, 1, 1]), *_chain(6))
    assert tallies["seam_jump_v1"].value == pytest.approx(3.0)
    assert tallies["seam_jump_v1"].count == 22


def test_a_fast_stretch_around_a_seam_does_not_count_against_the_local_ratio():
    slow, fast = np.arange(40) * 0.01, 0.4 + np.arange(20) * 0.1
    joints = _line(np.concatenate([slow, fast]))
    window_id = np.repeat([0, 1], [50, 10])
    tallies = seam_jump(joints, window_id, *_chain(60))
    assert tallies["seam_jump_v1"].value > 2
    assert tallies["seam_jump_local_v1"].value == pytest.approx(1.0)


def test_window_changes_between_segments_are_no_seams():
    tallies = seam_jump(
        _line([0, 1, 50, 51]), np.array([0, 0, 1, 1]), np.ones(4, bool), np.array([0, 0, 1, 1])
    )
    assert tallies["seam_jump_v1"].count == 0
    assert math.isnan(tallies["seam_jump_v1"].value)


def test_a_per_frame_method_has_no_seam_ratio():
    tallies = seam_jump(_line([0, 1, 2]), np.arange(3), *_chain(3))
    assert math.isnan(tallies["seam_jump_v1"].value)
    assert tallies["seam_jump_v1"].count == 0
    assert tallies["seam_jump_v1"].skipped == {"no_step_inside_a_window": 2}
