"""METRO's mesh pyramid 6890 -> 1723 -> 431 in its file format: adjacency A, selection D, return U."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

from pipelines.bodies.standin.surface_points import barycentric, closest_points


@dataclass(frozen=True, slots=True, eq=False)
class PyramidLevel:
    """One level: the SMPL+H vertices it keeps and its own faces."""

    ids: Int[np.ndarray, " kept"]
    faces: Int[np.ndarray, "faces 3"]


def pyramid_matrices(
    template: Float[np.ndarray, "6890 3"], levels: list[PyramidLevel]
) -> dict[str, list[sp.csc_matrix]]:
    """A: neighbours of each level. D: picks the coarser vertices. U: interpolates them back.

    U takes the closest point of the coarser mesh at rest: up to three weights that sum to one.
    """
    downward, upward = [], []
    for fine, coarse in itertools.pairwise(levels):
        columns = np.searchsorted(fine.ids, coarse.ids)
        rows = np.arange(len(coarse.ids))
        shape = (len(coarse.ids), len(fine.ids))
        downward.append(sp.csc_matrix((np.ones(len(rows)), (rows, columns)), shape=shape))
        triangles = template[coarse.ids][coarse.faces]
        places, faces = closest_points(triangles, template[fine.ids])
        weights = barycentric(triangles[faces], places)
        rows = np.repeat(np.arange(len(fine.ids)), 3)
        entries = (weights.ravel(), (rows, coarse.faces[faces].ravel()))
        upward.append(sp.csc_matrix(entries, shape=shape[::-1]))
    return {"A": [_adjacency(level) for level in levels], "U": upward, "D": downward}


def _adjacency(level: PyramidLevel) -> sp.csc_matrix:
    edges = np.concatenate([level.faces[:, [0, 1]], level.faces[:, [1, 2]], level.faces[:, [2, 0]]])
    count = len(level.ids)
    # Every edge of a closed mesh occurs once in each direction; METRO's file counts it once for each
    # of its two faces.
    twos = np.full(len(edges), 2.0)
    return sp.csc_matrix((twos, (edges[:, 0], edges[:, 1])), shape=(count, count))
