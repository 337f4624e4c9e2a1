import numpy as np
import pytest

from pipelines.metrics.raster import parallel_rays, pinhole_rays, section, shade

K = np.array([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]])
SQUARE = np.array([[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.5, 0.5, 2.0], [-0.5, 0.5, 2.0]])
SQUARE_FACES = np.array([[0, 2, 1], [0, 3, 2]])


def test_a_square_before_the_camera_fills_the_pixels_its_projection_covers():
    rays = pinhole_rays(K, (0.0, 0.0), 1.0, (100, 80))
    layer = shade(SQUARE, SQUARE_FACES, np.full((4, 3), 0.5), rays)
    picture = layer.hit.reshape(80, 100)
    rows, columns = np.nonzero(picture)
    assert (columns.min(), columns.max()) == (25, 75)
    assert (rows.min(), rows.max()) == (15, 65)
    np.testing.assert_allclose(layer.distance[layer.hit], 2.0)  # depth along z, not range


def test_a_face_seen_straight_on_keeps_its_colour_and_a_slanted_one_darkens():
    rays = pinhole_rays(K, (50.0, 40.0), 1.0, (1, 1))
    straight = shade(SQUARE, SQUARE_FACES, np.full((4, 3), 0.5), rays)
    np.testing.assert_allclose(straight.color, 0.5)
    slanted = SQUARE.copy()
    slanted[:, 2] = 2 + SQUARE[:, 0]  # 45 degrees
    darker = shade(slanted, SQUARE_FACES, np.full((4, 3), 0.5), rays)
    np.testing.assert_allclose(darker.color, 0.5 * (0.35 + 0.65 * 0.5**0.5))


def test_colours_blend_over_a_face():
    colors = np.array([[0.0] * 3, [1.0] * 3, [1.0] * 3, [0.0] * 3])  # left black, right white
    rays = pinhole_rays(K, (62.5, 40.0), 1.0, (1, 1))  # x = 0.25 on the square
    layer = shade(SQUARE, SQUARE_FACES, colors, rays)
    np.testing.assert_allclose(layer.color / (0.35 + 0.65 * 1 / np.hypot(1, 0.125)), 0.75)


def test_a_crop_samples_the_same_rays_as_the_whole_image():
    whole = pinhole_rays(K, (0.0, 0.0), 1.0, (100, 80))
    crop = pinhole_rays(K, (10.0, 20.0), 2.0, (5, 4))
    picture = whole.directions.reshape(80, 100, 3)
    np.testing.assert_allclose(crop.directions.reshape(4, 5, 3), picture[20:28:2, 10:20:2])


def test_parallel_rays_start_before_the_centre_and_span_the_extent():
    right, down = np.array([0.0, 0, 1]), np.array([0.0, 1, 0])
    rays = parallel_rays(np.array([1.0, 2, 3]), right, down, 2.0, 0.5, 4)
    forward = np.cross(right, down)
    np.testing.assert_allclose(rays.directions, np.tile(forward, (16, 1)))
    np.testing.assert_allclose(rays.origins.mean(axis=0), [1, 2, 3] - 0.5 * forward)
    np.testing.assert_allclose(rays.origins[1] - rays.origins[0], 0.5 * right)


def test_a_plane_cuts_a_square_along_a_line():
    lines = section(SQUARE, SQUARE_FACES, np.array([0.1, 0.0, 0.0]), np.array([1.0, 0, 0]))
    assert lines.shape == (2, 2, 3)
    np.testing.assert_allclose(lines[..., 0], 0.1)
    assert np.ptp(lines[..., 1]) == pytest.approx(1.0)
    missed = section(SQUARE, SQUARE_FACES, np.array([3.0, 0, 0]), np.array([1.0, 0, 0]))
    assert missed.shape == (0, 2, 3)
