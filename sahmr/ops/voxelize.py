"""Points to voxels: the mean of the points in each cell."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sahmr.ops.hashing import find_keys, pack_keys
from sahmr.ops.row_sums import RowSums
from sahmr.ops.sparse_tensor import PointCloud, Rounding, SparseTensor, VoxelPyramid


def occupied_cells(points: PointCloud) -> Int[Tensor, "points 4"]:
    """Cell of stride 1 of each point."""
    return torch.cat([points.coordinates.floor().long(), points.batch[:, None].long()], dim=1)


class PointVoxelLinks:
    """The voxels of a point cloud at every stride, and both ways between points and voxels."""

    def __init__(self, points: PointCloud, rounding: Rounding = "floor") -> None:
        self.coordinates = points.coordinates.detach()
        self.batch = points.batch.long()
        self.pyramid = VoxelPyramid(occupied_cells(points), rounding)

    def voxelize(self, features: Float[Tensor, "points channels"], stride: int) -> SparseTensor:
        """Mean of the features of the points in each cell of the grid of `stride`.

        A point's cell is floor(p / s) s whatever the rounding of the grid, so that with `trunc` some
        points find no voxel and are left out; a voxel without points gets zeros.
        """
        mean = self.pyramid.derived(("mean", stride), lambda: self._mean(stride))
        return SparseTensor(features if mean is None else mean(features), stride, self.pyramid)

    def _mean(self, stride: int) -> RowSums | None:
        """The averaging matrix; None where it is the identity."""
        cells = (self.coordinates / stride).floor().long() * stride
        keys = self.pyramid.keys(stride)
        rows = find_keys(keys, pack_keys(torch.cat([cells, self.batch[:, None]], dim=1)))
        if len(rows) == len(keys) and bool((rows == torch.arange(len(rows)).to(rows)).all()):
            return None
        points = (rows >= 0).nonzero()[:, 0]
        rows = rows[points]
        counts = torch.bincount(rows, minlength=len(keys))
        weights = 1 / counts[rows].to(self.coordinates)
        return RowSums(rows, points, weights, len(keys), len(self.coordinates))
