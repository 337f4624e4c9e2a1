"""RICH's cameras, and the frame its scans are level in."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pipelines.datasets.layout import read_json
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import invert, is_rigid

_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class RichCamera:
    """One calibrated camera."""

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    """k1, k2 first. No consumer of RICH uses it."""
    T_world_from_camera: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, slots=True, eq=False)
class LevelFrame:
    """Capture -> the frame in which floors are level: scale * X @ rotation + shift, X a row vector."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    shift: Float[np.ndarray, "3"]

    def axes_world(self) -> Float[np.ndarray, "6 3"]:
        """The level frame's +x, +y, +z, -x, -y, -z as unit vectors of the capture's world."""
        # Coordinate k of X @ R is X . R[:, k]: it grows fastest along that column.
        return np.concatenate([self.rotation.T, -self.rotation.T])


def read_camera(path: Path) -> RichCamera:
    """Read calibration/<CCC>.xml (OpenCV storage): `CameraMatrix` is the pose, `Intrinsics` the matrix.

    Raises:
        DataMissing: no such file.
        DataInvalid: not such a file, or its pose is not rigid.
    """
    if not path.is_file():
        raise DataMissing("RICH calibration not found", where=path, fix="unpack scan_calibration")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataInvalid(f"calibration is no XML: {error}", where=path, fix="get it again") from None
    pose = _numbers(root, "CameraMatrix", 12, path).reshape(3, 4)
    T_camera_from_world = np.vstack([pose, [0, 0, 0, 1]])
    if not is_rigid(T_camera_from_world, _TOLERANCE):
        raise DataInvalid(
            "CameraMatrix is not a rigid transform",
            where=path,
            expected="[R|t], world -> camera",
            found=pose.tolist(),
        )
    return RichCamera(
        K=_numbers(root, "Intrinsics", 9, path).reshape(3, 3),
        distortion=_numbers(root, "Distortion", None, path),
        T_world_from_camera=invert(T_camera_from_world),
    )


def read_level_frame(path: Path) -> LevelFrame:
    """Read multicam2world/<capture>_multicam2world.json.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent, or R is no rotation.
    """
    content = read_json(path)
    try:
        frame = LevelFrame(
            scale=float(np.asarray(content["c"], dtype=np.float64).reshape(())),
            rotation=np.array(content["R"], dtype=np.float64).reshape(3, 3),
            shift=np.array(content["t"], dtype=np.float64).reshape(3),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataInvalid(
            f"multicam2world is wrong ({type(error).__name__}: {error})",
            where=path,
            expected="R (3, 3), t (3), c (one number)",
        ) from None
    if (
        not np.allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=_TOLERANCE)
        or frame.scale <= 0
    ):
        raise DataInvalid(
            "multicam2world holds no rotation and scale",
            where=path,
            found=f"R {frame.rotation.tolist()}, c {frame.scale}",
        )
    return frame


def _numbers(
    root: ElementTree.Element, name: str, count: int | None, path: Path
) -> Float[np.ndarray, " numbers"]:
    text = root.findtext(f"{name}/data")
    try:
        values = np.array([float(word) for word in (text or "").split()])
    except ValueError:
        values = np.zeros(0)
    if text is None or (count is not None and len(values) != count) or not np.isfinite(values).all():
        raise DataInvalid(
            f"calibration lacks {name}/data",
            where=path,
            expected="numbers" if count is None else f"{count} finite numbers",
            found="nothing" if text is None else f"{len(values)}",
        )
    return values
