"""METRO's mesh pyramid: SMPL+H vertices on 1723 and 431 vertices, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Float

from pipelines.errors import DataInvalid
from pipelines.safe_pickle import load_npz_objects

PYRAMID_SIZES = (6890, 1723, 431)


@dataclass(frozen=True, slots=True, eq=False)
class MeshPyramid:
    """Sparse matrices between neighbouring levels."""

    adjacency: tuple[scipy.sparse.csr_matrix, ...]
    """Neighbours in each of the three levels (non-zero where there is an edge)."""
    down: tuple[scipy.sparse.csr_matrix, ...]
    """(1723, 6890) and (431, 1723): one vertex picked per row."""
    up: tuple[scipy.sparse.csr_matrix, ...]
    """(6890, 1723) and (1723, 431): interpolation."""

    def coarsen(
        self, values: Float[np.ndarray, "fine columns"], levels: int = 1
    ) -> Float[np.ndarray, "coarse columns"]:
        """Carry per-vertex values down from the finest level."""
        for matrix in self.down[:levels]:
            values = matrix @ values
        return values

    def refine(
        self, values: Float[np.ndarray, "coarse columns"], levels: int = 1
    ) -> Float[np.ndarray, "fine columns"]:
        """Carry per-vertex values up to the finest level, from `levels` below it."""
        for matrix in reversed(self.up[:levels]):
            values = matrix @ values
        return values


def read_mesh_pyramid(path: Path) -> MeshPyramid:
    """Read A, U and D of `mesh_downsampling.npz`; its other members are mesh objects, never opened.

    Raises:
        DataMissing: no such file.
        DataInvalid: the matrices do not fit together.
    """
    members = load_npz_objects(path, ("A", "U", "D"))
    adjacency, up, down = (
        tuple(scipy.sparse.csr_matrix(matrix) for matrix in members[name]) for name in "AUD"
    )
    pairs = list(zip(PYRAMID_SIZES[1:], PYRAMID_SIZES[:-1], strict=True))
    found = {
        "A": [matrix.shape for matrix in adjacency],
        "D": [matrix.shape for matrix in down],
        "U": [matrix.shape for matrix in up],
    }
    expected = {"A": [(n, n) for n in PYRAMID_SIZES], "D": pairs, "U": [(b, a) for a, b in pairs]}
    if found != expected:
        raise DataInvalid("mesh pyramid has other sizes", where=path, expected=expected, found=found)
    return MeshPyramid(adjacency, down, up)
