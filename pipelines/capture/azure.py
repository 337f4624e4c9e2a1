"""The factory calibration of an Azure Kinect, for the mode that was recorded.

The device stores one calibration per sensor, in units of the full sensor and with (0, 0) at the corner
of the first pixel. A mode crops and scales that; the table is that of the sensor SDK (transformation,
mode-specific calibration).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import rigid

_PURPOSE = {"color": "CALIBRATION_CameraPurposePhotoVideo", "depth": "CALIBRATION_CameraPurposeDepth"}
_Size = tuple[int, int]
_MODES: dict[str, dict[_Size, tuple[_Size, _Size]]] = {
    "depth": {
        (640, 576): ((1024, 1024), (192, 180)),
        (320, 288): ((512, 512), (96, 90)),
        (512, 512): ((512, 512), (0, 0)),
        (1024, 1024): ((1024, 1024), (0, 0)),
    },
    "color": {
        (1280, 720): ((1280, 960), (0, 120)),
        (1920, 1080): ((1920, 1440), (0, 180)),
        (2560, 1440): ((2560, 1920), (0, 240)),
        (2048, 1536): ((2048, 1536), (0, 0)),
        (3840, 2160): ((3840, 2880), (0, 360)),
        (4096, 3072): ((4096, 3072), (0, 0)),
    },
}
"""Image size -> size the full sensor is scaled to, and the crop's first pixel."""
_OPENCV_ORDER = (4, 5, 13, 12, 6, 7, 8, 9)
"""k1, k2, p1, p2, k3 ... k6 among the 14 stored numbers; the last two are p2 and p1."""
_LEGACY = (16, 9)


def is_azure_raw(content: Mapping[str, Any]) -> bool:
    """Whether a file is the factory calibration (`k4a_device_get_raw_calibration`)."""
    information = content.get("CalibrationInformation")
    return isinstance(information, Mapping) and "Cameras" in information


def azure_camera(
    content: Mapping[str, Any], role: Literal["color", "depth"], size_px: _Size, source: object
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "8"], Float[np.ndarray, "4 4"]]:
    """Camera matrix, distortion and `T_color_from_depth` for one image size.

    Raises:
        DataInvalid: no such mode, or the file lacks the camera.
    """
    if size_px not in _MODES[role]:
        raise DataInvalid(
            f"Azure Kinect has no {role} mode of this size",
            where=source,
            expected=", ".join(f"{w} x {h}" for w, h in _MODES[role]),
            found="{} x {}".format(*size_px),
            fix="record at full size, or give intrinsics of the resized images as a plain file",
        )
    camera = _camera(content, role, source)
    values = np.array(camera["Intrinsics"]["ModelParameters"], dtype=np.float64)
    (width, height), crop = _MODES[role][size_px]
    cx, cy, fx, fy = values[:4]
    if role == "color" and _is_legacy(camera):
        cy, fy = (cy * 2304 + 384) / 3072, fy * 2304 / 3072
    K = np.array(
        [
            [fx * width, 0, cx * width - crop[0] - 0.5],
            [0, fy * height, cy * height - crop[1] - 0.5],
            [0, 0, 1],
        ]
    )
    return K, values[list(_OPENCV_ORDER)], _color_from_depth(content, source)


def _is_legacy(camera: Mapping[str, Any]) -> bool:
    """Early devices calibrate the 16:9 part of the sensor."""
    return int(camera["SensorWidth"]) * _LEGACY[1] == int(camera["SensorHeight"]) * _LEGACY[0]


def _color_from_depth(content: Mapping[str, Any], source: object) -> Float[np.ndarray, "4 4"]:
    """The colour camera's `Rt` maps from the depth camera, metres."""
    pose = _camera(content, "color", source)["Rt"]
    rotation = np.array(pose["Rotation"], dtype=np.float64).reshape(3, 3)
    return rigid(rotation, np.array(pose["Translation"], dtype=np.float64))


def _camera(content: Mapping[str, Any], role: str, source: object) -> Mapping[str, Any]:
    for camera in content["CalibrationInformation"]["Cameras"]:
        if camera.get("Purpose") == _PURPOSE[role]:
            found: Mapping[str, Any] = camera
            if len(found["Intrinsics"]["ModelParameters"]) >= 14:
                return found
    raise DataInvalid(
        f"the calibration holds no {role} camera with 14 parameters",
        where=source,
        expected=_PURPOSE[role],
    )
