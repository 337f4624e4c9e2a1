"""A made-up recording: a point cloud of 6890 vertices that walks over a flat floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from pipelines.metrics.anatomy import BodyAnatomy
from pipelines.metrics.evaluate import RecordingMetrics, evaluate_recording
from pipelines.metrics.reprojection import project_joints
from pipelines.metrics.settings import MetricSettings
from pipelines.records import (
    BodyTrack,
    FittedSequence,
    SceneScan,
    SequenceObservations,
    SmplhParameters,
    SmplxParameters,
    SyntheticTruth,
)

FRAMES = 12
K = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
T_WORLD_FROM_CAMERA = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1], [0, 0, 0, 1]])
"""The camera looks along world y from 1 m above the floor z = 0."""
FLOOR_CAMERA = np.array([0.0, -1.0, 0.0, -1.0])


@dataclass(frozen=True)
class Recording:
    """Everything `evaluate_recording` reads."""

    observations: SequenceObservations
    scene: SceneScan
    truth: SyntheticTruth
    truth_track: BodyTrack
    anatomy: BodyAnatomy


def make_truth_track() -> BodyTrack:
    rng = np.random.default_rng(5)
    vertices = rng.uniform((-0.2, -0.7, 2.9), (0.2, 0.995, 3.1), (6890, 3))
    joints = rng.uniform((-0.2, -0.7, 2.95), (0.2, 0.95, 3.05), (22, 3))
    keypoints = rng.uniform((-0.2, -0.7, 2.95), (0.2, 0.95, 3.05), (25, 3))
    walk = np.arange(FRAMES)[:, None, None] * np.array([0.01, 0, 0])
    tracks = ((points[None] + walk).astype(np.float32) for points in (vertices, joints, keypoints))
    return BodyTrack("truth", *tracks, np.ones(FRAMES, dtype=bool))


def moved(track: BodyTrack, method: str, shift_m: tuple[float, float, float]) -> BodyTrack:
    """The same bodies shifted in the camera frame."""
    shift = np.array(shift_m, dtype=np.float32)
    return replace(
        track,
        method=method,
        vertices_camera=track.vertices_camera + shift,
        joints_camera=track.joints_camera + shift,
        keypoint_joints_camera=track.keypoint_joints_camera + shift,
    )


def make_fit(method: str, window_id: np.ndarray, **changes: object) -> FittedSequence:
    zeros = np.zeros((FRAMES, 3))
    fit = FittedSequence(
        method,
        "Room_00001_01",
        "male",
        tuple(f"s001_frame_{i:05d}" for i in range(FRAMES)),
        SmplhParameters(np.zeros((FRAMES, 10)), zeros, np.zeros((FRAMES, 63)), zeros),
        ("",) * FRAMES,
        window_id,
        T_WORLD_FROM_CAMERA,
        FLOOR_CAMERA,
    )
    return replace(fit, **changes)


def make_recording(name: str = "Room_00001_01", family: str = "walk") -> Recording:
    track = make_truth_track()
    names = tuple(f"s001_frame_{i:05d}" for i in range(FRAMES))
    keypoints = np.zeros((FRAMES, 118, 2))
    keypoints[:, :25] = project_joints(track.keypoint_joints_camera, K)
    keypoints[:, :25] += (3.0, 4.0)
    observations = SequenceObservations(
        recording=name,
        scene="Room",
        gender="male",
        frame_names=names,
        frame_rate_hz=30.0,
        timestamps_s=np.arange(FRAMES) / 30,
        segment_id=np.zeros(FRAMES, dtype=np.int64),
        status=("",) * FRAMES,
        person_seen=np.ones(FRAMES, dtype=bool),
        keypoints_px=keypoints,
        keypoints_confidence=np.full((FRAMES, 118), 0.9),
        points_camera=track.vertices_camera[:, :100],
        num_points=np.full(FRAMES, 100),
        K=K,
        image_size_px=(1920, 1080),
        T_world_from_camera=T_WORLD_FROM_CAMERA,
        floor_camera=FLOOR_CAMERA,
    )
    height = np.linspace(-2, 2, 17, dtype=np.float32)
    scene = SceneScan(
        "Room",
        np.zeros((3, 3)),
        np.zeros((1, 3), dtype=np.int64),
        np.broadcast_to(height, (17, 17, 17)).copy(),
        np.array([-4.0, -4.0, -2.0]),
        np.array([4.0, 4.0, 2.0]),
    )
    hidden = np.zeros((FRAMES, 22), dtype=bool)
    hidden[4:, :1] = True  # 1 of 22: still visible
    hidden[6:, :3] = True  # in between
    hidden[8:, :6] = True  # occluded
    zeros = {name: np.zeros((FRAMES, 3)) for name in ("global_orient", "jaw_pose", "leye_pose")}
    parameters = SmplxParameters(
        betas=np.zeros((FRAMES, 10)),
        expression=np.zeros((FRAMES, 10)),
        body_pose=np.zeros((FRAMES, 63)),
        reye_pose=np.zeros((FRAMES, 3)),
        left_hand_pose=np.zeros((FRAMES, 12)),
        right_hand_pose=np.zeros((FRAMES, 12)),
        transl=np.zeros((FRAMES, 3)),
        **zeros,
    )
    truth = SyntheticTruth(
        name,
        "male",
        family,
        names,
        parameters,
        np.ones(FRAMES, dtype=bool),
        hidden,
        np.ones((FRAMES, 4), dtype=bool),
        np.zeros((FRAMES, 6890), dtype=bool),
        FLOOR_CAMERA,
        T_WORLD_FROM_CAMERA,
    )
    regressor = np.zeros((17, 6890))
    regressor[np.arange(17), np.arange(17) * 10] = 1
    hands, head = np.zeros(6890, dtype=bool), np.zeros(6890, dtype=bool)
    hands[:100], head[100:300] = True, True
    faces = np.zeros((13776, 3), dtype=np.int64)
    return Recording(observations, scene, truth, track, BodyAnatomy(regressor, hands, head, faces))


@pytest.fixture
def recording() -> Recording:
    return make_recording()


@pytest.fixture
def shifted() -> Callable[..., BodyTrack]:
    return moved


@pytest.fixture
def fit() -> Callable[..., FittedSequence]:
    return make_fit


@pytest.fixture(scope="session")
def measured() -> Callable[..., RecordingMetrics]:
    """Metrics of a PROX-style row 60 mm off and a PROX+HuMoR row 20 mm off, in depth and height."""

    @cache
    def measure(
        name: str = "Room_00001_01", family: str = "walk", scale: float = 1.0, **options: object
    ) -> RecordingMetrics:
        made = make_recording(name, family)
        tracks = {
            "prox_style": moved(made.truth_track, "prox_style", (0.0, 0.06 * scale, 0.0)),
            "prox_humor": moved(made.truth_track, "prox_humor", (0.0, 0.02, 0.0)),
        }
        fits = {
            "prox_style": make_fit("prox_style", np.arange(FRAMES)),
            "prox_humor": make_fit("prox_humor", np.repeat([0, 1], FRAMES // 2)),
        }
        return evaluate_recording(
            tracks,
            fits,
            made.observations,
            made.scene,
            made.truth,
            made.truth_track,
            MetricSettings(**options),
            made.anatomy,
        )

    return measure
