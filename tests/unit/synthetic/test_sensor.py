from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import rigid
from pipelines.synthetic.sensor import (
    calibration_json,
    depth_codes,
    encode_jpeg,
    encode_png,
    kinect_rig,
    rough_mask,
    sense_depth,
    stored,
)


def from_json(content: dict[str, list[float]], size_px: tuple[int, int]) -> RigCamera:
    """What a reader makes of a calibration file."""
    view = np.array(content["view_mtx"])
    return RigCamera(
        np.array(content["camera_mtx"]), np.array(content["k"]), rigid(view[:, :3], view[:, 3]), *size_px
    )


def test_calibration_has_the_seven_keys_and_they_agree() -> None:
    content = calibration_json(kinect_rig().infrared)
    assert set(content) == {"camera_mtx", "k", "f", "c", "R", "T", "view_mtx"}
    rotmat, _ = cv2.Rodrigues(np.array(content["R"]))
    np.testing.assert_allclose(np.column_stack([rotmat, content["T"]]), content["view_mtx"], atol=1e-12)
    assert content["f"] == [content["camera_mtx"][0][0], content["camera_mtx"][1][1]]
    assert content["c"] == [content["camera_mtx"][0][2], content["camera_mtx"][1][2]]


def test_infrared_camera_is_rotated_against_the_colour_camera() -> None:
    rig = kinect_rig()
    turn = rig.infrared.T_camera_from_rig[:3, :3] @ rig.color.T_camera_from_rig[:3, :3].T
    assert 1.5 < np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 4


def test_colour_distortion_moves_no_pixel_by_two() -> None:
    camera = kinect_rig().color
    u, v = np.meshgrid(np.arange(0, 1920, 60), np.arange(0, 1080, 60))
    pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(float)
    straight = camera.rays(pixels) @ camera.K.T
    shift = np.linalg.norm(straight[:, :2] - pixels, axis=1)
    assert 0.5 < shift.max() < 2


def test_values_of_the_projection_page_through_a_file() -> None:
    camera = RigCamera(
        np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]]),
        np.array([0.1, 0, 0.01, -0.02, 0]),
        np.eye(4),
        1920,
        1080,
    )
    read = from_json(calibration_json(camera), (1920, 1080))
    np.testing.assert_allclose(read.project(np.array([[0.2, 0.1, 1.0]])), [[1158.8, 640.4]])


def test_depth_codes_of_two_metres_nothing_and_too_far() -> None:
    codes = depth_codes(np.array([[2.0, 0.0, 9.0, 7.9]]))
    assert codes.dtype == np.uint16
    assert codes.tolist() == [[16000, 0, 0, 63200]]


def test_stored_images_are_mirrored_and_sixteen_bit() -> None:
    image = np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000
    np.testing.assert_array_equal(stored(image)[:, 0], image[:, 3])
    decoded = cv2.imdecode(np.frombuffer(encode_png(image), np.uint8), cv2.IMREAD_ANYDEPTH)
    assert decoded is not None
    np.testing.assert_array_equal(decoded[:, ::-1], image)


def test_jpeg_is_mirrored_rgb() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = (200, 30, 30)
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(image), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    red_side = decoded[:, 40:, ::-1].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(red_side, (200, 30, 30), atol=6)


def test_depth_noise_grows_with_distance_and_slant() -> None:
    def spread(z: float, cosine: float) -> float:
        depth = np.full((120, 120), z)
        sensed = sense_depth(depth, np.full((120, 120), cosine), np.random.default_rng(0))
        return float(np.std(sensed[sensed > 0] - z))

    assert 0.002 < spread(2.0, 1.0) < 0.008
    assert spread(4.0, 1.0) > 2 * spread(2.0, 1.0)
    assert spread(2.0, 0.3) > 1.5 * spread(2.0, 1.0)


def test_depth_is_lost_or_mixed_at_edges_and_lost_at_grazing_and_far_surfaces() -> None:
    depth = np.full((100, 100), 3.0)
    depth[:, 50:] = 1.5
    sensed = sense_depth(depth, np.ones((100, 100)), np.random.default_rng(1))
    edge = sensed[:, 49:51]
    assert 0.2 < (edge == 0).mean() < 0.5
    assert ((edge > 1.7) & (edge < 2.8)).mean() > 0.05
    assert (sensed[:, :45] == 0).mean() < 0.02
    grazing = sense_depth(np.full((50, 50), 2.0), np.full((50, 50), 0.03), np.random.default_rng(2))
    assert (grazing == 0).all()
    far = sense_depth(np.full((50, 50), np.inf), np.zeros((50, 50)), np.random.default_rng(3))
    assert (far == 0).all()


def test_rough_mask_errs_by_the_border_only() -> None:
    disc = np.hypot(*np.mgrid[-80:80, -80:80]) < 50
    rough = rough_mask(disc, 2.5, np.random.default_rng(0))
    wrong = rough != disc
    distance = np.abs(np.hypot(*np.mgrid[-80:80, -80:80]) - 50)
    assert 0.01 < wrong.mean() < 0.05
    assert distance[wrong].max() < 8
    assert rough.sum() == pytest.approx(disc.sum(), rel=0.05)
    assert not rough_mask(disc & False, 2.5, np.random.default_rng(0)).any()
