"""Which input voxel meets which output voxel under each weight of a convolution kernel.

Order of the weights (torchsparse 1.4 and 2.x, hence of the published checkpoints): of size 3, offsets
-1, 0, 1 with x fastest; of size 2, offsets 0, 1 with z fastest; times the stride of the input.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from sahmr.ops.hashing import find_keys, key_step
from sahmr.ops.products import even_size

Offset = tuple[int, int, int]
_BLOCK_ROWS = 4096
"""Half a megabyte of 32 channels, one and a half of 96 (measured best of 512 to 8192 for 32 to 128)."""


class PairBatch(NamedTuple):
    """Pairs under one weight that are multiplied in one go."""

    weight: int
    inputs: Int[Tensor, " count"]
    outputs: Int[Tensor, " count"]
    even_inputs: Int[Tensor, " even"]
    """The same, and some rows more of no meaning, up to an even size."""
    even_outputs: Int[Tensor, " even"]


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs (input row, output row), grouped by the weight that joins them."""

    inputs: tuple[Int[Tensor, " _"], ...]
    """Per weight: rows of the input, ascending, none twice."""
    outputs: tuple[Int[Tensor, " _"], ...]
    """Per weight: rows of the output, ascending, none twice."""
    num_inputs: int
    num_outputs: int
    centre: int | None = None
    """The weight under which every voxel meets itself, if there is one; its lists are empty."""

    @property
    def num_pairs(self) -> int:
        """Pairs of all weights: what a matrix product of the convolution multiplies."""
        own = self.num_inputs if self.centre is not None else 0
        return own + sum(len(rows) for rows in self.inputs)

    @cached_property
    def batches(self) -> list[PairBatch]:
        """All pairs, a batch per weight."""
        lists = zip(self.inputs, self.outputs, strict=True)
        return [
            PairBatch(weight, inputs, outputs, inputs, outputs)
            for weight, (inputs, outputs) in enumerate(lists)
            if len(inputs)
        ]

    @cached_property
    def cached_batches(self) -> list[PairBatch]:
        """All pairs, block after block of outputs, also in even sizes.

        Rows of neighbouring voxels lie near each other, so what a block of a few thousand outputs reads and
        writes stays in the processor's own cache while all weights pass over it.
        """
        ends = torch.arange(_BLOCK_ROWS, self.num_outputs + _BLOCK_ROWS, _BLOCK_ROWS)
        blocks: list[list[PairBatch]] = [[] for _ in ends]
        for weight, (inputs, outputs) in enumerate(zip(self.inputs, self.outputs, strict=True)):
            if len(inputs) == 0:
                continue
            longer = [_extended(rows) for rows in (inputs, outputs)]
            start = 0
            for block, stop in zip(blocks, torch.searchsorted(outputs, ends).tolist(), strict=True):
                if stop > start:
                    even = start + even_size(stop - start, up=True)
                    rows = [rows[start:end] for end in (stop, even) for rows in longer]
                    block.append(PairBatch(weight, *rows))
                start = stop
        return [batch for block in blocks for batch in block]

    @cached_property
    def transposed(self) -> KernelMap:
        """The same pairs walked backwards: the map of the transposed convolution."""
        return KernelMap(self.outputs, self.inputs, self.num_outputs, self.num_inputs, self.centre)


def _extended(rows: Int[Tensor, " rows"]) -> Int[Tensor, " _"]:
    """Rows, and the last again as often as an even size of at most a block may need."""
    return torch.cat([rows, rows[-1:].expand(even_size(_BLOCK_ROWS + 1, up=True) - _BLOCK_ROWS)])


def pointwise_map(num_rows: int, device: torch.device) -> KernelMap:
    """Map of a kernel of size 1: every row meets itself."""
    nothing = torch.zeros(0, dtype=torch.int64, device=device)
    return KernelMap((nothing,), (nothing,), num_rows, num_rows, centre=0)


def kernel_offsets(size: int) -> list[Offset]:
    """Offsets of the weights of a cubic kernel, in voxels of the input, in the order of the weights."""
    if size % 2:
        reach = range(-(size // 2), size // 2 + 1)
        return [(x, y, z) for z, y, x in itertools.product(reach, repeat=3)]
    return [(x, y, z) for x, y, z in itertools.product(range(size), repeat=3)]


def same_grid_map(keys: Int[Tensor, " cells"], size: int, stride: int) -> KernelMap:
    """Map of an odd kernel from a grid to itself.

    Only half of the neighbours are looked for: if b lies at offset d of a, a lies at -d of b. Keys are
    sorted with z last, so the neighbours of a cell in one column along z follow each other, and one search
    finds the first of them.
    """
    offsets = kernel_offsets(size)
    half, reach = len(offsets) // 2, size // 2
    nothing = torch.zeros(0, dtype=torch.int64, device=keys.device)
    pairs: list[tuple[Tensor, Tensor]] = [(nothing, nothing)] * len(offsets)
    ended = torch.cat([keys, keys.new_full((1,), torch.iinfo(keys.dtype).max)])
    for dx, dy in {offset[:2]: None for offset in offsets[:half]} | {(0, 0): None}:
        wanted = keys + key_step(dx * stride, dy * stride, -reach * stride)
        row = torch.searchsorted(keys, wanted)
        for dz in range(-reach, reach + 1):
            found = ended[row] == wanted
            index = offsets.index((dx, dy, dz))
            if index < half:
                outputs = found.nonzero()[:, 0]
                inputs = row[outputs]
                pairs[index], pairs[-1 - index] = (inputs, outputs), (outputs, inputs)
            row, wanted = row + found, wanted + stride
    inputs_of, outputs_of = zip(*pairs, strict=True)
    return KernelMap(inputs_of, outputs_of, len(keys), len(keys), centre=half)


def down_map(
    fine_keys: Int[Tensor, " fine"], coarse_keys: Int[Tensor, " coarse"], size: int, stride: int
) -> KernelMap:
    """Map of a strided convolution: an output cell meets the inputs at its own offsets."""
    inputs_of, outputs_of = [], []
    for dx, dy, dz in kernel_offsets(size):
        rows = find_keys(fine_keys, coarse_keys + key_step(dx * stride, dy * stride, dz * stride))
        outputs = (rows >= 0).nonzero()[:, 0]
        inputs_of.append(rows[outputs])
        outputs_of.append(outputs)
    return KernelMap(tuple(inputs_of), tuple(outputs_of), len(fine_keys), len(coarse_keys))
