"""A standing person on a floor, filmed without any noise, and four fits that all are the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.track import pose_track
from pipelines.geometry.meshes import vertex_normals
from pipelines.metrics.reprojection import project_joints
from pipelines.motion_prior.checkpoint import Priors, load_priors
from pipelines.quality.evidence import RecordingEvidence, gather_evidence
from pipelines.records import FittedSequence, SceneScan, SequenceObservations, SmplhParameters

FRAMES = 14
ROWS = ("vposer_t", "humor", "prox_humor", "refined")
K = np.array([[1060.5, 0, 951.3], [0, 1060.4, 536.8], [0, 0, 1]])
# The camera stands 1 m above the floor, looks along +y of the room and is not turned: x right, y down.
T_WORLD_FROM_CAMERA = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 1.0], [0, 0, 0, 1]])
FLOOR_CAMERA = np.array([0.0, -1.0, 0.0, -1.0])


@dataclass(frozen=True)
class Staged:
    """Everything evidence is gathered from; tests change a part of it."""

    observations: SequenceObservations
    scene: SceneScan
    fits: dict[str, FittedSequence]
    files: BodyFiles
    priors: Priors

    def evidence(self) -> RecordingEvidence:
        return gather_evidence(self.observations, self.scene, self.fits, self.files, self.priors)

    def with_result(self, **changes: np.ndarray) -> Staged:
        """The last fit with other parameters."""
        result = self.fits["refined"]
        moved = replace(result, parameters=replace(result.parameters, **changes))
        return replace(self, fits={**self.fits, "refined": moved})

    def with_observations(self, **changes: object) -> Staged:
        return replace(self, observations=replace(self.observations, **changes))


@pytest.fixture(scope="session")
def staged() -> Staged:
    files = resolve_body_files(None)
    fit = _fit(files)
    track = pose_track(fit, files)
    keypoints = np.zeros((FRAMES, 118, 2))
    keypoints[:, :25] = project_joints(track.keypoint_joints_camera, K)
    confidence = np.zeros((FRAMES, 118))
    confidence[:, :25] = 0.9
    points = _front(track.vertices_camera, files)
    observations = SequenceObservations(
        recording="Stage_00034_01",
        scene="Stage",
        gender="male",
        frame_names=fit.frame_names,
        frame_rate_hz=30.0,
        timestamps_s=np.arange(FRAMES) / 30,
        segment_id=np.zeros(FRAMES, np.int64),
        status=fit.status,
        person_seen=np.ones(FRAMES, bool),
        keypoints_px=keypoints,
        keypoints_confidence=confidence,
        points_camera=points,
        num_points=np.full(FRAMES, points.shape[1]),
        K=K,
        image_size_px=(1920, 1080),
        T_world_from_camera=T_WORLD_FROM_CAMERA,
        floor_camera=FLOOR_CAMERA,
    )
    fits = {row: replace(fit, method=row) for row in ROWS}
    return Staged(observations, floor_scene(), fits, files, load_priors())


def floor_scene() -> SceneScan:
    """A floor of two triangles and its distance grid."""
    corners = np.array([[-4.0, -1, 0], [4, -1, 0], [4, 8, 0], [-4, 8, 0]])
    heights = np.linspace(-1, 3, 9, dtype=np.float32)
    return SceneScan(
        "Stage",
        corners,
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.broadcast_to(heights, (3, 3, 9)).copy(),
        np.array([-4.0, -1, -1]),
        np.array([4.0, 8, 3]),
    )


def _fit(files: BodyFiles) -> FittedSequence:
    parameters = SmplhParameters(
        betas=np.zeros((FRAMES, 10)),
        global_orient=np.tile([np.pi, 0.0, 0.0], (FRAMES, 1)),  # upright, facing the camera
        body_pose=np.zeros((FRAMES, 63)),
        transl=np.tile([0.0, 0.0, 3.2], (FRAMES, 1)),
    )
    fit = FittedSequence(
        method="refined",
        recording="Stage_00034_01",
        gender="male",
        frame_names=tuple(f"s001_frame_{number:05d}" for number in range(1, FRAMES + 1)),
        parameters=parameters,
        status=("",) * FRAMES,
        window_id=np.zeros(FRAMES, np.int64),
        T_world_from_camera=T_WORLD_FROM_CAMERA,
        floor_camera=FLOOR_CAMERA,
        contacts=np.zeros((FRAMES, 22)),
    )
    lowest = pose_track(fit, files).vertices_camera[0, :, 1].max()
    parameters.transl[:, 1] += 1.0 - lowest  # soles on the floor, 1 m below the camera
    return fit


def _front(vertices: np.ndarray, files: BodyFiles) -> np.ndarray:
    """Vertices turned to the camera."""
    from pipelines.metrics.anatomy import load_anatomy

    faces = torch.as_tensor(load_anatomy(files).faces)
    first = torch.as_tensor(vertices[0], dtype=torch.float64)
    normals = vertex_normals(first, faces, area_weighted=True).numpy()
    return vertices[:, (normals * vertices[0]).sum(axis=1) < 0].astype(np.float32)
