"""EgoBody's Kinects, and the chain from each to the master and to the room's scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

from pipelines.datasets.images import DEPTH_UNITS_PER_METRE
from pipelines.datasets.layout import read_json
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import is_rigid, transform_points

KINECT_NUMBERS: Final = {"master": 12, "sub_1": 11, "sub_2": 13, "sub_3": 14, "sub_4": 15}
"""View -> number in the names of the calibration files."""
MASTER: Final = "master"
_TOLERANCE: Final = 1e-3
_MAX_COEFFICIENTS: Final = 14
_STOP: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class KinectCamera:
    """Colour or depth camera of one Kinect."""

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    """OpenCV order: 4, 5, 8, 12 or 14 numbers."""

    def undistorted(
        self, image: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The image a camera without distortion would have taken with the same matrix."""
        return np.asarray(cv2.undistort(image, self.K, self.distortion))


@dataclass(frozen=True, slots=True, eq=False)
class DepthCamera:
    """Depth camera of one Kinect, and where it is in the colour camera."""

    camera: KinectCamera
    T_color_from_depth: Float[np.ndarray, "4 4"]

    def points(
        self, raw: UInt16[np.ndarray, "rows columns"], max_depth_m: float
    ) -> Float[np.ndarray, "points 3"]:
        """Every return nearer than `max_depth_m`, colour camera frame, raster order."""
        depth_m = raw / DEPTH_UNITS_PER_METRE
        row, column = np.nonzero((depth_m > 0) & (depth_m < max_depth_m))
        pixels = np.column_stack([column, row]).astype(np.float64)
        if len(pixels) == 0:
            return np.zeros((0, 3))
        plane = cv2.undistortPoints(
            pixels.reshape(-1, 1, 2), self.camera.K, self.camera.distortion, criteria=_STOP
        )
        rays = np.column_stack([plane.reshape(-1, 2), np.ones(len(pixels))])
        return transform_points(self.T_color_from_depth, rays * depth_m[row, column][:, None])


def read_color_camera(path: Path) -> KinectCamera:
    """Read kinect_cam_params/kinect_<view>/Color.json.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent or has another shape.
    """
    return _camera(_mapping(path), path)


def read_depth_camera(path: Path) -> DepthCamera:
    """Read kinect_cam_params/kinect_<view>/IR.json.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent or has another shape, or ext_depth2color is not rigid.
    """
    content = _mapping(path)
    return DepthCamera(_camera(content, path), _rigid(content, "ext_depth2color", path))


def read_transform(folder: Path, name: str) -> Float[np.ndarray, "4 4"]:
    """Read `{"trans": 4x4}` of one recording's calibrations, with or without the folder `cal_trans`.

    EgoBody's description leaves that folder out; its code has it.

    Raises:
        DataMissing: in neither place.
        DataInvalid: not a rigid transform.
    """
    places = (folder / "cal_trans" / name, folder / name)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataMissing(
            "EgoBody calibration not found",
            where=folder,
            expected=f"cal_trans/{name} or {name}",
            fix="unpack calibrations.zip into the tree",
        )
    return _rigid(_mapping(path), "trans", path)


def _camera(content: dict[str, Any], path: Path) -> KinectCamera:
    K = _array(content, "camera_mtx", path)
    distortion = _array(content, "k", path).reshape(-1)
    if K.shape != (3, 3) or not 4 <= len(distortion) <= _MAX_COEFFICIENTS:
        raise DataInvalid(
            "EgoBody camera is wrong",
            where=path,
            expected="camera_mtx (3, 3), k of 4 to 14 numbers",
            found=f"camera_mtx {K.shape}, k {distortion.shape}",
        )
    return KinectCamera(K, distortion)


def _rigid(content: dict[str, Any], key: str, path: Path) -> Float[np.ndarray, "4 4"]:
    matrix = _array(content, key, path)
    if matrix.shape != (4, 4) or not is_rigid(matrix, _TOLERANCE):
        raise DataInvalid(
            f"{key} is not a rigid transform",
            where=path,
            expected="a 4x4 list: rotation, translation, last row 0 0 0 1",
            found=f"shape {matrix.shape}",
        )
    return matrix


def _array(content: dict[str, Any], key: str, path: Path) -> Float[np.ndarray, "..."]:
    try:
        array = np.array(content[key], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        array = np.full(0, np.nan)
    if not np.isfinite(array).all() or array.size == 0:
        raise DataInvalid(
            f"key {key} is absent or holds no numbers", where=path, found=", ".join(sorted(content))
        )
    return array


def _mapping(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataInvalid("not a JSON mapping", where=path, found=type(content).__name__)
    return content
