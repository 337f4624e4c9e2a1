"""Fixtures shared by all tests."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# Drawn examples are the same on every run, and a loaded machine fails no test.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

GOLDENS = Path(__file__).parent / "goldens"

GoldenWeights = Callable[[Mapping[str, Sequence[int]]], dict[str, torch.Tensor]]


@pytest.fixture(scope="session")
def goldens_folder() -> Path:
    """Where recorded numbers of the original programs lie."""
    return GOLDENS


@pytest.fixture(scope="session")
def golden_weights() -> GoldenWeights:
    """Rebuild the weights of the golden networks from the names and shapes of a state dict.

    Nothing is stored: every tensor is drawn from a generator seeded by its name (float32 values).
    """

    def rebuild(shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        return {key: _golden_weight(key, tuple(shape)) for key, shape in shapes.items()}

    return rebuild


@pytest.fixture(scope="session")
def golden_gmm() -> dict[str, np.ndarray]:
    """The mixture of the goldens: weights, means, covariances (float32)."""
    generator = np.random.default_rng(zlib.crc32(b"gmm"))
    weights = generator.random(12) + 0.2
    weights /= weights.sum()
    means = 0.5 * generator.standard_normal((12, 138))
    factor = generator.standard_normal((12, 138, 138)) / np.sqrt(138)
    covariances = 0.5 * factor @ factor.transpose(0, 2, 1) + 0.1 * np.eye(138)
    arrays = {"weights": weights, "means": means, "covariances": covariances}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _golden_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    small = 0.05 if key.startswith("decoder.net.9.") else 1.0
    if key.endswith("running_mean"):
        value = 0.1 * n
    elif key.endswith("running_var"):
        value = 1 + 0.1 * np.abs(n)
    elif len(shape) >= 2:
        value = small * n / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(".weight"):
        value = 1 + 0.1 * n
    else:
        value = small * 0.05 * n
    return torch.from_numpy(value.astype(np.float32))
