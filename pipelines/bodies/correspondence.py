"""SMPL-X vertices on the SMPL+H topology through the official correspondence matrix."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.errors import DataInvalid
from pipelines.safe_pickle import load_pickle

NUM_SMPLX_VERTICES = 10475
NUM_SMPLH_VERTICES = 6890


def read_transfer_matrix(path: Path) -> scipy.sparse.csr_matrix:
    """The (6890, 10475) matrix of `smplx2smplh_deftrafo_setup.pkl`: the columns that weigh positions.

    The file's second 10475 columns belong to vertex normals and are left out, as SA-HMR does.

    Raises:
        DataMissing: no such file.
        DataInvalid: it holds no matrix of the right size.
    """
    content = load_pickle(path)
    matrix = content.get("mtx") if isinstance(content, dict) else None
    expected = (NUM_SMPLH_VERTICES, 2 * NUM_SMPLX_VERTICES)
    if matrix is None or matrix.shape != expected:
        raise DataInvalid(
            "transfer file holds no SMPL-X to SMPL+H matrix",
            where=path,
            expected=f"key mtx of shape {expected}",
            found=getattr(matrix, "shape", type(content).__name__),
        )
    dense_or_sparse = scipy.sparse.csr_matrix(matrix)
    return dense_or_sparse[:, :NUM_SMPLX_VERTICES]


def smplx_to_smplh_vertices(
    files: BodyFiles, vertices: Float[Tensor, "frames 10475 3"]
) -> Float[Tensor, "frames 6890 3"]:
    """SMPL-X vertices carried over to the SMPL+H topology, same frame; differentiable."""
    ids, weights = _rows(files.transfer)
    if ids.shape[1] == 1:
        return vertices[:, ids[:, 0]] * weights.to(vertices)
    corners = vertices[:, ids]  # (frames, 6890, corners, 3)
    return (corners * weights.to(vertices)[..., None]).sum(dim=2)


@lru_cache(maxsize=4)
def _rows(path: Path) -> tuple[Tensor, Tensor]:
    """The matrix as equally long rows of vertex ids and weights (padded with weight 0)."""
    matrix = read_transfer_matrix(path)
    counts = np.diff(matrix.indptr)
    slot = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    row = np.repeat(np.arange(NUM_SMPLH_VERTICES), counts)
    ids = np.zeros((NUM_SMPLH_VERTICES, counts.max()), np.int64)
    weights = np.zeros(ids.shape)
    ids[row, slot], weights[row, slot] = matrix.indices, matrix.data
    return torch.as_tensor(ids), torch.as_tensor(weights, dtype=torch.float64)
