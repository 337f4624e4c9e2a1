"""The official run's toy body and priors through the real loaders, and a staged person with truth."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.bodies.files import BodyFiles, resolve_body_files
from pipelines.bodies.joints import BODY25_FROM_SMPLH, IGNORED_BODY25
from pipelines.bodies.model import load_smplh
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.prox_style.pairs import visible_vertices
from pipelines.fitting.window_data import WindowData
from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.checkpoint import load_priors
from pipelines.motion_prior.initial_state import InitialStatePrior
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.pose_prior import PosePrior
from pipelines.records import SceneScan, SequenceObservations


@pytest.fixture(scope="session")
def fit_goldens(goldens_folder: Path) -> dict[str, np.ndarray]:
    """Numbers recorded from the official fitting code; see goldens/README.md."""
    with np.load(goldens_folder / "humor_fitting.npz", allow_pickle=False) as archive:
        names = [
            name
            for name in archive.files
            if name.split("/")[0] in ("in", "out", "toy") and "depth/mask" not in name
        ]
        return {name: archive[name] for name in names}


@pytest.fixture(scope="session")
def toy_files(fit_goldens: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> BodyFiles:
    """A SMPL+H file whose arrays are drawn from seeds (goldens page, "Toy SMPL+H")."""
    folder = tmp_path_factory.mktemp("toy_body")
    (folder / "smplh" / "neutral").mkdir(parents=True)
    np.savez(folder / "smplh" / "neutral" / "model.npz", **_toy_arrays(fit_goldens))
    return BodyFiles(folder, is_standin=True)


def _toy_arrays(goldens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    def draw(name: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"toy/{name}".encode()))

    assign = goldens["toy/assign"].astype(np.int64)
    parents = goldens["toy/parents"].astype(np.int64)
    weights = np.zeros((6890, 52), dtype=np.float32)
    rows = np.arange(6890)
    above = np.where(parents[assign] < 0, assign, parents[assign])
    np.add.at(weights, (rows, assign), 0.8)
    np.add.at(weights, (rows, above), 0.2)
    regressor = np.zeros((52, 6890), dtype=np.float32)
    keypoints = np.isin(rows, goldens["toy/keypoint_vertices"])
    for joint in range(52):
        members = (assign == joint) & ~keypoints
        regressor[joint, members] = 1 / members.sum()
    return {
        "v_template": goldens["toy/v_template"].astype(np.float32),
        "weights": weights,
        "J_regressor": regressor,
        "shapedirs": (0.01 * draw("shapedirs").standard_normal((6890, 3, 16))).astype(np.float32),
        "posedirs": (0.0005 * draw("posedirs").standard_normal((6890, 3, 459))).astype(np.float32),
        "f": draw("f").integers(0, 6890, (13776, 3)).astype(np.uint32),
        "kintree_table": np.stack([parents, np.arange(52)]),
    }


@pytest.fixture(scope="session")
def toy_models(
    toy_files: BodyFiles,
    golden_weights: Callable[..., dict[str, torch.Tensor]],
    golden_gmm: dict[str, np.ndarray],
) -> FitModels:
    """Official widths, golden weights, float64, the official heading."""
    motion, pose = MotionPrior(), PosePrior()
    for model in (motion, pose):
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        model.load_state_dict(golden_weights(shapes))
        model.requires_grad_(False).eval()
    mixture = [torch.as_tensor(golden_gmm[name]) for name in ("weights", "means", "covariances")]
    return FitModels(
        body=load_smplh(toy_files, "neutral", dtype=torch.float64),
        pose=pose.double(),
        motion=motion.double(),
        initial_state=InitialStatePrior(*mixture).double(),
        heading="acos",
    )


@pytest.fixture(scope="session")
def golden_windows(fit_goldens: dict[str, np.ndarray]) -> WindowData:
    """The two toy windows of six frames that the official optimiser saw (group D)."""

    def given(name: str) -> torch.Tensor:
        return torch.tensor(fit_goldens[f"in/D/{name}"], dtype=torch.float64)

    keypoints, floor = given("obs_joints2d"), given("obs_floor_plane")
    confidence = keypoints[..., 2].clone()
    confidence[..., list(IGNORED_BODY25)] = 0
    return WindowData(
        keypoints_px=keypoints[..., :2],
        confidence=confidence,
        all_confidence=keypoints[..., 2],
        lifted_camera=torch.zeros(2, 6, 25, 3).double(),
        lifted_weights=torch.zeros(2, 6, 25).double(),
        points_camera=given("obs_points3d"),
        has_points=torch.ones(2, 6).double(),
        frames_used=torch.ones(2, 6).double(),
        lengths=torch.tensor([6, 6]),
        overlaps=torch.tensor([0, 0]),
        floor_camera=floor[:, :3] * floor[:, 3:],
        K=given("cam"),
    )


@pytest.fixture(scope="session")
def golden_variables(
    fit_goldens: dict[str, np.ndarray],
) -> Callable[[str], dict[str, torch.Tensor]]:
    """Fresh copies of the variables at which the official optimiser evaluated a stage (group D)."""

    def variables(stage: str) -> dict[str, torch.Tensor]:
        group = f"in/D/s{'3a' if stage.startswith('3') else stage}/"
        return {
            name.removeprefix(group): torch.tensor(value, dtype=torch.float64)
            for name, value in fit_goldens.items()
            if name.startswith(group)
        }

    return variables


class StagedPerson:
    """A stand-in body that steps sideways before a level camera, seen without noise."""

    def __init__(self, frames: int, yaw: float = 0.0, num_points: int = 400) -> None:
        """`yaw` turns the person about the vertical; at 0 it faces the camera."""
        self.files, self.priors = resolve_body_files(None), load_priors()
        self.body = load_smplh(self.files, "female", dtype=torch.float64)
        generator = torch.Generator().manual_seed(2)
        latent = 0.3 * torch.randn(1, 32, generator=generator, dtype=torch.float64)
        sway = torch.linspace(0, 0.2, frames, dtype=torch.float64)[:, None]
        turn = torch.tensor([0.0, yaw, 0.0]).double(), torch.tensor([math.pi, 0.0, 0.0]).double()
        self.root_rotmat = rotvec_to_rotmat(turn[0]) @ rotvec_to_rotmat(turn[1])
        pose = self.priors.to(torch.float64).pose.decode(latent * (1 + sway))
        rotmats = torch.cat([self.root_rotmat.expand(frames, 1, 3, 3), pose], dim=1)
        self.betas = 0.5 * torch.randn(1, 10, generator=generator, dtype=torch.float64)
        self.transl = torch.tensor([0.1, 0.1, 2.6]).double() + sway * torch.tensor([0.4, 0.0, 0.0])
        posed = self.body.from_rotmats(self.betas.expand(frames, -1), rotmats, self.transl)
        self.vertices, self.joints = posed.vertices, posed.joints
        self.floor_y = float(self.vertices[..., 1].max())
        self.observations = self._observe(num_points)
        self.scene = self._room()

    def _observe(self, num_points: int) -> SequenceObservations:
        frames = len(self.vertices)
        K = np.array([[1060.0, 0, 960], [0, 1060.0, 540], [0, 0, 1]])
        generator = np.random.default_rng(0)
        points = []
        for vertices in self.vertices.numpy():
            seen = np.flatnonzero(visible_vertices(vertices, self.body.faces.numpy()))
            points.append(vertices[generator.choice(seen, num_points)])
        keypoints = np.zeros((frames, 118, 2))
        joints = self.joints[:, list(BODY25_FROM_SMPLH)]
        keypoints[:, :25] = project_pinhole(joints, torch.as_tensor(K)).numpy()
        return SequenceObservations(
            recording="Stage_00159_01",
            scene="Stage",
            gender="female",
            frame_names=tuple(f"f{frame}" for frame in range(frames)),
            frame_rate_hz=30.0,
            timestamps_s=np.arange(frames) / 30,
            segment_id=np.zeros(frames, np.int64),
            status=("",) * frames,
            person_seen=np.ones(frames, dtype=bool),
            keypoints_px=keypoints,
            keypoints_confidence=np.where(np.arange(118) < 25, 0.9, 0.0) * np.ones((frames, 1)),
            points_camera=np.stack(points).astype(np.float32),
            num_points=np.full(frames, num_points),
            K=K,
            image_size_px=(1920, 1080),
            T_world_from_camera=np.eye(4),
            floor_camera=np.array([0.0, -1.0, 0.0, -self.floor_y]),
        )

    def _room(self) -> SceneScan:
        """The floor alone, as mesh and as signed distance (world = camera frame, y down)."""
        x, z = np.meshgrid(np.linspace(-2, 2, 21), np.linspace(0.6, 4.6, 21), indexing="ij")
        vertices = np.stack([x.ravel(), np.full(x.size, self.floor_y), z.ravel()], axis=1)
        corner = np.arange(21 * 20).reshape(20, 21)[:, :20].ravel()
        faces = [[corner, corner + 21, corner + 1], [corner + 1, corner + 21, corner + 22]]
        low, high = np.array([-3.0, -3.0, 0.0]), np.array([3.0, 3.0, 6.0])
        height = self.floor_y - np.linspace(-3.0, 3.0, 25)
        sdf = np.broadcast_to(height[None, :, None], (4, 25, 4)).astype(np.float32)
        triangles = np.concatenate([np.stack(corners, axis=1) for corners in faces])
        return SceneScan("Stage", vertices, triangles, sdf, low, high)


@pytest.fixture(scope="session")
def stage_person() -> Callable[..., StagedPerson]:
    """Makes staged persons."""
    return StagedPerson


@pytest.fixture(scope="session")
def person() -> StagedPerson:
    """Six frames of a person who faces the camera."""
    return StagedPerson(6, num_points=1500)
