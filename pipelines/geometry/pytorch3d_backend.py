"""Nearest neighbours by pytorch3d's CUDA kernel; the only file that imports pytorch3d.

Used where a build that matches the user's torch is installed; written from its documentation, never run on
a GPU by us.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor


@cache
def is_installed() -> bool:
    """Whether pytorch3d can be imported with its operators (some builds lack them)."""
    if find_spec("pytorch3d") is None:
        return False
    try:
        import_module("pytorch3d.ops")
    except (ImportError, OSError):
        return False
    return True


def nearest_rows(
    queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
) -> Int[Tensor, " queries"]:
    """Index of the nearest target of each query."""
    ops: Any = import_module("pytorch3d.ops")
    return ops.knn_points(queries[None], targets[None], K=1).idx[0, :, 0]
