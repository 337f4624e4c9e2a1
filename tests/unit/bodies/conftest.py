from __future__ import annotations

import pytest
import torch

from pipelines.bodies.files import BodyFiles, resolve_body_files


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def files() -> BodyFiles:
    """The stand-in's files (expanded into the cache by the first test that asks)."""
    return resolve_body_files(None)


@pytest.fixture
def smplx_parameters():
    """Random SMPL-X parameters of some frames, float64 by default."""

    def draw(frames: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        sizes = {
            "betas": (10, 1.0),
            "expression": (10, 1.0),
            "global_orient": (3, 1.0),
            "body_pose": (63, 0.3),
            "jaw_pose": (3, 0.1),
            "leye_pose": (3, 0.1),
            "reye_pose": (3, 0.1),
            "left_hand_pose": (12, 0.7),
            "right_hand_pose": (12, 0.7),
            "transl": (3, 2.0),
        }
        return {
            name: (torch.randn(frames, size, generator=generator, dtype=torch.float64) * scale).to(dtype)
            for name, (size, scale) in sizes.items()
        }

    return draw
