from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.synthetic.primitives import Solid, tessellate, union_distance, union_grid

BOX = Solid("box", "box", (1.0, 2.0, 0.5), (0.4, 0.3, 0.5), yaw_rad=0.6, rounding_m=0.05)
POST = Solid("post", "cylinder", (-1.0, 0.5, 0.6), (0.3, 0.3, 0.6), rounding_m=0.04)


def at(*points: tuple[float, float, float]) -> np.ndarray:
    return np.array(points, dtype=float)


def test_box_distances_by_hand() -> None:
    box = Solid("box", "box", (0.0, 0.0, 0.0), (1.0, 2.0, 3.0))
    points = at(
        (2.0, 0.0, 0.0),
        (0.0, 0.0, 0.0),
        (0.0, 1.5, 0.0),
        (4.0, 6.0, 3.0),
        (4.0, 6.0, 15.0),
    )
    np.testing.assert_allclose(box.signed_distance(points), [1, -1, -0.5, 5, 13])


def test_cylinder_distances_by_hand() -> None:
    post = Solid("post", "cylinder", (0.0, 0.0, 1.0), (0.5, 0.5, 1.0))
    points = at((1.5, 0.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.0, 2.25), (0.0, 0.5 + 0.3, 2.4))
    np.testing.assert_allclose(post.signed_distance(points), [1, -0.5, 0.25, 0.5], atol=1e-12)


def test_rounding_keeps_the_faces_and_cuts_the_corner() -> None:
    box = Solid("box", "box", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), rounding_m=0.2)
    corner = 0.8 * np.sqrt(3) + 0.2
    np.testing.assert_allclose(box.signed_distance(at((1.0, 0.0, 0.0), (0.0, -1.0, 0.3))), 0, atol=1e-12)
    assert box.signed_distance(at((1.0, 1.0, 1.0)))[0] == pytest.approx(np.sqrt(3) - corner)


def test_moving_a_solid_moves_its_distance() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (200, 3))
    c, s = np.cos(0.7), np.sin(0.7)
    turned = points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [0.3, -0.2, 0.1]
    moved = BOX.moved(0.7, (0.3, -0.2, 0.1))
    np.testing.assert_allclose(moved.signed_distance(turned), BOX.signed_distance(points), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_distance_never_changes_faster_than_the_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-3, 3, (2, 50, 3))
    for solid in (BOX, POST):
        change = np.abs(solid.signed_distance(a) - solid.signed_distance(b))
        assert (change <= np.linalg.norm(a - b, axis=1) + 1e-9).all()


@pytest.mark.parametrize("solid", [BOX, POST], ids=lambda solid: solid.name)
def test_mesh_lies_on_the_surface_and_faces_outwards(solid: Solid) -> None:
    vertices, faces = tessellate(solid, 0.03)
    assert np.abs(solid.signed_distance(vertices)).max() < 1e-9
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    kept = area > 1e-9
    step = corners.mean(axis=1)[kept] + 0.01 * normals[kept] / area[kept, None]
    assert (solid.signed_distance(step) > 0.005).all()


def test_one_sided_surface_has_only_that_side() -> None:
    wall = Solid("wall", "box", (0.0, 0.0, 0.0), (0.1, 1.0, 1.0), front="+x")
    vertices, _ = tessellate(wall, 0.2)
    np.testing.assert_allclose(vertices[:, 0], 0.1)


def test_grid_agrees_with_the_points_in_a_turned_room() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    T_room_from_world = np.eye(4)
    T_room_from_world[:2, :2], T_room_from_world[:3, 3] = [[c, -s], [s, c]], [0.4, -0.1, 0.7]
    axes = (np.linspace(-2.0, 2.0, 17), np.linspace(-1.0, 3.0, 19), np.linspace(-1.0, 1.0, 13))
    grid = union_grid([BOX, POST], axes, T_room_from_world)
    world = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    room = world @ T_room_from_world[:3, :3].T + T_room_from_world[:3, 3]
    np.testing.assert_allclose(grid.ravel(), union_distance([BOX, POST], room), atol=1e-5)
