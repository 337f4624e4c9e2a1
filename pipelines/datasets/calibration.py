"""PROX's two calibration files and the camera's pose in the scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from pipelines.datasets.layout import ProxLayout, read_json
from pipelines.errors import DataInvalid
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import is_rigid

_SHAPES: dict[str, tuple[int, ...]] = {
    "camera_mtx": (3, 3),
    "k": (5,),
    "f": (2,),
    "c": (2,),
    "R": (3,),
    "T": (3,),
    "view_mtx": (3, 4),
}
_RIGID_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The Kinect's two cameras in their rig. One pair serves every recording."""

    color: RigCamera
    infrared: RigCamera


def read_calibration(
    layout: ProxLayout, color_size_px: tuple[int, int], depth_size_px: tuple[int, int]
) -> Calibration:
    """Read calibration/Color.json and IR.json.

    Raises:
        DataMissing: a file is absent.
        DataInvalid: a key is absent, has another shape, or two keys contradict each other.
    """
    return Calibration(
        color=read_rig_camera(layout.calibration("Color"), color_size_px),
        infrared=read_rig_camera(layout.calibration("IR"), depth_size_px),
    )


def read_rig_camera(path: Path, size_px: tuple[int, int]) -> RigCamera:
    """Read one calibration file; every key is checked."""
    return parse_rig_camera(read_json(path), size_px, source=path)


def parse_rig_camera(content: Any, size_px: tuple[int, int], source: object) -> RigCamera:
    """One camera from the content of a calibration file."""
    if not isinstance(content, dict):
        raise DataInvalid("calibration is not a mapping", where=source, found=type(content).__name__)
    values = {key: _array(content, key, shape, source) for key, shape in _SHAPES.items()}
    K, view = values["camera_mtx"], values["view_mtx"]
    from_vectors = np.column_stack([cv2.Rodrigues(values["R"])[0], values["T"]])
    _agree(source, "f and camera_mtx", values["f"], K.diagonal()[:2], 0.01)
    _agree(source, "c and camera_mtx", values["c"], K[:2, 2], 0.01)
    _agree(source, "R, T and view_mtx", from_vectors, view, 5e-3)
    T_camera_from_rig = np.vstack([view, [0, 0, 0, 1]])
    if not is_rigid(T_camera_from_rig, _RIGID_TOLERANCE):
        raise DataInvalid("view_mtx is not a rigid transform", where=source, found=view.tolist())
    return RigCamera(K, values["k"], T_camera_from_rig, *size_px)


def read_cam2world(layout: ProxLayout, scene: str) -> Float[np.ndarray, "4 4"]:
    """`T_world_from_camera` of the colour camera in the scene's scan.

    Raises:
        DataMissing: no such file.
        DataInvalid: not a rigid 4x4 matrix.
    """
    return read_rigid(layout.cam2world(scene), "cam2world")


def read_rigid(path: Path, name: str) -> Float[np.ndarray, "4 4"]:
    """Read a JSON file that holds one rigid transform.

    Args:
        path: the file.
        name: of the transform, for the error.

    Raises:
        DataMissing: no such file.
        DataInvalid: not a rigid 4x4 matrix.
    """
    try:
        matrix = np.array(read_json(path), dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.shape != (4, 4) or not is_rigid(matrix, _RIGID_TOLERANCE):
        raise DataInvalid(
            f"{name} is not a rigid transform",
            where=path,
            expected="a 4x4 list: rotation, translation, last row 0 0 0 1",
            found=f"shape {matrix.shape}",
        )
    return matrix


def _array(
    content: dict[str, Any], key: str, shape: tuple[int, ...], source: object
) -> Float[np.ndarray, "..."]:
    if key not in content:
        raise DataInvalid(
            f"calibration lacks the key {key}",
            where=source,
            expected=", ".join(_SHAPES),
            found=", ".join(sorted(content)),
        )
    try:
        array = np.array(content[key], dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    if len(shape) == 1 and array.size == shape[0]:
        array = array.reshape(shape)  # row or column vectors are as good
    if array.shape != shape or not np.isfinite(array).all():
        raise DataInvalid(
            f"calibration key {key} is wrong",
            where=source,
            expected=f"finite numbers of shape {shape}",
            found=f"shape {array.shape}" if array.shape != shape else "NaN or infinity",
        )
    return array


def _agree(
    source: object,
    names: str,
    first: Float[np.ndarray, "..."],
    second: Float[np.ndarray, "..."],
    tolerance: float,
) -> None:
    difference = float(np.abs(first - second).max())
    if difference > tolerance:
        raise DataInvalid(
            f"calibration keys {names} contradict each other",
            where=source,
            expected=f"a difference of at most {tolerance}",
            found=f"{difference:.4g}",
        )
