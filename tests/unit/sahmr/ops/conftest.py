"""Small random clouds of voxels."""

from __future__ import annotations

import pytest
import torch

from sahmr.ops.sparse_tensor import sparse_tensor


@pytest.fixture
def random_cells():
    """Distinct cells x, y, z, sample within [-reach, reach), shuffled."""

    def draw(count: int, reach: int = 4, samples: int = 2, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        side = 2 * reach
        flat = torch.randperm(samples * side**3, generator=generator)[:count]
        cells = [flat // side**2 % side - reach, flat // side % side - reach, flat % side - reach]
        return torch.stack([*cells, flat // side**3], dim=1)

    return draw


@pytest.fixture
def random_tensor(random_cells):
    """A sparse tensor in float64 with normal features."""

    def draw(count: int = 60, channels: int = 3, seed: int = 0, rounding: str = "floor", reach: int = 4):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(count, channels, dtype=torch.float64, generator=generator)
        return sparse_tensor(features, random_cells(count, reach, seed=seed), rounding)

    return draw
