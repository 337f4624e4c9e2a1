"""Points, sparse tensors, and the grids of all strides they live on.

Cells are x, y, z, batch. At stride s they are multiples of s: coordinates always count voxels of the finest
grid, as in torchsparse 1.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.errors import DataInvalid
from sahmr.ops.hashing import pack_keys, unpack_keys
from sahmr.ops.kernel_map import KernelMap, down_map, same_grid_map

Rounding = Literal["floor", "trunc"]
"""How a coarse cell follows from a fine one where coordinates are negative.

`trunc` is what the released weights were trained with: before torch 1.13 integer division dropped the
fraction, so that the cells on both sides of zero were merged.
"""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """Points with features; several samples in one list."""

    features: Float[Tensor, "points channels"]
    coordinates: Float[Tensor, "points 3"]
    """In voxels: metres divided by the voxel size. Any sign, any fraction."""
    batch: Int[Tensor, " points"]
    """Sample that each point belongs to."""


class VoxelPyramid:
    """Occupied cells at every stride, and the kernel maps between them, each computed once.

    Cells are sorted by (batch, x, y, z); features of a `SparseTensor` are rows in that order.
    """

    def __init__(self, cells: Int[Tensor, "cells 4"], rounding: Rounding = "floor") -> None:
        """Take the cells of stride 1, in any order, duplicates allowed."""
        self.rounding = rounding
        self._keys: dict[int, Int[Tensor, " cells"]] = {1: torch.unique(pack_keys(cells))}
        self._cells: dict[int, Int[Tensor, "cells 4"]] = {}
        self._maps: dict[tuple[int, int, int], KernelMap] = {}
        self._derived: dict[object, object] = {}

    def keys(self, stride: int) -> Int[Tensor, " cells"]:
        """Sorted keys of the occupied cells."""
        if stride not in self._keys:
            fine = self.cells(stride // 2)
            halved = torch.div(fine[:, :3], stride, rounding_mode=self.rounding) * stride
            self._keys[stride] = torch.unique(pack_keys(torch.cat([halved, fine[:, 3:]], dim=1)))
        return self._keys[stride]

    def cells(self, stride: int) -> Int[Tensor, "cells 4"]:
        """Occupied cells: x, y, z in multiples of the stride, and the sample."""
        if stride not in self._cells:
            self._cells[stride] = unpack_keys(self.keys(stride))
        return self._cells[stride]

    def kernel_map(self, stride: int, size: int, step: int) -> KernelMap:
        """Map of a kernel from the grid of `stride` to that of `stride * step` (step 1 or 2)."""
        key = (stride, size, step)
        if key not in self._maps:
            fine = self.keys(stride)
            self._maps[key] = (
                same_grid_map(fine, size, stride)
                if step == 1
                else down_map(fine, self.keys(stride * step), size, stride)
            )
        return self._maps[key]

    def derived(self, key: object, build: Callable[[], T]) -> T:
        """Something else that depends on the grids and points alone, built once."""
        if key not in self._derived:
            self._derived[key] = build()
        return self._derived[key]  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, eq=False)
class SparseTensor:
    """Features on the occupied cells of one stride."""

    features: Float[Tensor, "cells channels"]
    stride: int
    pyramid: VoxelPyramid

    @property
    def cells(self) -> Int[Tensor, "cells 4"]:
        """Occupied cells: x, y, z in multiples of the stride, and the sample."""
        return self.pyramid.cells(self.stride)

    def with_features(self, features: Float[Tensor, "cells other"]) -> SparseTensor:
        """Other features on the same cells."""
        return replace(self, features=features)


def sparse_tensor(
    features: Float[Tensor, "cells channels"],
    cells: Int[Tensor, "cells 4"],
    rounding: Rounding = "floor",
) -> SparseTensor:
    """A tensor of stride 1 on cells in any order; its rows come out sorted by (batch, x, y, z).

    Raises:
        DataInvalid: a cell is given twice.
    """
    pyramid = VoxelPyramid(cells, rounding)
    if len(pyramid.keys(1)) != len(cells):
        raise DataInvalid("a cell is given twice", found=f"{len(cells) - len(pyramid.keys(1))} times")
    return SparseTensor(features[pack_keys(cells).argsort()], 1, pyramid)
