"""Which input voxel meets which output voxel under each weight of a convolution kernel.

Order of the weights (torchsparse 1.4 and 2.x, hence of the published checkpoints): of size 3, offsets
-1, 0, 1 with x fastest; of size 2, offsets 0, 1 with z fastest; times the stride of the input.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from sahmr.ops.hashing import find_keys, key_step
from sahmr.ops.products import even_size

Offset = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs (input row, output row), grouped by the weight that joins them."""

    inputs: tuple[Int[Tensor, " _"], ...]
    """Per weight: rows of the input; no row twice within one weight."""
    outputs: tuple[Int[Tensor, " _"], ...]
    """Per weight: rows of the output; no row twice within one weight."""
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
    def even_pairs(self) -> tuple[tuple[Int[Tensor, " _"], Int[Tensor, " _"], int], ...]:
        """Per weight: inputs and outputs, repeated at the end to an even size, and how many are real."""
        return tuple(
            (_padded(inputs), _padded(outputs), len(inputs))
            for inputs, outputs in zip(self.inputs, self.outputs, strict=True)
        )

    @cached_property
    def exact_pairs(self) -> tuple[tuple[Int[Tensor, " _"], Int[Tensor, " _"], int], ...]:
        """Per weight: inputs and outputs, and how many they are."""
        return tuple(
            (inputs, outputs, len(inputs))
            for inputs, outputs in zip(self.inputs, self.outputs, strict=True)
        )

    @cached_property
    def transposed(self) -> KernelMap:
        """The same pairs walked backwards: the map of the transposed convolution."""
        return KernelMap(self.outputs, self.inputs, self.num_outputs, self.num_inputs, self.centre)


def _padded(rows: Int[Tensor, " rows"]) -> Int[Tensor, " _"]:
    missing = even_size(len(rows), up=True) - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing)]) if missing else rows


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
