from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.calibration import parse_rig_camera, read_calibration
from pipelines.datasets.images import read_color_mask, read_depth
from pipelines.datasets.kinect import DepthRegistration, resample_points
from pipelines.datasets.layout import ProxLayout
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import transform_points


def pinhole(width: int, height: int, focal: float, T: np.ndarray | None = None) -> RigCamera:
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return RigCamera(K, np.zeros(5), np.eye(4) if T is None else T, width, height)


@pytest.fixture(scope="module")
def golden(goldens_folder) -> dict[str, np.ndarray]:
    with np.load(goldens_folder / "humor_fitting.npz") as archive:
        return {name.split("/", 2)[-1]: archive[name] for name in archive.files if "prox/depth" in name}


def test_agrees_with_the_official_points(golden):
    depth_raw = np.ascontiguousarray(golden["depth/raw_u16"][:, ::-1])
    person = np.ascontiguousarray(golden["depth/mask_color_u8"][:, ::-1] == 0)
    infrared = parse_rig_camera(json.loads(str(golden["depth/depth_cam_json"])), (52, 42), "IR")
    color = parse_rig_camera(json.loads(str(golden["depth/color_cam_json"])), (1920, 1080), "Color")
    points = DepthRegistration(infrared, color).person_points(depth_raw, person)
    # OpenCV's five iterations of undistortion leave 2e-4 px in the recorded rays.
    np.testing.assert_allclose(points, golden["depth/points"], atol=1e-5)
    infrared_points = transform_points(np.linalg.inv(color.T_camera_from_rig), points)
    np.testing.assert_allclose(infrared_points, golden["depth/points_ir_frame"], atol=1e-5)


def test_one_pixel_by_hand():
    T = np.eye(4)
    T[0, 3] = -0.05
    registration = DepthRegistration(pinhole(64, 48, 50.0), pinhole(640, 480, 500.0, T))
    depth_raw = np.zeros((48, 64), np.uint16)
    depth_raw[34, 42] = 16000  # ray (0.2, 0.2, 1) at 2 m
    found = registration.register(depth_raw)
    np.testing.assert_allclose(found.points_camera, [[0.35, 0.4, 2.0]], atol=1e-12)
    assert found.color_px.tolist() == [[408, 340]]  # 320 + 500 * 0.175 = 407.5, to the even neighbour
    assert found.depth_index.tolist() == [34 * 64 + 42]


def test_no_return_gives_no_point():
    registration = DepthRegistration(pinhole(64, 48, 50.0), pinhole(640, 480, 500.0))
    found = registration.register(np.zeros((48, 64), np.uint16))
    assert found.points_camera.shape == (0, 3)


def test_points_outside_the_colour_image_are_left_out():
    narrow = pinhole(640, 480, 2000.0)
    found = DepthRegistration(pinhole(64, 48, 50.0), narrow).register(np.full((48, 64), 8000, np.uint16))
    assert 0 < len(found.points_camera) < 64 * 48
    assert (found.color_px >= 0).all()
    assert (found.color_px < (640, 480)).all()


def test_points_behind_the_colour_camera_are_left_out():
    T = np.eye(4)
    T[2, 3] = -2.0
    depth_raw = np.full((48, 64), 8000, np.uint16)
    found = DepthRegistration(pinhole(64, 48, 50.0), pinhole(640, 480, 500.0, T)).register(depth_raw)
    assert len(found.points_camera) == 0


def test_a_mask_of_the_depth_image_chooses_its_pixels():
    registration = DepthRegistration(pinhole(64, 48, 50.0), pinhole(640, 480, 500.0))
    depth_raw = np.full((48, 64), 8000, np.uint16)
    person = np.zeros((48, 64), dtype=bool)
    person[20, 30:33] = True
    points = registration.person_points(depth_raw, person)
    np.testing.assert_allclose(points[:, 0], (np.array([30, 31, 32]) - 32) / 50)


def test_distortion_agrees_with_opencv(pristine):
    calibration = read_calibration(ProxLayout(pristine.base), (1920, 1080), (512, 424))
    registration = DepthRegistration(calibration.infrared, calibration.color)
    depth_raw = np.random.default_rng(0).integers(4000, 40000, (424, 512)).astype(np.uint16)
    found = registration.register(depth_raw)
    color = calibration.color
    pixels, _ = cv2.projectPoints(
        found.points_camera.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), color.K, color.distortion
    )
    assert np.abs(pixels.reshape(-1, 2) - found.color_px).max() <= 0.5 + 1e-6


def test_the_card_lies_where_it_was_put(pristine):
    calibration = read_calibration(ProxLayout(pristine.base), (1920, 1080), (512, 424))
    frame = "s001_frame_00001__00.00.00.029"
    points = DepthRegistration(calibration.infrared, calibration.color).person_points(
        read_depth(pristine.file("Depth", frame), (512, 424)),
        read_color_mask(pristine.file("BodyIndexColor", frame), (1920, 1080)),
    )
    card = points[np.abs(points[:, 2] - 2.5) < 0.01]
    assert len(card) > 0.95 * len(points)  # the rest are wall pixels along the mask's edge
    np.testing.assert_allclose(card[:, 2], 2.5, atol=1e-4)
    np.testing.assert_allclose(card.min(axis=0)[:2], (0.3, -0.8), atol=0.01)
    np.testing.assert_allclose(card.max(axis=0)[:2], (0.9, 0.8), atol=0.01)


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_resampling_gives_the_count_from_the_given_points(available, count, seed):
    points = np.arange(available * 3, dtype=np.float64).reshape(-1, 3)
    chosen = resample_points(points, count, np.random.default_rng(seed))
    assert chosen.shape == (count, 3)
    index = (chosen[:, 0] / 3).astype(int)
    if available >= count:
        assert (np.diff(index) > 0).all()  # no point twice, raster order kept
    else:
        np.testing.assert_array_equal(index, np.arange(count) % available)
    again = resample_points(points, count, np.random.default_rng(seed))
    np.testing.assert_array_equal(again, chosen)


def test_nothing_is_resampled_to_zeros():
    assert (resample_points(np.zeros((0, 3)), 5, np.random.default_rng(0)) == 0).all()
