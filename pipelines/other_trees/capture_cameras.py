"""The cameras of the example captures: lenses of any OpenCV model, factory calibration, extrinsics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from jaxtyping import Float

from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import invert, rigid
from pipelines.synthetic.rendering import PixelRays

Kind = Literal["azure", "realsense"]

SIZES: Final[dict[Kind, tuple[tuple[int, int], tuple[int, int]]]] = {
    "azure": ((1280, 720), (640, 576)),
    "realsense": ((848, 480), (848, 480)),
}
"""Colour and depth, pixels."""
AZURE_PARAMETERS: Final = {
    # cx, cy, fx, fy of the whole sensor (corner of the first pixel at 0), k1 ... k6, codx, cody, p2, p1
    "color": (
        0.4998,
        0.5066,
        0.4780,
        0.6374,
        0.33,
        -2.49,
        1.45,
        0.21,
        -2.30,
        1.37,
        0,
        0,
        -1.3e-4,
        1.6e-4,
    ),
    "depth": (0.5012, 0.4965, 0.4921, 0.4922, 3.13, 2.32, 0.13, 3.46, 3.35, 0.66, 0, 0, -5e-5, 8e-5),
}
_AZURE_BASELINE_M = (-0.0321, -0.0022, 0.0039)
_AZURE_TILT_RAD = (-0.1, 0.001, 0.0005)
REALSENSE = {"fx": 605.3, "fy": 605.1, "ppx": 427.4, "ppy": 241.9}
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """A camera with a lens of any OpenCV model."""

    camera: RigCamera
    """Its pinhole; the rig's frame is the colour camera's."""
    distortion: Float[np.ndarray, " coefficients"]

    def rays(self) -> PixelRays:
        """Ray (x, y, 1) of every pixel of the distorted image."""
        size = (self.camera.width_px, self.camera.height_px)
        u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(pixels, self.camera.K, self.distortion, criteria=_STOP)
        rays = np.concatenate([plane.reshape(-1, 2), np.ones((len(pixels), 1))], axis=1)
        return PixelRays(self.camera, rays.reshape(size[1], size[0], 3).astype(np.float32))

    def project(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
        """Pixels in the distorted image; far off for points behind the camera."""
        pixels = np.full((len(points), 2), -1e4)
        ahead = points[:, 2] > 0.1
        if ahead.any():
            source = np.ascontiguousarray(points[ahead], np.float64).reshape(-1, 1, 3)
            projected, _ = cv2.projectPoints(
                source, np.zeros(3), np.zeros(3), self.camera.K, self.distortion
            )
            pixels[ahead] = projected.reshape(-1, 2)
        return pixels


def eyes(kind: Kind) -> tuple[Eye, Eye]:
    """Colour and depth camera."""
    (width, height), (columns, rows) = SIZES[kind]
    if kind == "realsense":
        r = REALSENSE
        K = np.array([[r["fx"], 0, r["ppx"]], [0, r["fy"], r["ppy"]], [0, 0, 1]])
        eye = Eye(RigCamera(K, np.zeros(5), np.eye(4), width, height), np.zeros(5))
        return eye, eye
    lenses = []
    for role, full, crop in (("color", (1280, 960), (0, 120)), ("depth", (1024, 1024), (192, 180))):
        cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, _, _, p2, p1 = AZURE_PARAMETERS[role]
        center = (cx * full[0] - crop[0] - 0.5, cy * full[1] - crop[1] - 0.5)
        K = np.array([[fx * full[0], 0, center[0]], [0, fy * full[1], center[1]], [0, 0, 1]])
        lenses.append((K, np.array([k1, k2, p1, p2, k3, k4, k5, k6])))
    depth_from_color = invert(color_from_depth())
    return (
        Eye(RigCamera(lenses[0][0], np.zeros(5), np.eye(4), width, height), lenses[0][1]),
        Eye(RigCamera(lenses[1][0], np.zeros(5), depth_from_color, columns, rows), lenses[1][1]),
    )


def color_from_depth() -> Float[np.ndarray, "4 4"]:
    """`T_color_from_depth` of the Azure Kinect."""
    rotmat, _ = cv2.Rodrigues(np.array(_AZURE_TILT_RAD))
    return rigid(rotmat, np.array(_AZURE_BASELINE_M))
