"""Intrinsics as Azure Kinect, RealSense, Open3D, ROS, OpenCV and PROX write them.

Whatever the file, what comes out is a camera for the images at hand: a file for another resolution of
the same shape is scaled, and said to have been.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from jaxtyping import Float

from pipelines.capture.azure import azure_camera, is_azure_raw
from pipelines.datasets.layout import read_json
from pipelines.errors import DataInvalid, DataMissing

Role = Literal["color", "depth"]

_DISTORTIONS = (0, 4, 5, 8, 12, 14)
"""Numbers of coefficients OpenCV knows."""
_ROLE_KEYS = {
    "color": ("color", "rgb", "colour", "color_intrinsics", "color_camera"),
    "depth": ("depth", "ir", "infrared", "depth_intrinsics", "depth_camera"),
}
_ASPECT_TOLERANCE = 0.01
_CENTRAL = (0.3, 0.7)


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """One camera of the capture, with whatever distortion OpenCV can undo."""

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    """OpenCV order: k1, k2, p1, p2, k3, k4, k5, k6, ..."""
    size_px: tuple[int, int]
    """Width, height; (0, 0) where the file does not tell."""
    T_color_from_depth: Float[np.ndarray, "4 4"] | None = None
    """Where the file tells."""
    notes: tuple[str, ...] = ()


def read_lens(path: Path, role: Role, image_size_px: tuple[int, int]) -> Lens:
    """Read one camera for images of a size.

    Raises:
        DataMissing: no such file.
        DataInvalid: a format nobody told us of, or intrinsics that cannot be of these images.
    """
    content = read_mapping(path)
    if is_azure_raw(content):
        K, distortion, T = azure_camera(content, role, image_size_px, path)
        return Lens(K, distortion, image_size_px, T, ("Azure Kinect factory calibration",))
    lens = _plain(_section(content, role), path)
    extrinsics = content.get("ext_depth2color", content.get("depth_to_color"))
    if extrinsics is not None:
        lens = replace(lens, T_color_from_depth=as_pose(extrinsics, path))
    return _for_images(lens, image_size_px, path)


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON or YAML mapping (also OpenCV's YAML)."""
    if not path.is_file():
        raise DataMissing("file not found", where=path)
    if path.suffix.lower() == ".json":
        content = read_json(path)
    else:
        text = path.read_text(encoding="utf-8").replace("%YAML:1.0", "").replace("!!opencv-matrix", "")
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise DataInvalid(f"not valid YAML: {error}", where=path) from None
    if not isinstance(content, dict):
        raise DataInvalid("not a mapping", where=path, found=type(content).__name__)
    return content


def as_pose(values: Any, source: object) -> Float[np.ndarray, "4 4"]:
    """A rigid transform from 4x4 or 3x4 numbers, or from a rotation and a translation."""
    if isinstance(values, Mapping) and {"rotation", "translation"} <= values.keys():
        rotation = np.asarray(values["rotation"], np.float64).reshape(3, 3)
        translation = np.asarray(values["translation"], np.float64).reshape(3, 1)
        values = np.hstack([rotation, translation])
    try:
        matrix = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.size in (12, 16):
        matrix = matrix.reshape(-1, 4)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0, 0, 0, 1]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DataInvalid(
            "not a pose",
            where=source,
            expected="4x4 numbers (a rotation, a translation, last row 0 0 0 1)",
            found=f"shape {matrix.shape}",
        )
    if np.allclose(matrix[:3, 3], 0) and not np.allclose(matrix[3, :3], 0):
        matrix = matrix.T  # column-major, as graphics libraries store it
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=2e-3) or np.linalg.det(rotation) < 0:
        raise DataInvalid(
            "the pose's rotation is none",
            where=source,
            expected="orthonormal rows, determinant 1 (no scale, no mirror)",
            found=f"determinant {np.linalg.det(rotation):.4g}",
        )
    return matrix


def read_pose(path: Path) -> Float[np.ndarray, "4 4"]:
    """A pose from json, yaml, txt (numbers in rows) or npy."""
    if not path.is_file():
        raise DataMissing("pose file not found", where=path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return as_pose(np.load(path, allow_pickle=False), path)
        if suffix in (".txt", ".csv"):
            return as_pose(np.loadtxt(path, delimiter="," if suffix == ".csv" else None), path)
    except ValueError as error:
        raise DataInvalid(f"pose cannot be read: {error}", where=path) from None
    content = read_json(path) if suffix == ".json" else read_mapping(path)
    if isinstance(content, dict):
        for key in ("trans", "pose", "extrinsic", "matrix", "T", "data", "T_world_from_camera"):
            if key in content:
                return as_pose(content[key], path)
    return as_pose(content, path)


def _section(content: Mapping[str, Any], role: Role) -> Mapping[str, Any]:
    """The part of a file that speaks of one camera; the whole file when it speaks of one only."""
    by_name = {str(key).lower(): value for key, value in content.items()}
    for key in _ROLE_KEYS[role]:
        if isinstance(by_name.get(key), dict):
            section: dict[str, Any] = by_name[key]
            inner = section.get("intrinsics")
            return inner if isinstance(inner, dict) else section
    return content


def _plain(content: Mapping[str, Any], source: Path) -> Lens:
    """Formats told apart by their keys."""
    if {"fx", "fy"} <= content.keys():  # RealSense rs2_intrinsics; k4a parameters by name
        center = [content.get(a, content.get(b)) for a, b in (("cx", "ppx"), ("cy", "ppy"))]
        K = _matrix([[content["fx"], 0, center[0]], [0, content["fy"], center[1]], [0, 0, 1]], source)
        coefficients: Any = content.get("coeffs", content.get("distortion", _named(content)))
        _refuse_fisheye(content, source)
    elif "intrinsic_matrix" in content:  # Open3D stores columns
        K = _matrix(np.array(content["intrinsic_matrix"], float).reshape(3, 3).T, source)
        coefficients = content.get("distortion", ())
    else:
        K = _matrix(_first(content, ("camera_mtx", "camera_matrix", "K", "intrinsics"), source), source)
        names = ("k", "dist_coeffs", "distortion_coefficients", "D", "distortion")
        coefficients = next((content[name] for name in names if name in content), ())
    distortion = _numbers(coefficients).ravel()
    if len(distortion) not in _DISTORTIONS:
        raise DataInvalid(
            "unknown lens model",
            where=source,
            expected=f"OpenCV distortion of {_DISTORTIONS} numbers",
            found=f"{len(distortion)} numbers",
        )
    # RealSense names its colour lens "inverse", yet projects with the coefficients as OpenCV does.
    return Lens(K, distortion, _size(content))


def _for_images(lens: Lens, size_px: tuple[int, int], source: Path) -> Lens:
    """Scale intrinsics of another resolution; refuse those of another image."""
    width, height = size_px
    notes = lens.notes
    if lens.size_px != (0, 0) and lens.size_px != size_px:
        scale = np.array([width, height]) / lens.size_px
        if abs(scale[0] / scale[1] - 1) > _ASPECT_TOLERANCE:
            raise DataInvalid(
                "intrinsics are of an image of another shape",
                where=source,
                expected=f"{width} x {height}, or the same shape in another size",
                found="{} x {}".format(*lens.size_px),
                fix="export the intrinsics of the mode that was recorded",
            )
        notes += ("intrinsics of {} x {} scaled to {} x {}".format(*lens.size_px, width, height),)
        K = lens.K.copy()
        # Integer = pixel centre: the corner of the image, not the centre of a pixel, stays in place.
        K[:2, 2] = (K[:2, 2] + 0.5) * scale - 0.5
        K[0, 0], K[1, 1] = K[0, 0] * scale[0], K[1, 1] * scale[1]
        lens = replace(lens, K=K)
    share = (lens.K[:2, 2] + 0.5) / size_px
    if not (np.all(share > _CENTRAL[0]) and np.all(share < _CENTRAL[1])):
        twice = (2 * lens.K[:2, 2]).round().astype(int).tolist()
        raise DataInvalid(
            "intrinsics cannot be of these images",
            where=source,
            expected=f"a principal point near the middle of {width} x {height}",
            found="({:.0f}, {:.0f}), the middle of about {} x {}".format(*lens.K[:2, 2], *twice),
            fix="give the intrinsics of the recorded resolution, or add width and height to the file",
        )
    return replace(lens, size_px=size_px, notes=notes)


def _refuse_fisheye(content: Mapping[str, Any], source: Path) -> None:
    model = str(content.get("model", "")).lower()
    if any(word in model for word in ("kannala", "fisheye", "ftheta")):
        raise DataInvalid(
            "fisheye lenses are not supported",
            where=source,
            found=model,
            fix="rectify the images and give the rectified intrinsics",
        )


def _named(content: Mapping[str, Any]) -> list[float]:
    names = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    if not any(name in content for name in names):
        return []
    return [float(content.get(name, 0.0)) for name in names]


def _first(content: Mapping[str, Any], names: Sequence[str], source: Path) -> Any:
    for name in names:
        if name in content:
            return content[name]
    raise DataInvalid(
        "intrinsics not recognised",
        where=source,
        expected="Azure Kinect factory JSON; fx, fy, ppx, ppy (RealSense); intrinsic_matrix (Open3D); "
        "camera_mtx (PROX, EgoBody); camera_matrix and dist_coeffs (OpenCV, ROS)",
        found=", ".join(map(str, list(content)[:12])),
    )


def _matrix(values: Any, source: Path) -> Float[np.ndarray, "3 3"]:
    K = _numbers(values)
    K = K.reshape(3, 3) if K.size == 9 else K
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise DataInvalid("camera matrix is wrong", where=source, found=K.tolist())
    return K


def _numbers(values: Any) -> Float[np.ndarray, "..."]:
    """Plain numbers, or ROS's and OpenCV's {rows, cols, data}."""
    if isinstance(values, Mapping):
        values = values.get("data", ())
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return np.full(1, np.nan)


def _size(content: Mapping[str, Any]) -> tuple[int, int]:
    width = content.get("width", content.get("image_width", content.get("resolution_width", 0)))
    height = content.get("height", content.get("image_height", content.get("resolution_height", 0)))
    return int(width), int(height)


def undistortion_maps(lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV maps from the pinhole image (same K, same size) to the captured one."""
    return cv2.initUndistortRectifyMap(
        lens.K, lens.distortion, np.eye(3), lens.K, lens.size_px, cv2.CV_32FC1
    )
