"""Blocks rule out what is out of view and nothing else."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.shards.crop import in_view
from pipelines.shards.view import SceneBlocks

K = np.array([[900.0, 0, 960], [0, 950, 540], [0, 0, 1]])


@pytest.mark.parametrize("seed", range(12))
def test_the_points_in_view_are_those_found_by_looking_at_all(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4, 4, (20000, 3)).astype(np.float32)
    T = rigid(Rotation.random(random_state=seed).as_matrix(), rng.uniform(-3, 3, 3))
    centre, half = rng.uniform(0, 1200, 2), rng.uniform(30, 500)
    box = (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
    camera = transform_points(invert(T), points.astype(np.float64))
    expected = np.flatnonzero(in_view(camera, box, K))
    rows, seen = SceneBlocks.build(points).in_view(T, box, K)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(seen, camera[expected], atol=1e-12)
    assert len(rows) > 0


def test_a_view_beside_the_room_and_an_empty_room():
    points = np.random.default_rng(0).uniform(-1, 1, (100, 3)).astype(np.float32)
    away = rigid(np.eye(3), np.array([0, 0, 5.0]))  # the room lies behind
    for cloud in (points, points[:0]):
        rows, seen = SceneBlocks.build(cloud).in_view(away, (0.0, 0.0, 1920.0, 1920.0), K)
        assert rows.shape == (0,)
        assert seen.shape == (0, 3)
