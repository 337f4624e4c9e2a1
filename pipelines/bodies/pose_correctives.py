"""Pose correctives as a linear map from R - I to rest vertices, in the form that suits their density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

_PER_JOINT = 9


@runtime_checkable
class PoseCorrectives(Protocol):
    """The map, as the skinning kernel uses it; columns are coordinate planes of sorted vertices."""

    def add_to(
        self, rest: Float[Tensor, "frames verts3"], feature: Float[Tensor, "frames features"]
    ) -> None:
        """Add the correctives of a pose to rest vertices, in place."""
        ...

    def pull_back(self, gradient: Float[Tensor, "frames verts3"]) -> Float[Tensor, "frames features"]:
        """Gradient with respect to the feature, from that with respect to rest vertices."""
        ...

    def columns_at(self, columns: Int[Tensor, " some"]) -> Float[Tensor, "features some"]:
        """Some columns of the map as a plain matrix."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DenseCorrectives:
    """One matrix product: for licensed files, whose correctives are all non-zero."""

    matrix: Float[Tensor, "features verts3"]

    @staticmethod
    def build(matrix: Float[Tensor, "features verts3"]) -> DenseCorrectives:
        """Keep the matrix as it is."""
        return DenseCorrectives(matrix)

    def add_to(
        self, rest: Float[Tensor, "frames verts3"], feature: Float[Tensor, "frames features"]
    ) -> None:
        """See `PoseCorrectives`."""
        rest.addmm_(feature, self.matrix)

    def pull_back(self, gradient: Float[Tensor, "frames verts3"]) -> Float[Tensor, "frames features"]:
        """See `PoseCorrectives`."""
        return gradient @ self.matrix.T

    def columns_at(self, columns: Int[Tensor, " some"]) -> Float[Tensor, "features some"]:
        """See `PoseCorrectives`."""
        return self.matrix[:, columns]


@dataclass(frozen=True, slots=True, eq=False)
class SparseCorrectives:
    """One small product per joint over the columns it moves: for files with mostly zeros."""

    columns: Int[Tensor, " moved"]
    """Columns moved by joint 1, then those by joint 2, and so on; a column may occur several times."""
    blocks: tuple[Float[Tensor, "9 _"], ...]
    num_columns: int

    @staticmethod
    def build(matrix: Float[Tensor, "features verts3"]) -> SparseCorrectives:
        """Cut the matrix into joints."""
        columns, blocks = [], []
        for rows in matrix.split(_PER_JOINT):
            own = (rows != 0).any(dim=0).nonzero()[:, 0]
            columns.append(own)
            blocks.append(rows[:, own].contiguous())
        return SparseCorrectives(torch.cat(columns), tuple(blocks), matrix.shape[1])

    def add_to(
        self, rest: Float[Tensor, "frames verts3"], feature: Float[Tensor, "frames features"]
    ) -> None:
        """See `PoseCorrectives`."""
        parts = feature.split(_PER_JOINT, dim=1)
        moved = [part @ block for part, block in zip(parts, self.blocks, strict=True)]
        rest.index_add_(1, self.columns, torch.cat(moved, dim=1))

    def pull_back(self, gradient: Float[Tensor, "frames verts3"]) -> Float[Tensor, "frames features"]:
        """See `PoseCorrectives`."""
        parts = gradient.index_select(1, self.columns).split(
            [block.shape[1] for block in self.blocks], dim=1
        )
        return torch.cat([p @ block.T for p, block in zip(parts, self.blocks, strict=True)], dim=1)

    def columns_at(self, columns: Int[Tensor, " some"]) -> Float[Tensor, "features some"]:
        """See `PoseCorrectives`."""
        dense = self.blocks[0].new_zeros(len(self.blocks), _PER_JOINT, self.num_columns)
        owned = self.columns.split([block.shape[1] for block in self.blocks])
        for joint, (own, block) in enumerate(zip(owned, self.blocks, strict=True)):
            dense[joint, :, own] = block
        return dense.flatten(0, 1)[:, columns]
