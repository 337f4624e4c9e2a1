"""Keypoints lifted to 3D: the depth seen near a keypoint says how far its joint is from the camera.

One-way point distances and pixels leave a wrong pose in peace once its surface covers the points (a
seated body fitted as a standing one that leans back). Lifted joints pull towards the right one; they are
rough, so they serve only to start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import BODY25_NAMES

NEAR_PX = 25.0
_NEIGHBOURS = 8
_THIN_M = 0.03
_BELOW_SURFACE_M = {
    "neck": 0.08,
    "right_shoulder": 0.07,
    "left_shoulder": 0.07,
    "mid_hip": 0.11,
    "right_hip": 0.10,
    "left_hip": 0.10,
    "right_elbow": 0.04,
    "left_elbow": 0.04,
    "right_knee": 0.055,
    "left_knee": 0.055,
    "right_ankle": 0.04,
    "left_ankle": 0.04,
    "nose": 0.0,
    "right_eye": 0.0,
    "left_eye": 0.0,
    "right_ear": 0.0,
    "left_ear": 0.0,
}
"""How far a joint lies behind the skin that the camera sees, about; hands and feet: 3 cm."""


@dataclass(frozen=True, slots=True, eq=False)
class LiftedKeypoints:
    """Places of keypoints in space."""

    joints_camera: Float[Tensor, "rows 25 3"]
    weights: Float[Tensor, "rows 25"]
    """Confidence where depth points lie near the keypoint in the image, else 0."""


def lift_keypoints(
    keypoints_px: Float[Tensor, "rows 25 2"],
    confidence: Float[Tensor, "rows 25"],
    points_camera: Float[Tensor, "rows points 3"],
    has_points: Float[Tensor, " rows"],
    K: Float[Tensor, "3 3"],
) -> LiftedKeypoints:
    """Put every keypoint on its ray, behind the median depth of the points nearest in the image."""
    surface, near = depth_at_keypoints(keypoints_px, points_camera, K)
    below = torch.tensor([_BELOW_SURFACE_M.get(name, _THIN_M) for name in BODY25_NAMES]).to(surface)
    depth = surface + below
    ray = (keypoints_px - K[:2, 2]) / K.diagonal()[:2]
    joints = torch.cat([ray, torch.ones_like(ray[..., :1])], dim=-1) * depth[..., None]
    return LiftedKeypoints(joints, confidence * near * has_points[:, None])


def depth_at_keypoints(
    keypoints_px: Float[Tensor, "rows keypoints 2"],
    points_camera: Float[Tensor, "rows points 3"],
    K: Float[Tensor, "3 3"],
) -> tuple[Float[Tensor, "rows keypoints"], Float[Tensor, "rows keypoints"]]:
    """Median depth (m) of the eight points nearest in the image, and 1 where they are near."""
    pixels = points_camera[..., :2] / points_camera[..., 2:].clamp_min(0.1) * K.diagonal()[:2] + K[:2, 2]
    gaps = torch.cdist(keypoints_px, pixels)
    nearest = gaps.topk(min(_NEIGHBOURS, gaps.shape[2]), dim=2, largest=False)
    depths = points_camera[..., 2]
    found = depths[:, None].expand(-1, keypoints_px.shape[1], -1).gather(2, nearest.indices)
    return found.median(dim=2).values, (nearest.values[..., -1] < NEAR_PX).to(depths.dtype)
