"""One person in one image as the networks want it: a square crop, its camera, and the scene it can see.

Source: SA-HMR, lib/datasets/prox/prox_utils.py, as told in the networks page, sections 1.1 and 1.3;
the rule of boxes and crops is `pipelines.shards.crop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import invert, is_rigid, to_tensor, transform_points
from pipelines.shards.crop import BOX_SCALE, CROP_PX, crop_image, square_box
from sahmr.networks.crop_geometry import in_frustum
from sahmr.types import CropCameras, ScenePoints

__all__ = [
    "BOX_SCALE",
    "CROP_PX",
    "Crop",
    "PersonView",
    "check_view",
    "crop_image",
    "normalise",
    "prepare_crop",
    "square_box",
]

IMAGE_MEAN: Final = (0.485, 0.456, 0.406)
IMAGE_STD: Final = (0.229, 0.224, 0.225)
"""ImageNet's, for RGB in 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class PersonView:
    """One image of one person, and where its camera stands."""

    image: UInt8[np.ndarray, "height width 3"]
    """True (un-mirrored) RGB image."""
    box_px: tuple[float, float, float, float]
    """The person: left, up, right, bottom."""
    K: Float[np.ndarray, "3 3"]
    """Intrinsics of the full image; bodies are projected without distortion."""
    T_world_from_camera: Float[np.ndarray, "4 4"]
    key: str = ""
    """Names the view; contact points are drawn by it, so equal keys give equal results."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A view prepared as a batch of one."""

    images: Float[Tensor, "1 3 size size"]
    cameras: CropCameras
    scene: ScenePoints
    """Inside the view frustum."""


def prepare_crop(
    view: PersonView, scene_points_world: Float[np.ndarray, "points 3"], size_px: int = CROP_PX
) -> Crop:
    """Crop the image, and carry the scene points it can see to the camera.

    Raises:
        DataInvalid: the box is empty or beside the image, the camera is not rigid or has no focal length,
            or something is not finite.
    """
    check_view(view)
    box = square_box(view.box_px)
    cameras = CropCameras(torch.tensor([box]), to_tensor(view.K)[None])
    points = transform_points(invert(view.T_world_from_camera), scene_points_world.astype(np.float64))
    points_camera = to_tensor(points)
    batch = torch.zeros(len(points), dtype=torch.long)
    seen = in_frustum(points_camera, batch, cameras)
    images = normalise(crop_image(view.image, box, size_px))[None]
    return Crop(images, cameras, ScenePoints(points_camera[seen], batch[seen]))


def normalise(image: UInt8[np.ndarray, "height width 3"]) -> Float[Tensor, "3 height width"]:
    """RGB in 0..1, minus ImageNet's mean, over its standard deviation."""
    rgb = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return (rgb - mean) / std


def check_view(view: PersonView) -> None:
    """Refuse a view from which nothing can be predicted.

    Raises:
        DataInvalid: the box is empty or beside the image, the camera is not rigid or has no focal length,
            or something is not finite.
    """
    height, width = view.image.shape[:2]
    left, up, right, bottom = view.box_px
    if not np.isfinite(view.box_px).all() or right <= left or bottom <= up:
        raise DataInvalid(
            "person box is empty",
            where=view.key,
            expected="left < right, up < bottom",
            found=view.box_px,
        )
    if right <= 0 or bottom <= 0 or left >= width or up >= height:
        raise DataInvalid(
            "person box lies outside the image",
            where=view.key,
            expected=f"an overlap with {width} x {height} pixels",
            found=f"left, up, right, bottom = {view.box_px}",
            fix="give the box in pixels of the full, un-mirrored image",
        )
    if not np.isfinite(view.K).all() or view.K[0, 0] <= 0 or view.K[1, 1] <= 0:
        raise DataInvalid(
            "intrinsics have no positive, finite focal length", where=view.key, found=view.K.tolist()
        )
    if not np.isfinite(view.T_world_from_camera).all() or not is_rigid(view.T_world_from_camera):
        raise DataInvalid(
            "T_world_from_camera is no rigid transform",
            where=view.key,
            expected="a rotation, a translation, last row 0 0 0 1",
            found=view.T_world_from_camera.tolist(),
        )
