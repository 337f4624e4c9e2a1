"""Intrinsics of every format, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.capture.cameras import as_pose, read_lens, read_pose
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, rigid


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(content))
    return path


def azure(size: tuple[int, int] = (4096, 3072)) -> dict[str, Any]:
    numbers = [0.5, 0.5, 0.48, 0.64, 1, 2, 3, 4, 5, 6, 0, 0, 0.02, 0.01]
    cameras = []
    for purpose, sensor in (("Depth", (1024, 1024)), ("PhotoVideo", size)):
        cameras.append(
            {
                "Purpose": f"CALIBRATION_CameraPurpose{purpose}",
                "Intrinsics": {"ModelParameters": numbers},
                "Rt": {"Rotation": np.eye(3).ravel().tolist(), "Translation": [-0.03, 0, 0]},
                "SensorWidth": sensor[0],
                "SensorHeight": sensor[1],
            }
        )
    return {"CalibrationInformation": {"Cameras": cameras}}


def test_azure_factory_calibration_of_the_narrow_depth_mode(tmp_path: Path) -> None:
    lens = read_lens(written(tmp_path, azure()), "depth", (640, 576))
    # 0.5 * 1024 - 192 - 0.5 and 0.5 * 1024 - 180 - 0.5: the crop, and corner -> centre of a pixel.
    np.testing.assert_allclose(lens.K, [[491.52, 0, 319.5], [0, 655.36, 331.5], [0, 0, 1]])
    np.testing.assert_allclose(lens.distortion, [1, 2, 0.01, 0.02, 3, 4, 5, 6])


def test_azure_colour_modes_crop_the_sensor(tmp_path: Path) -> None:
    path = written(tmp_path, azure())
    wide = read_lens(path, "color", (1280, 720))
    np.testing.assert_allclose(wide.K[:2, 2], [639.5, 0.5 * 960 - 120 - 0.5])
    np.testing.assert_allclose(wide.K[1, 1], 0.64 * 960)
    full = read_lens(path, "color", (4096, 3072))
    np.testing.assert_allclose(full.K[:2, 2], [2047.5, 1535.5])
    assert wide.T_color_from_depth is not None
    np.testing.assert_allclose(wide.T_color_from_depth[:3, 3], [-0.03, 0, 0])


def test_azure_calibration_of_early_devices_is_of_the_wide_part(tmp_path: Path) -> None:
    lens = read_lens(written(tmp_path, azure((4096, 2304))), "color", (1280, 720))
    np.testing.assert_allclose(lens.K[1, 1], 0.64 * 720)
    np.testing.assert_allclose(lens.K[1, 2], 0.5 * 720 - 0.5)


def test_azure_has_no_such_mode(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="no color mode of this size"):
        read_lens(written(tmp_path, azure()), "color", (640, 480))


def test_realsense(tmp_path: Path) -> None:
    content = {"width": 640, "height": 480, "fx": 600, "fy": 601, "ppx": 321, "ppy": 239}
    content |= {"model": "distortion.inverse_brown_conrady", "coeffs": [0.1, 0.2, 0.3, 0.4, 0.5]}
    lens = read_lens(written(tmp_path, content), "color", (640, 480))
    np.testing.assert_allclose(lens.K, [[600, 0, 321], [0, 601, 239], [0, 0, 1]])
    np.testing.assert_allclose(lens.distortion, [0.1, 0.2, 0.3, 0.4, 0.5])


def test_open3d_stores_columns(tmp_path: Path) -> None:
    content = {"width": 640, "height": 480, "intrinsic_matrix": [600, 0, 0, 0, 601, 0, 321, 239, 1]}
    lens = read_lens(written(tmp_path, content), "color", (640, 480))
    np.testing.assert_allclose(lens.K, [[600, 0, 321], [0, 601, 239], [0, 0, 1]])


@pytest.mark.parametrize("head", ["", "%YAML:1.0\n---\n"])
def test_ros_and_opencv_yaml(tmp_path: Path, head: str) -> None:
    tag = "!!opencv-matrix" if head else ""
    text = f"""{head}image_width: 640
image_height: 480
camera_matrix: {tag}
  rows: 3
  cols: 3
  data: [600, 0, 321, 0, 601, 239, 0, 0, 1]
distortion_coefficients: {tag}
  rows: 1
  cols: 5
  data: [0.1, 0, 0, 0, 0]
"""
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    lens = read_lens(path, "color", (640, 480))
    np.testing.assert_allclose(lens.K, [[600, 0, 321], [0, 601, 239], [0, 0, 1]])
    assert lens.distortion[0] == 0.1


def test_intrinsics_of_twice_the_size_are_scaled_and_said(tmp_path: Path) -> None:
    content = {"width": 1280, "height": 960, "fx": 1200, "fy": 1202, "cx": 640.5, "cy": 479.5}
    lens = read_lens(written(tmp_path, content), "color", (640, 480))
    np.testing.assert_allclose(lens.K, [[600, 0, 320], [0, 601, 239.5], [0, 0, 1]])
    assert "1280 x 960 scaled to 640 x 480" in lens.notes[0]
    point = np.array([[0.3, -0.2, 1.0]])
    big = point @ np.array([[1200, 0, 640.5], [0, 1202, 479.5], [0, 0, 1]]).T
    small = point @ lens.K.T
    np.testing.assert_allclose((big[0, :2] + 0.5) / 2, small[0, :2] + 0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"width": 1280, "height": 720, "fx": 1, "fy": 1, "cx": 640, "cy": 360}, "another shape"),
        ({"fx": 600, "fy": 600, "cx": 960, "cy": 540}, "cannot be of these images"),
        ({"fx": 600, "fy": 600, "cx": 320, "cy": 240, "model": "kannala_brandt4"}, "fisheye"),
        ({"camera_mtx": np.eye(3).tolist(), "k": [1, 2, 3]}, "unknown lens model"),
        ({"camera_mtx": [[1, 2], [3, 4]], "k": []}, "camera matrix is wrong"),
        ({"lens": 3}, "intrinsics not recognised"),
        ([1, 2], "not a mapping"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        read_lens(written(tmp_path, content), "color", (640, 480))


def test_a_pose_is_read_from_every_kind_of_file(tmp_path: Path) -> None:
    T = rigid(cv2.Rodrigues(np.array([0.1, 0.2, 0.3]))[0], np.array([1.0, 2.0, 3.0]))
    (tmp_path / "a.json").write_text(json.dumps(T.tolist()))
    (tmp_path / "b.json").write_text(json.dumps({"trans": T.tolist()}))
    np.savetxt(tmp_path / "c.txt", T)
    np.save(tmp_path / "d.npy", T.T)  # column-major
    (tmp_path / "e.json").write_text(json.dumps({"pose": T[:3].tolist()}))
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_allclose(read_pose(path), T, atol=1e-9, err_msg=path.name)


def test_a_pose_with_scale_or_mirror_is_refused(tmp_path: Path) -> None:
    for bad in (np.diag([2.0, 2, 2, 1]), np.diag([1.0, 1, -1, 1])):
        with pytest.raises(DataInvalid, match="rotation is none"):
            as_pose(bad, "here")
    with pytest.raises(DataInvalid, match="not a pose"):
        as_pose([[1, 2], [3, 4]], "here")
    with pytest.raises(DataMissing, match="pose file not found"):
        read_pose(tmp_path / "none.json")
    assert np.allclose(invert(np.eye(4)), np.eye(4))
