"""The official run's toy body and priors, through the real loaders."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplh
from pipelines.fitting.prediction import FitModels
from pipelines.motion_prior.initial_state import InitialStatePrior
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.pose_prior import PosePrior


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
