from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipelines.synthetic.rendering import (
    PixelRays,
    Surface,
    cell_noise,
    paste_body,
    shade,
    value_noise,
    view_all,
    view_body,
)
from pipelines.synthetic.sensor import kinect_rig


def ball(center: tuple[float, float, float], radius_m: float) -> Surface:
    mesh = trimesh.creation.icosphere(4, radius_m)
    vertices = np.asarray(mesh.vertices) + center
    colors = np.full((len(mesh.faces), 3), 0.5)
    return Surface(vertices, np.asarray(mesh.faces), np.asarray(mesh.face_normals), colors)


@pytest.fixture(scope="module")
def rays() -> PixelRays:
    return PixelRays.of(kinect_rig().infrared)


def test_depth_is_z_along_the_axis_not_range(rays: PixelRays) -> None:
    wall = Surface(
        np.array([[-9.0, -9, 2], [9, -9, 2], [9, 9, 2], [-9, 9, 2]]),
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.array([[0, 0, -1.0], [0, 0, -1.0]]),
        np.ones((2, 3)),
    )
    view = view_all(rays, wall)
    np.testing.assert_allclose(view.depth_m, 2.0, atol=1e-5)
    assert view.cosine[205, 257] == pytest.approx(1.0, abs=1e-3)
    assert view.cosine[0, 0] < 0.8


def test_a_small_ball_appears_at_its_distorted_projection(rays: PixelRays) -> None:
    center = (0.9, -0.6, 2.0)
    view = view_body(rays, ball(center, 0.03))
    assert view is not None
    rows, columns = np.nonzero(view.face >= 0)
    seen = [columns.mean() + view.left, rows.mean() + view.top]
    np.testing.assert_allclose(seen, rays.camera.project_camera(np.array([center]))[0], atol=0.5)


@pytest.mark.parametrize("camera", ["color", "infrared"])
def test_casting_near_the_body_only_finds_the_same_as_casting_everything(camera: str) -> None:
    rays = PixelRays.of(getattr(kinect_rig(), camera))
    surface = ball((0.2, 0.1, 2.5), 0.5)
    near, full = view_body(rays, surface), view_all(rays, surface)
    assert near is not None
    filled = np.full_like(full.depth_m, np.inf)
    filled[near.box] = near.depth_m
    np.testing.assert_array_equal(filled, full.depth_m)


def test_a_body_outside_the_image_or_behind_the_camera_is_no_view(rays: PixelRays) -> None:
    assert view_body(rays, ball((9.0, 0.0, 2.0), 0.3)) is None
    assert view_body(rays, ball((0.0, 0.0, -2.0), 0.3)) is None


def test_paste_changes_only_pixels_near_the_visible_body(rays: PixelRays) -> None:
    surface = ball((0.0, 0.0, 2.0), 0.3)
    view = view_body(rays, surface)
    assert view is not None
    background = np.full((424, 512, 3), 90, np.uint8)
    visible = view.face >= 0
    pasted = paste_body(background, shade(view, surface, np.array([0.0, -1, 0])), view, visible)
    changed = (pasted != background).any(axis=2)
    grown = np.zeros_like(changed)
    grown[view.box] = visible
    assert 0.9 * visible.sum() < changed.sum() < 1.2 * visible.sum()
    hidden = paste_body(background, shade(view, surface, np.zeros(3)), view, visible & False)
    np.testing.assert_array_equal(hidden, background)


def test_noise_is_fixed_in_space_smooth_and_bounded() -> None:
    points = np.random.default_rng(0).uniform(-5, 5, (2000, 3))
    noise = value_noise(points, 0.3, 7)
    np.testing.assert_array_equal(noise, value_noise(points, 0.3, 7))
    assert np.abs(noise).max() <= 1
    assert noise.std() > 0.2
    assert np.abs(value_noise(points + 1e-4, 0.3, 7) - noise).max() < 0.01
    np.testing.assert_array_equal(
        cell_noise(np.array([[0.2, 0, 0]]), 1), cell_noise(np.array([[0.9, 0, 0]]), 1)
    )
