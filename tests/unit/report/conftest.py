"""A made-up recording of points before a flat scene, small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.records import BodyTrack, SceneScan, SequenceObservations
from pipelines.report.measures import (
    CONTACT_PERCENT,
    DEPTH_MAX_CM,
    DEPTH_MEAN_CM,
    INSIDE_PERCENT,
    REPROJECTION_PX,
    STEP_MM,
    V2V_MM,
    FrameMeasures,
)

FRAMES = 6
K = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])


@pytest.fixture
def scene() -> SceneScan:
    """A distance that is the height above z = 0; the scan is two triangles."""
    height = np.linspace(-2, 2, 17, dtype=np.float32)
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return SceneScan(
        "Room",
        corners,
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.broadcast_to(height, (17, 17, 17)).copy(),
        np.array([-2.0, -2.0, -2.0]),
        np.array([2.0, 2.0, 2.0]),
    )


@pytest.fixture
def observations() -> SequenceObservations:
    """The camera is the world; every joint is at the image centre, 5 px off its detection."""
    keypoints = np.zeros((FRAMES, 118, 2))
    keypoints[:] = (963.0, 544.0)
    return SequenceObservations(
        recording="Room_00001_01",
        scene="Room",
        gender="male",
        frame_names=tuple(f"s001_frame_{i:05d}" for i in range(FRAMES)),
        frame_rate_hz=30.0,
        timestamps_s=10 + np.arange(FRAMES) / 30,
        segment_id=np.array([0, 0, 0, 0, 1, 1]),
        status=("",) * FRAMES,
        person_seen=np.ones(FRAMES, dtype=bool),
        keypoints_px=keypoints,
        keypoints_confidence=np.full((FRAMES, 118), 0.9),
        points_camera=np.zeros((FRAMES, 4, 3), np.float32),
        num_points=np.full(FRAMES, 100),
        K=K,
        image_size_px=(1920, 1080),
        T_world_from_camera=np.eye(4),
        floor_camera=np.array([0.0, -1.0, 0.0, -1.0]),
    )


@pytest.fixture
def track() -> BodyTrack:
    """All vertices 1 m above the scene, but ten 3 cm and one 6 cm inside, and twenty 1 cm above."""
    vertices = np.zeros((FRAMES, 6890, 3), np.float32)
    vertices[..., 2] = 1.0
    vertices[:, :10, 2] = -0.03
    vertices[:, 10, 2] = -0.06
    vertices[:, 11:31, 2] = 0.01
    joints = np.zeros((FRAMES, 22, 3), np.float32)
    joints[..., 0] = 0.002 * np.arange(FRAMES)[:, None]
    keypoints = np.zeros((FRAMES, 25, 3), np.float32)
    keypoints[..., 2] = 2.0
    valid = np.ones(FRAMES, dtype=bool)
    valid[5] = False
    return BodyTrack("refined", vertices, joints, keypoints, valid)


def make_measures(v2v_mm: np.ndarray, **conditions: np.ndarray) -> FrameMeasures:
    """One method, 10 frames a second."""
    number = len(v2v_mm)
    flat = {
        name: np.ones(number)
        for name in (
            REPROJECTION_PX,
            DEPTH_MEAN_CM,
            DEPTH_MAX_CM,
            INSIDE_PERCENT,
            CONTACT_PERCENT,
            STEP_MM,
        )
    }
    return FrameMeasures(
        "Room_00001_01",
        tuple(f"s001_frame_{i:05d}" for i in range(number)),
        np.arange(number) / 10,
        {"refined": {**flat, V2V_MM: v2v_mm}},
        conditions,
        np.arange(number) // 20,
        np.zeros(number, dtype=np.int64),
    )


@pytest.fixture
def thirty_frames() -> FrameMeasures:
    """10 mm, but frames 12 to 21 with 50 mm and a peak in frame 15; there most joints are hidden."""
    v2v = np.full(30, 10.0)
    v2v[12:22] = 50
    v2v[15] = 60
    v2v[3] = np.nan
    hidden = np.full(30, 5.0)
    hidden[12:22] = 60
    return make_measures(v2v, hidden_percent=hidden)
