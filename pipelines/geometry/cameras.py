"""Pinhole cameras with OpenCV distortion, in a rig, as PROX calibrates them.

Pixels: integer = pixel centre, u right, v down, of the true (un-mirrored) image.
Two projections exist on purpose: bodies are projected by `project_pinhole` (no distortion, as every
PROX fit does), depth is registered to colour by `RigCamera.project` (with distortion).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float
from torch import Tensor

_UNDISTORT_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class RigCamera:
    """One camera of a calibrated rig."""

    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, "5"]
    """OpenCV order k1, k2, p1, p2, k3."""
    T_camera_from_rig: Float[np.ndarray, "4 4"]
    width_px: int
    height_px: int

    def project(self, points_rig: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
        """Pixels of rig points, with distortion. Points behind the camera give no meaningful pixel."""
        points = points_rig @ self.T_camera_from_rig[:3, :3].T + self.T_camera_from_rig[:3, 3]
        return self.project_camera(points)

    def project_camera(
        self, points_camera: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, "points 2"]:
        """Pixels of points in this camera's own frame, with distortion."""
        if len(points_camera) == 0:
            return np.zeros((0, 2))
        pixels, _ = cv2.projectPoints(
            np.ascontiguousarray(points_camera, np.float64).reshape(-1, 1, 3),
            np.zeros(3),
            np.zeros(3),
            self.K,
            self.distortion,
        )
        return np.asarray(pixels, np.float64).reshape(-1, 2)

    def rays(self, pixels: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 3"]:
        """Undistorted ray (x, y, 1) of each pixel in the camera frame."""
        if len(pixels) == 0:
            return np.zeros((0, 3))
        source = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(source, self.K, self.distortion, criteria=_UNDISTORT_STOP)
        return np.column_stack([plane.reshape(-1, 2), np.ones(len(pixels))])

    def points_to_rig(
        self, points_camera: Float[np.ndarray, "points 3"]
    ) -> Float[np.ndarray, "points 3"]:
        """Camera frame -> rig frame."""
        return (points_camera - self.T_camera_from_rig[:3, 3]) @ self.T_camera_from_rig[:3, :3]


def project_pinhole(
    points_camera: Float[Tensor, "*batch 3"], K: Float[Tensor, "*cameras 3 3"]
) -> Float[Tensor, "*batch 2"]:
    """Pixels by fx, fy, cx, cy alone; differentiable. The axes of K before 3 3 broadcast with the points'."""
    focal_px = K.diagonal(dim1=-2, dim2=-1)[..., :2]
    return points_camera[..., :2] / points_camera[..., 2:] * focal_px + K[..., :2, 2]
