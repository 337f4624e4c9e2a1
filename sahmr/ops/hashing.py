"""Integer cells as sortable 64-bit keys, and finding cells among them.

A key is batch | x | y | z, 12 + 3 x 17 bits with the coordinates shifted to be positive, so keys sort like
(batch, x, y, z) and a step along an axis is the addition of a constant. Nothing collides: unlike a hash in
the strict sense, a key is as good as the cell it stands for.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from pipelines.errors import DataInvalid

AXIS_BITS = 17
BATCH_BITS = 12
_HALF = 1 << (AXIS_BITS - 1)
_MARGIN = 1 << 10
REACH = _HALF - _MARGIN
"""Largest coordinate, in cells; the margin keeps steps to neighbours from running into the next axis."""
MAX_BATCH = 1 << BATCH_BITS


def pack_keys(cells: Int[Tensor, "cells 4"]) -> Int[Tensor, " cells"]:
    """Keys of cells given as x, y, z, batch.

    Raises:
        DataInvalid: a coordinate or batch index does not fit; the usual cause is a wrong frame or unit.
    """
    if len(cells) == 0:
        return cells.new_zeros(0, dtype=torch.int64)
    cells = cells.long()
    farthest, batches = int(cells[:, :3].abs().max()), cells[:, 3]
    if farthest > REACH:
        raise DataInvalid(
            "voxel coordinates are too far from the origin",
            expected=f"at most {REACH} voxels (3.2 km at 5 cm) along each axis",
            found=farthest,
            fix="give the scene in metres, in the camera frame",
        )
    if int(batches.min()) < 0 or int(batches.max()) >= MAX_BATCH:
        raise DataInvalid(
            "batch index out of range",
            expected=f"0 to {MAX_BATCH - 1}",
            found=f"{int(batches.min())} to {int(batches.max())}",
        )
    x, y, z = (cells[:, :3] + _HALF).unbind(1)
    return (((batches << AXIS_BITS | x) << AXIS_BITS | y) << AXIS_BITS) | z


def unpack_keys(keys: Int[Tensor, " cells"]) -> Int[Tensor, "cells 4"]:
    """Cells x, y, z, batch of keys."""
    mask = (1 << AXIS_BITS) - 1
    x, y, z = ((keys >> (axis * AXIS_BITS) & mask) - _HALF for axis in (2, 1, 0))
    return torch.stack([x, y, z, keys >> 3 * AXIS_BITS], dim=1)


def key_step(dx: int, dy: int, dz: int) -> int:
    """What to add to a key to move by (dx, dy, dz) within the same sample."""
    return (((dx << AXIS_BITS) + dy) << AXIS_BITS) + dz


def find_keys(
    sorted_keys: Int[Tensor, " cells"], queries: Int[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """Row of each query among sorted, unique keys; -1 where absent."""
    if len(sorted_keys) == 0:
        return torch.full_like(queries, -1)
    rows = torch.searchsorted(sorted_keys, queries).clamp_(max=len(sorted_keys) - 1)
    return torch.where(sorted_keys[rows] == queries, rows, -1)
