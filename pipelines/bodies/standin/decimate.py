"""Mirror-symmetric mesh decimation by half-edge collapses: a kept vertex never moves.

So weights, shape and pose directions carry over by indexing, and coarser meshes are subsets of finer
ones. Cost of collapsing u into v: quadric error of v under u's planes plus a term that keeps edges
short, times a factor per region.
"""

from __future__ import annotations

import heapq

import numpy as np
from jaxtyping import Float, Int

_EDGE_WEIGHT = 0.02
"""Factor of (longest new edge)^4 beside the quadric error."""
_MIN_NORMAL_COSINE = 0.3
"""A collapse may turn no face by more than about 73 degrees,"""
_MIN_SLIVERNESS = 0.12
"""make no triangle flatter than this (twice the area over the longest edge squared),"""
_MAX_VALENCE = 11
"""and leave no vertex with more neighbours."""
_CANDIDATES = 3


class SymmetricDecimator:
    """A mesh that is collapsed step by step; `reduce_to` may be called with ever smaller counts."""

    def __init__(
        self,
        vertices: Float[np.ndarray, "verts 3"],
        faces: Int[np.ndarray, "faces 3"],
        mirror: Int[np.ndarray, " verts"],
        importance: Float[np.ndarray, " verts"],
        protected: set[int],
    ) -> None:
        self._vertices = vertices
        self._mirror = mirror.tolist()
        self._importance = importance
        self._protected = protected
        self._faces = dict(enumerate(map(tuple, faces.tolist())))
        self._faces_of: list[set[int]] = [set() for _ in range(len(vertices))]
        for index, face in self._faces.items():
            for corner in face:
                self._faces_of[corner].add(index)
        self._quadrics = _quadrics(vertices, faces)
        self._alive = set(np.unique(faces).tolist())
        self._age = [0] * len(vertices)
        self._queue: list[tuple[float, int, int, int]] = []
        self.num_unpaired = 0
        """Collapses whose mirror image was not possible."""
        for vertex in sorted(self._alive):
            self._enqueue(vertex)

    def reduce_to(self, count: int) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, "faces 3"]]:
        """Collapse until `count` vertices are left; their ids (sorted) and the faces."""
        while len(self._alive) > count:
            if not self._queue:
                raise RuntimeError(f"no collapse left at {len(self._alive)} vertices, wanted {count}")
            _, vertex, target, age = heapq.heappop(self._queue)
            if age != self._age[vertex] or vertex not in self._alive or target not in self._alive:
                continue
            partner = self._mirror[vertex]
            if len(self._alive) - (1 if partner == vertex else 2) < count:
                continue  # the last one must be a mid-line vertex for the parity to come out
            if self._may_collapse(vertex, target):
                self._collapse_pair(vertex, target)
        return np.array(sorted(self._alive)), np.array(list(self._faces.values()))

    def _collapse_pair(self, vertex: int, target: int) -> None:
        partner, partner_target = self._mirror[vertex], self._mirror[target]
        touched = self._ring(vertex) | {target}
        self._collapse(vertex, target)
        if partner != vertex and partner in self._alive:
            if self._may_collapse(partner, partner_target):
                touched |= self._ring(partner) | {partner_target}
                self._collapse(partner, partner_target)
            else:
                self.num_unpaired += 1
        for neighbour in sorted(touched & self._alive):
            self._enqueue(neighbour)

    def _ring(self, vertex: int) -> set[int]:
        ring = {corner for face in self._faces_of[vertex] for corner in self._faces[face]}
        ring.discard(vertex)
        return ring

    def _enqueue(self, vertex: int) -> None:
        """Put the cheapest collapses of a vertex into the queue; older entries lapse."""
        if vertex in self._protected:
            return
        self._age[vertex] += 1
        partner = self._mirror[vertex]
        ring = sorted(self._ring(vertex))
        on_mid_line = partner == vertex
        targets = [t for t in ring if t != partner and not (on_mid_line and self._mirror[t] != t)]
        if not targets:
            return
        costs = self._costs(vertex, targets, ring)
        for cost, target in sorted(zip(costs, targets, strict=True))[:_CANDIDATES]:
            heapq.heappush(self._queue, (cost, vertex, target, self._age[vertex]))

    def _costs(self, vertex: int, targets: list[int], ring: list[int]) -> list[float]:
        places = self._vertices[targets]
        homogeneous = np.concatenate([places, np.ones((len(targets), 1))], axis=1)
        quadric = np.einsum("ti,ij,tj->t", homogeneous, self._quadrics[vertex], homogeneous)
        edges = self._vertices[ring][None] - places[:, None]
        longest = np.einsum("tri,tri->tr", edges, edges).max(axis=1)
        cost = np.maximum(quadric, 0) + _EDGE_WEIGHT * longest**2
        return (cost * self._importance[vertex]).tolist()

    def _may_collapse(self, vertex: int, target: int) -> bool:
        ring, target_ring = self._ring(vertex), self._ring(target)
        if target not in ring or len(ring & target_ring) != 2:
            return False  # other counts would pinch the surface
        if len(ring) + len(target_ring) - 4 > _MAX_VALENCE:
            return False
        kept = [self._faces[f] for f in self._faces_of[vertex] if target not in self._faces[f]]
        before = self._vertices[kept]
        after = self._vertices[[[target if c == vertex else c for c in face] for face in kept]]
        return bool(_keep_shape(before, after))

    def _collapse(self, vertex: int, target: int) -> None:
        for index in list(self._faces_of[vertex]):
            face = self._faces[index]
            if target in face:
                for corner in face:
                    self._faces_of[corner].discard(index)
                del self._faces[index]
            else:
                a, b, c = (target if corner == vertex else corner for corner in face)
                self._faces[index] = (a, b, c)
                self._faces_of[target].add(index)
        self._faces_of[vertex] = set()
        self._alive.discard(vertex)
        self._quadrics[target] += self._quadrics[vertex]


def _keep_shape(before: Float[np.ndarray, "faces 3 3"], after: Float[np.ndarray, "faces 3 3"]) -> bool:
    old = np.cross(before[:, 1] - before[:, 0], before[:, 2] - before[:, 0])
    new = np.cross(after[:, 1] - after[:, 0], after[:, 2] - after[:, 0])
    old_area = np.linalg.norm(old, axis=1)
    new_area = np.linalg.norm(new, axis=1)
    edges = after - np.roll(after, 1, axis=1)
    longest = np.einsum("fci,fci->fc", edges, edges).max(axis=1)
    turned = np.einsum("fi,fi->f", old, new) < _MIN_NORMAL_COSINE * old_area * new_area
    flat = (new_area < 1e-12) | (new_area < _MIN_SLIVERNESS * longest)
    return not (flat | (turned & (old_area > 1e-12))).any()


def _quadrics(
    vertices: Float[np.ndarray, "verts 3"], faces: Int[np.ndarray, "faces 3"]
) -> Float[np.ndarray, "verts 4 4"]:
    """Sum over adjacent faces of area times the squared distance to the face's plane."""
    a, b, c = vertices[faces].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    twice_area = np.linalg.norm(normal, axis=1, keepdims=True) + 1e-20
    normal = normal / twice_area
    plane = np.concatenate([normal, -(normal * a).sum(1, keepdims=True)], axis=1)
    quadric = 0.5 * twice_area[:, :, None] * plane[:, :, None] * plane[:, None, :]
    total = np.zeros((len(vertices), 4, 4))
    for corner in range(3):
        np.add.at(total, faces[:, corner], quadric)
    return total
