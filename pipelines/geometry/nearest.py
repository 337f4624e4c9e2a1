"""Exact nearest neighbours without gradient (the pairs are constants of an energy)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from pipelines.geometry import pytorch3d_backend

_ROUNDING_M = 2e-6
_WORTH_LISTS_M = 0.003
_TOO_MANY_DOUBTS = 0.25
_CHUNK_PAIRS = 1 << 25


def nearest_indices(
    queries: Float[np.ndarray, "queries 3"], targets: Float[np.ndarray, "targets 3"]
) -> Int[np.ndarray, " queries"]:
    """Index of the nearest target of each query (Euclidean, exact)."""
    _, indices = _tree(targets).query(queries)
    return np.asarray(indices, dtype=np.int64)


def nearest_rows(
    queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
) -> Int[Tensor, " queries"]:
    """Index of the nearest target of each query, where the tensors are; no gradient.

    On a CPU by a tree; elsewhere by pytorch3d if it is installed, else by all distances, in chunks.
    """
    queries, targets = queries.detach(), targets.detach()
    if queries.device.type == "cpu":
        return torch.as_tensor(nearest_indices(queries.numpy(), targets.numpy()))
    if queries.is_cuda and pytorch3d_backend.is_installed():
        return pytorch3d_backend.nearest_rows(queries, targets)
    return nearest_by_distances(queries, targets)


def nearest_by_distances(
    queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
) -> Int[Tensor, " queries"]:
    """Index of the nearest target of each query by looking at every pair, on any device."""
    chunks = queries.split(max(1, _CHUNK_PAIRS // max(1, len(targets))))
    # The default way by matrix products is off by millimetres a few metres from the origin.
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat([torch.cdist(part, targets, compute_mode=exact).argmin(dim=1) for part in chunks])


class NearestCache:
    """Nearest targets of queries that, like the targets, move a little from call to call; exact.

    For each query the nearest few targets are kept. After the query moved by m and targets by at most M
    since then, a target outside the list is no nearer than (distance of the first one left out) - m - M;
    a kept one nearer than that is the nearest of all. Queries that fail this test are searched in a tree.
    Exact up to the rounding of the tensors' type: of two targets equally near to 2e-6 m, either may come.

        cache = NearestCache()
        indices = cache.query(points, vertices)      # first call: a tree search
        indices = cache.query(points, vertices_a_little_later)
    """

    def __init__(self, num_candidates: int = 10) -> None:
        self._num_candidates = num_candidates
        self._last_targets: Tensor | None = None
        self._lists: _Lists | None = None
        self.num_searched = 0
        """Queries searched in a tree so far; all others were answered from the lists."""

    def query(
        self, queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
    ) -> Int[Tensor, " queries"]:
        """Index of the nearest target of each query; same counts of both in every call."""
        queries, targets = queries.detach(), targets.detach()
        nearest = self._from_lists(queries, targets) if self._lists is not None else None
        if nearest is None:
            nearest = self._search(queries, targets)
        self._last_targets = targets.clone()
        return nearest

    def _from_lists(
        self, queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
    ) -> Int[Tensor, " queries"] | None:
        lists = self._lists
        assert lists is not None
        nearest, doubtful = lists.nearest(queries, targets)
        count = int(doubtful.sum())
        if count > _TOO_MANY_DOUBTS * len(queries):
            return None
        if count:
            found = nearest_indices(queries[doubtful].numpy(), targets.numpy())
            nearest[doubtful] = torch.as_tensor(found)
            self.num_searched += count
        return nearest

    def _search(
        self, queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
    ) -> Int[Tensor, " queries"]:
        """All queries through a tree; lists are made only when the targets have come near to rest."""
        self.num_searched += len(queries)
        moved = None if self._last_targets is None else targets - self._last_targets
        resting = moved is None or float(moved.square().sum(-1).max()) < _WORTH_LISTS_M**2
        if not resting:
            self._lists = None
            return torch.as_tensor(nearest_indices(queries.numpy(), targets.numpy()))
        self._lists = _Lists(queries, targets, self._num_candidates)
        return self._lists.candidates[0].clone()


class FixedTargets:
    """Nearest of many fixed targets (a scan) to queries that move a little from call to call; exact.

    Each query keeps its own list and the place where it was made, so a list is renewed alone.
    """

    def __init__(
        self, targets: Float[np.ndarray, "targets 3"], dtype: torch.dtype, num_candidates: int = 4
    ) -> None:
        self.targets = torch.tensor(targets, dtype=dtype)
        self._tree = _tree(targets)
        self._ranks = np.arange(1, min(num_candidates + 1, len(targets)) + 1)
        self._queries = torch.zeros(0, 3, dtype=dtype)
        self._candidates = torch.zeros(0, dtype=torch.int64)
        self._beyond = torch.zeros(0, dtype=dtype)
        self.num_searched = 0
        """Queries searched in the tree so far."""

    def query(self, queries: Float[Tensor, "queries 3"]) -> Int[Tensor, " queries"]:
        """Index of the nearest target of each query; queries keep their row from call to call."""
        queries = queries.detach()
        if len(queries) != len(self._queries):
            self._queries = torch.full_like(queries, torch.inf)
            self._candidates = torch.zeros(len(self._ranks), len(queries), dtype=torch.int64)
            self._beyond = torch.zeros(len(queries), dtype=queries.dtype)
        offsets = self.targets[self._candidates] - queries
        smallest, rank = offsets.square().sum(-1).min(dim=0)
        nearest = self._candidates.gather(0, rank[None])[0]
        moved = (queries - self._queries).square().sum(-1).sqrt()
        doubtful = smallest.sqrt() > self._beyond - moved - _ROUNDING_M
        if doubtful.any():
            nearest[doubtful] = self._renew(queries, doubtful)
        return nearest

    def _renew(
        self, queries: Float[Tensor, "queries 3"], rows: Bool[Tensor, " queries"]
    ) -> Int[Tensor, " rows"]:
        found_at = self._tree.query(queries[rows].numpy(), k=self._ranks)
        distances, indices = (np.asarray(part) for part in found_at)
        whole = len(self._ranks) == len(self.targets)
        found = torch.as_tensor(indices).T
        self._candidates[:, rows] = found
        beyond = np.full(len(distances), np.inf) if whole else distances[:, -1]
        self._beyond[rows] = torch.as_tensor(beyond, dtype=queries.dtype)
        self._queries[rows] = queries[rows]
        self.num_searched += len(distances)
        return found[0]


class _Lists:
    """Nearest few targets of each query at the time of making."""

    def __init__(
        self, queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"], kept: int
    ) -> None:
        count = min(kept + 1, len(targets))
        found_at = _tree(targets.numpy()).query(queries.numpy(), k=np.arange(1, count + 1))
        distances, indices = (np.asarray(part) for part in found_at)
        whole = count == len(targets)
        self.queries, self.targets = queries.clone(), targets.clone()
        self.candidates = torch.as_tensor(indices if whole else indices[:, :-1]).T.contiguous()
        """Row per rank: contiguous reads of one coordinate of all queries are what makes this fast."""
        beyond = np.full(len(queries), np.inf) if whole else distances[:, -1]
        self.beyond = torch.as_tensor(beyond, dtype=queries.dtype)

    def nearest(
        self, queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
    ) -> tuple[Int[Tensor, " queries"], Bool[Tensor, " queries"]]:
        """Best of the lists, and where that may not be the best of all."""
        squared = torch.zeros(self.candidates.shape, dtype=queries.dtype)
        for axis in range(3):
            offset = targets[:, axis].contiguous().take(self.candidates)
            offset -= queries[:, axis]
            squared.addcmul_(offset, offset)
        smallest, rank = squared.min(dim=0)
        nearest = self.candidates.gather(0, rank[None])[0]
        reach = (targets - self.targets).square().sum(-1).max().sqrt()
        moved = (queries - self.queries).square().sum(-1).sqrt()
        return nearest, smallest.sqrt() > self.beyond - moved - reach - _ROUNDING_M


def _tree(targets: Float[np.ndarray, "targets 3"]) -> cKDTree:
    # Half the time to build, and on surfaces no slower to search than a balanced tree.
    return cKDTree(targets, balanced_tree=False, compact_nodes=False)
