"""A stand-in body in front of a wall: frames with known truth for the PROX-style fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.joints import body_joint
from pipelines.bodies.model import load_smplx
from pipelines.bodies.parts import HEAD_PART, head_vertices_smplx, read_contact_parts
from pipelines.fitting.prox_style import camera
from pipelines.fitting.prox_style.baseline import _body_sets, _frame_data, _scene_terms
from pipelines.fitting.prox_style.body import COLUMNS, NUM_PARAMETERS, pose_frames
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.pairs import visible_vertices
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.records import SceneScan, SequenceObservations


class TurnDecoder:
    """A pose prior made by hand: 32 of the 63 rotation-vector numbers, half a radian per unit."""

    def __init__(self) -> None:
        joints = ("left_hip", "right_hip", "left_knee", "right_knee", "left_shoulder", "right_shoulder")
        limbs = [body_joint(name) for name in (*joints, "left_elbow", "right_elbow", "spine1", "neck")]
        columns = [3 * (joint - 1) + axis for joint in limbs for axis in range(3)]
        columns += [3 * (body_joint("left_ankle") - 1), 3 * (body_joint("right_ankle") - 1)]
        self._columns = torch.tensor(columns)

    def decode(self, latent: Tensor) -> Tensor:
        """Rotation matrices of the 21 body joints."""
        chosen = torch.zeros(32, 63, dtype=latent.dtype)
        chosen[torch.arange(32), self._columns] = 0.5
        return rotvec_to_rotmat((latent @ chosen).unflatten(-1, (21, 3)))


class ProxStage:
    """Four noise-free frames of a standing stand-in before a wall: facing, back turned, both again."""

    def __init__(self, files: BodyFiles) -> None:
        self.files, self.prior = files, TurnDecoder()
        self.segments = {
            **read_contact_parts(files.segments),
            HEAD_PART: head_vertices_smplx(files.segments),
        }
        self.body = load_smplx(files, "male")
        self.true_parameters = self._truth()
        self.scene = _room()
        self.observations = self._observe()

    def _truth(self) -> Tensor:
        generator = torch.Generator().manual_seed(4)
        parameters = torch.zeros(4, NUM_PARAMETERS)
        parameters[:, COLUMNS["latent"]] = 0.5 * torch.randn(4, 32, generator=generator)
        parameters[:, COLUMNS["latent"]][:, [14, 17]] = torch.tensor([-1.8, 1.8])  # arms down
        parameters[:, COLUMNS["betas"]] = 0.7 * torch.randn(1, 10, generator=generator)
        start = torch.tensor([camera.upright(0.0), camera.upright(0.5)] * 2)
        parameters[:, COLUMNS["global_orient"]] = start + 0.1
        parameters[:, COLUMNS["transl"]] = torch.tensor([0.1, -0.1, 2.6])
        return parameters

    def _observe(self) -> SequenceObservations:
        with torch.no_grad():
            posed = pose_frames(self.true_parameters, self.body, self.prior)
        K = np.array([[1060.0, 0, 960], [0, 1060.0, 540], [0, 0, 1]])
        keypoints = project_pinhole(posed.keypoints_camera.double(), torch.as_tensor(K)).numpy()
        generator = np.random.default_rng(0)
        points = []
        for vertices in posed.vertices_camera.numpy():
            seen = np.flatnonzero(visible_vertices(vertices, self.body.faces.numpy()))
            points.append(vertices[generator.choice(seen, 1500)])
        frames = len(points)
        return SequenceObservations(
            recording="Stage_00001_01",
            scene="Stage",
            gender="male",
            frame_names=tuple(f"f{k}" for k in range(frames)),
            frame_rate_hz=30.0,
            timestamps_s=np.arange(frames) / 30,
            segment_id=np.zeros(frames, np.int64),
            status=("",) * frames,
            person_seen=np.ones(frames, dtype=bool),
            keypoints_px=keypoints,
            keypoints_confidence=np.full((frames, 118), 0.8),
            points_camera=np.stack(points).astype(np.float32),
            num_points=np.full(frames, 6000),
            K=K,
            image_size_px=(1920, 1080),
            T_world_from_camera=np.eye(4),
            floor_camera=np.array([0.0, -1.0, 0.0, -1.2]),
        )

    def objective(
        self, frames: list[int], dtype: torch.dtype = torch.float32, num_points: int = 1024
    ) -> Objective:
        """The energy of some of the frames."""
        settings = ProxStyleSettings(num_points=num_points)
        data = _frame_data(self.observations, np.array(frames), num_points)
        terms = _scene_terms(self.scene, self.observations)
        if dtype == torch.float64:
            data = replace(
                data,
                **{
                    name: getattr(data, name).double()
                    for name in ("keypoints_px", "confidence", "initial_transl", "K")
                },
            )
            terms = replace(
                terms,
                T_world_from_camera=terms.T_world_from_camera.double(),
                sdf=SdfGrid.from_scene(self.scene, dtype),
            )
        sets = _body_sets(self.segments, self.files, len(self.body.skinning.template))
        body = load_smplx(self.files, "male", dtype)
        return Objective(data, terms, sets, body, self.prior, settings)

    def vertex_error_m(self, parameters: Tensor, frames: list[int]) -> Tensor:
        """Mean distance of all vertices to the truth, per frame."""
        with torch.no_grad():
            found, true = (
                pose_frames(rows, self.body, self.prior).vertices_camera
                for rows in (parameters, self.true_parameters[frames])
            )
        return (found - true).norm(dim=-1).mean(dim=1)


def _room() -> SceneScan:
    """A wall 3.2 m from the camera as mesh and as signed distance (world = camera frame)."""
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 31), np.linspace(-1.5, 1.5, 31), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.full(x.size, 3.2)], axis=1)
    corner = np.arange(31 * 30).reshape(30, 31)[:, :30].ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 31], axis=1),
            np.stack([corner + 1, corner + 32, corner + 31], axis=1),
        ]
    )
    depth = np.linspace(0, 4, 21)
    sdf = np.broadcast_to(3.2 - depth, (8, 8, 21)).astype(np.float32)
    low, high = np.array([-2.0, -2.0, 0.0]), np.array([2.0, 2.0, 4.0])
    return SceneScan("Stage", vertices, faces, sdf, low, high)


@pytest.fixture(scope="session")
def prox_stage() -> ProxStage:
    """The stand-in body in front of a wall, with its truth."""
    return ProxStage(resolve_body_files(None))
