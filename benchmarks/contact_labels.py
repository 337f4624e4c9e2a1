"""Contact labels of a scene around a body: the k-d tree beside all pairs, which it equals.

The scene is the 2 cm cloud of a drawn room, the body a drawn one with as many vertices in each part as the
official segments have: speed depends on numbers and distances, not on looks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from benchmarks.table import BenchmarkTable, Cell
from pipelines.contact.labels import label_points, label_points_by_distances, label_vertices

DESCRIPTION = "Contact labels by a k-d tree beside all pairs"
PART_SIZES = (97, 97, 261, 269, 222, 113, 62)
"""Vertices of the seven parts on SMPL+H."""
RADIUS_M = 0.07
PITCH_M = 0.02


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Options of this benchmark."""
    parser.add_argument("--room-m", type=float, default=5.0, help="edge of the room's floor")


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Measure the CPU time of one thread; both ways must give the same labels."""
    body, category = draw_body()
    cloud = draw_room(options.room_m)
    nearby = cloud[np.linalg.norm(cloud - body.mean(axis=0), axis=1) < 1.25]
    rows = [
        _compare(name, points, body, category) for name, points in (("scene", cloud), ("1.25 m", nearby))
    ]
    vertices_ms, _ = _fastest_ms(lambda: label_vertices(body, category, cloud, RADIUS_M))
    return BenchmarkTable(
        name="contact_labels",
        title="Contact labels, CPU ms on one thread",
        columns=("points", "number", "in contact", "tree", "all pairs", "times faster"),
        rows=tuple(rows),
        notes=(f"The body's own vertices against the whole scene: {vertices_ms:.2f} ms.",),
        conditions={
            "vertices": len(body),
            "radius_m": RADIUS_M,
            "pitch_m": PITCH_M,
            "label_vertices_ms": vertices_ms,
        },
    )


def draw_body() -> tuple[Float[np.ndarray, "verts 3"], Int[np.ndarray, " verts"]]:
    """Patches where the parts of a person sitting on a box lie; z up, floor at 0."""
    rng = np.random.default_rng(0)
    centres = np.array(
        [[0.5, 0.1, 0], [0.5, -0.1, 0], [0.4, 0.3, 0.8], [0.4, -0.3, 0.8], [-0.1, 0, 0.8], [0, 0, 0.45],
         [0.2, 0, 0.45]]
    )  # fmt: skip
    extent = np.array([0.12, 0.1, 0.02])
    patches = [
        centre + extent * rng.uniform(-1, 1, (size, 3))
        for centre, size in zip(centres, PART_SIZES, strict=True)
    ]
    return np.concatenate(patches), np.repeat(np.arange(1, 8), PART_SIZES)


def draw_room(edge_m: float) -> Float[np.ndarray, "points 3"]:
    """Floor, two walls and the box sat on, one point per cell."""
    along = np.arange(-edge_m / 2, edge_m / 2, PITCH_M)
    up = np.arange(0, 2.5, PITCH_M)
    floor = _grid(along, along, np.zeros(1))
    walls = [_grid(along, along[:1], up), _grid(along[:1], along, up)]
    side = np.arange(-0.3, 0.3, PITCH_M)
    seat = _grid(side, side, np.full(1, 0.43))
    return np.concatenate([floor, *walls, seat])


def _grid(*axes: Float[np.ndarray, " steps"]) -> Float[np.ndarray, "points 3"]:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _compare(
    name: str,
    points: Float[np.ndarray, "points 3"],
    body: Float[np.ndarray, "verts 3"],
    category: Int[np.ndarray, " verts"],
) -> tuple[Cell, ...]:
    tree_ms, labels = _fastest_ms(lambda: label_points(points, body, category, RADIUS_M))
    pairs_ms, expected = _fastest_ms(
        lambda: label_points_by_distances(points, body, category, RADIUS_M), times=2
    )
    np.testing.assert_array_equal(labels, expected)
    return (name, len(points), int((labels > 0).sum()), tree_ms, pairs_ms, pairs_ms / tree_ms)


def _fastest_ms(
    step: Callable[[], Int[np.ndarray, " rows"]], times: int = 7
) -> tuple[float, Int[np.ndarray, " rows"]]:
    fewest, result = float("inf"), np.zeros(0, np.int64)
    for _ in range(times):
        start = time.process_time()
        result = step()
        fewest = min(fewest, 1000 * (time.process_time() - start))
    return fewest, result
