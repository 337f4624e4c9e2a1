"""Voxels to points: trilinear interpolation between the corners that exist."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from sahmr.ops.hashing import find_keys, key_step, pack_keys
from sahmr.ops.row_sums import RowSums
from sahmr.ops.sparse_tensor import SparseTensor
from sahmr.ops.voxelize import PointVoxelLinks

_NO_DIVISION_BY_ZERO = 1e-8
"""Added to the sum of the weights of the corners that exist; SA-HMR, torchsparse_utils.py."""


def devoxelize(tensor: SparseTensor, links: PointVoxelLinks) -> Float[Tensor, "points channels"]:
    """Features at the points, interpolated between the eight cells around each.

    A cell stands at its lower corner. Cells that do not exist take no part, and the weights of the others
    are scaled to sum 1; a point with no existing corner gets zeros. At integer points of the grid of
    stride 1 this is the identity.
    """
    stride = tensor.stride
    sums = links.pyramid.derived(("trilinear", stride), lambda: _trilinear(links, stride))
    return tensor.features if sums is None else sums(tensor.features)


def _trilinear(links: PointVoxelLinks, stride: int) -> RowSums | None:
    """The interpolation matrix; None where it is the identity."""
    base = (links.coordinates / stride).floor() * stride
    beyond = links.coordinates - base  # (points, 3), in [0, stride)
    keys = links.pyramid.keys(stride)
    base_keys = pack_keys(torch.cat([base.long(), links.batch[:, None]], dim=1))
    rows, weights = [], []
    for corner in itertools.product((0, 1), repeat=3):
        dx, dy, dz = (stride * side for side in corner)
        near = [beyond[:, a] if side else stride - beyond[:, a] for a, side in enumerate(corner)]
        rows.append(find_keys(keys, base_keys + key_step(dx, dy, dz)))
        weights.append(near[0] * near[1] * near[2] / stride**3)
    row, weight = torch.stack(rows, dim=1), torch.stack(weights, dim=1)  # (points, 8)
    weight = torch.where(row >= 0, weight, 0)
    total = weight.sum(dim=1, keepdim=True)
    weight = weight / (total + _NO_DIVISION_BY_ZERO)
    points, corners = (weight > 0).nonzero(as_tuple=True)
    sources = row[points, corners]
    if len(points) == len(keys) == len(base) and bool((sources == points).all() & (weight.max() == 1)):
        return None
    return RowSums(points, sources, weight[points, corners], len(base), len(keys))
