from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.records import SceneScan
from pipelines.shards.scene_cloud import scene_cloud, surface_cells

SQUARE = np.array([[0.0, 0.0, 0.005], [1.0, 0.0, 0.005], [1.0, 1.0, 0.005], [0.0, 1.0, 0.005]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_a_floor_has_one_point_per_cell():
    """1 m in cells of 2 cm: 50 x 50, and the border at 1.0 touches the next row."""
    cells = surface_cells(SQUARE, FACES, 0.02)
    inner = cells[(cells[:, :2] < 1).all(axis=1)]
    assert len(inner) == 2500
    np.testing.assert_allclose(np.unique(inner[:, 0]), 0.01 + 0.02 * np.arange(50))
    np.testing.assert_allclose(cells[:, 2], 0.01)


def test_points_do_not_depend_on_how_the_floor_is_cut():
    finer = np.concatenate([SQUARE, [[0.5, 0.5, 0.005]]])
    fan = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    np.testing.assert_allclose(surface_cells(finer, fan, 0.02), surface_cells(SQUARE, FACES, 0.02))


@given(st.integers(0, 1000))
def test_points_lie_near_the_surface_and_cover_it(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1, 1, (3, 3))
    cells = surface_cells(corners, np.array([[0, 1, 2]]), 0.05)
    weights = rng.dirichlet(np.ones(3), 200)
    gap = np.linalg.norm((weights @ corners)[:, None] - cells, axis=2).min(axis=1)
    assert gap.max() < 0.05  # within the half diagonal (43 mm) of some cell's centre
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= max(np.linalg.norm(normal), 1e-9)
    assert np.abs((cells - corners[0]) @ normal).max() <= 0.05 * np.sqrt(3) / 2 + 1e-9


def test_a_scan_without_faces_gives_no_points():
    grid = np.zeros((2, 2, 2), np.float32)
    scan = SceneScan(
        "empty", np.zeros((0, 3)), np.zeros((0, 3), np.int64), grid, np.zeros(3), np.ones(3)
    )
    assert scene_cloud(scan).shape == (0, 3)
