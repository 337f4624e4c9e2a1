"""Where METRO's body stands: METRO knows no depth, so the baseline row "METRO†" places it by PnP.

Source: SA-HMR, lib/evaluators/pose/utils.py, as told in the networks page, section 10.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.config import Settings
from pipelines.geometry.transforms import rigid, transform_points
from sahmr.networks.metro import MetroPrediction, crop_projection
from sahmr.types import CropCameras


class PlacementSettings(Settings):
    """RANSAC round EPnP."""

    iterations: int = 10_000
    reprojection_px: float = 10.0
    """A joint farther than this from its projection is no inlier."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMetro:
    """METRO's bodies in the camera frame."""

    joints_camera: Float[Tensor, "batch joints 3"]
    vertices_camera: Float[Tensor, "batch full 3"]
    found: tuple[bool, ...]
    """False where no pose was found; the body is then left at the camera's origin."""


def place_metro(
    joints_root: Float[Tensor, "batch joints 3"],
    prediction: MetroPrediction,
    cameras: CropCameras,
    crop_px: int = 224,
    settings: PlacementSettings | None = None,
) -> PlacedMetro:
    """Move and turn each body so that its joints project where METRO's own camera says.

    Args:
        joints_root: the 14 H36M joints regressed from the full mesh, minus its pelvis.
        prediction: METRO's; its full mesh must be relative to the same pelvis.
        cameras: where the crops lie, and the intrinsics.
        crop_px: size of the crops.
        settings: of the search.
    """
    settings = settings or PlacementSettings()
    crop = crop_projection(joints_root, prediction.camera, crop_px)
    pixels = cameras.left_up_px[:, None] + crop / (crop_px - 1) * cameras.size_px[:, None]
    poses = [
        _solve(joints, pixel, K, settings)
        for joints, pixel, K in zip(joints_root, pixels, cameras.K, strict=True)
    ]
    transforms = [np.eye(4) if pose is None else pose for pose in poses]
    joints, vertices = (
        torch.stack(
            [transform_points(torch.tensor(T), one) for T, one in zip(transforms, points, strict=True)]
        )
        for points in (joints_root, prediction.full)
    )
    return PlacedMetro(joints, vertices, tuple(pose is not None for pose in poses))


def _solve(
    joints: Float[Tensor, "joints 3"],
    pixels: Float[Tensor, "joints 2"],
    K: Float[Tensor, "3 3"],
    settings: PlacementSettings,
) -> Float[np.ndarray, "4 4"] | None:
    """T_camera_from_root, or None where OpenCV finds none."""
    points, image_points, matrix = (
        np.ascontiguousarray(tensor.detach().cpu().double().numpy()) for tensor in (joints, pixels, K)
    )
    if not (np.isfinite(points).all() and np.isfinite(image_points).all()):
        return None
    found, rotvec, translation, _ = cv2.solvePnPRansac(
        points,
        image_points,
        matrix,
        None,
        iterationsCount=settings.iterations,
        reprojectionError=settings.reprojection_px,
        flags=cv2.SOLVEPNP_EPNP,
    )
    if not found:
        return None
    return rigid(cv2.Rodrigues(rotvec)[0], translation[:, 0])
