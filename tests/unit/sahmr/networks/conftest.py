"""Weights, inputs and comparison of the goldens of SA-HMR's networks (page "networks", section 12)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

TOLERANCE = 3e-5
"""Largest allowed difference, in standard deviations of the recorded tensor."""


class NetworkGolden:
    """One recorded run: its seed, sizes and sampled outputs."""

    def __init__(self, path: Path) -> None:
        self.values = dict(np.load(path, allow_pickle=False))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(int(self.values["seed"]))

    def check(self, name: str, found: torch.Tensor, tolerance: float = TOLERANCE) -> None:
        """Compare a whole tensor's shape, mean and std, and its 64 recorded entries."""
        assert found.shape == tuple(self.values[f"{name}/shape"]), name
        array = found.detach().double().numpy()
        std = float(self.values[f"{name}/std"])
        differences = {
            "mean": abs(array.mean() - float(self.values[f"{name}/mean"])),
            "std": abs(array.std() - std),
            "val": np.abs(array.ravel()[self.values[f"{name}/idx"]] - self.values[f"{name}/val"]).max(),
        }
        assert all(value <= tolerance * std for value in differences.values()), (name, std, differences)


@pytest.fixture(scope="session")
def network_golden(goldens_folder):
    return lambda name: NetworkGolden(goldens_folder / f"{name}.npz")


@pytest.fixture(scope="session")
def official_shapes(goldens_folder):
    """Key and shape table of an official checkpoint, cut to a prefix which is then removed."""

    def read(name: str, prefix: str = "") -> dict[str, tuple[int, ...]]:
        table = json.loads((goldens_folder / f"{name}.json").read_text())
        return {key.removeprefix(prefix): tuple(s) for key, s in table.items() if key.startswith(prefix)}

    return read


@pytest.fixture(scope="session")
def network_weights():
    """The goldens' weights: each tensor is drawn from a generator seeded by its official name."""

    def draw(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        return {key: _draw(key, tuple(shape)) for key, shape in shapes.items()}

    return draw


def _draw(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    kind = key.rsplit(".", 1)[-1]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    x = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if kind == "running_var":
        value = 1 + 0.1 * np.abs(x)
    elif kind in ("running_mean", "bias"):
        value = 0.03 * x
    elif kind == "kernel":
        value = x * np.sqrt(2 / (shape[-2] * (shape[0] if len(shape) == 3 else 1)))
    elif len(shape) >= 2:
        value = x / np.sqrt(np.prod(shape[1:])) * (0.7 if len(shape) == 4 else 1)
    else:
        value = 1 + 0.1 * x
    return torch.from_numpy(np.asarray(value, dtype=np.float32))
