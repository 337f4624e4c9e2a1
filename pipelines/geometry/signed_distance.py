"""Signed distance grids of scanned rooms: negative inside solids, metres, world frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.records import SceneScan


@dataclass(frozen=True, slots=True, eq=False)
class SdfGrid:
    """A scene's grid as tensors; cell centres run from `min_world` to `max_world`."""

    values_m: Float[Tensor, "nx ny nz"]
    min_world: Float[Tensor, "3"]
    max_world: Float[Tensor, "3"]

    @staticmethod
    def from_scene(scene: SceneScan, dtype: torch.dtype = torch.float32) -> SdfGrid:
        """The grid of a scene record."""
        return SdfGrid(
            torch.as_tensor(scene.sdf_m, dtype=dtype),
            torch.as_tensor(scene.sdf_min_world, dtype=dtype),
            torch.as_tensor(scene.sdf_max_world, dtype=dtype),
        )

    def sample(self, points_world: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Trilinear signed distance; a point outside the grid takes the border value.

        Source: PROX fitting.py reads the grid with `grid_sample`, whose behaviour in PyTorch 1.0 is
        today's align_corners=True.
        """
        unit = 2 * (points_world - self.min_world) / (self.max_world - self.min_world) - 1
        # grid_sample's last axis is the fastest: hand it (z, y, x) for an [ix, iy, iz] array.
        grid = unit.flip(-1).reshape(1, 1, 1, -1, 3)
        sampled = torch.nn.functional.grid_sample(
            self.values_m[None, None], grid, padding_mode="border", align_corners=True
        )
        return sampled.reshape(points_world.shape[:-1])
