"""Exact nearest neighbours without gradient (the pairs are constants of an energy)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree


def nearest_indices(
    queries: Float[np.ndarray, "queries 3"], targets: Float[np.ndarray, "targets 3"]
) -> Int[np.ndarray, " queries"]:
    """Index of the nearest target of each query (Euclidean, exact)."""
    _, indices = cKDTree(targets).query(queries)
    return np.asarray(indices, dtype=np.int64)
