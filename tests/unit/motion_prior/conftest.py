"""Golden networks and numbers of the motion prior."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.pose_prior import PosePrior
from pipelines.motion_prior.state import MotionState, unpack


class Goldens:
    """Arrays of goldens/humor_fitting.npz as float64 tensors, by group and name."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self._arrays = {name: archive[name] for name in archive.files}

    def given(self, name: str) -> torch.Tensor:
        """An input."""
        return torch.from_numpy(self._arrays[f"in/{name}"]).double()

    def recorded(self, name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        """An output of the official code."""
        prefix = "out" if dtype == torch.float64 else "out32"
        return torch.from_numpy(self._arrays[f"{prefix}/{name}"])

    def state(self, group: str, prefix: str = "") -> MotionState:
        """The state stored under the official field names."""
        names = [
            "trans",
            "trans_vel",
            "root_orient",
            "root_orient_vel",
            "pose_body",
            "joints",
            "joints_vel",
        ]
        return unpack(torch.cat([self.given(f"{group}/{prefix}{name}") for name in names], dim=-1))


@pytest.fixture(scope="session")
def goldens(goldens_folder) -> Goldens:
    return Goldens(goldens_folder / "humor_fitting.npz")


@pytest.fixture(scope="session")
def golden_motion_prior(goldens_folder, golden_weights) -> MotionPrior:
    shapes = json.loads((goldens_folder / "humor.json").read_text())
    model = MotionPrior()
    model.load_state_dict(golden_weights(shapes), strict=True)
    return model.double().requires_grad_(False).eval()


@pytest.fixture(scope="session")
def golden_pose_prior(goldens_folder, golden_weights) -> PosePrior:
    shapes = json.loads((goldens_folder / "vposer_v1_0.json").read_text())
    model = PosePrior()
    model.load_state_dict(golden_weights(shapes), strict=True)
    return model.double().requires_grad_(False).eval()
