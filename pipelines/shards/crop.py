"""Which part of an image shows a person: one rule for boxes and crops, of shards and of networks.

Source: SA-HMR, lib/datasets/prox/prox_utils.py and lib/train/trainers/pose/preprocess.py, as told in the
networks page, sections 1.1 and 1.3.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pipelines.errors import DataInvalid

CROP_PX: Final = 224
BOX_SCALE: Final = 1.15
"""Side of the square crop over the longer side of the person box, without augmentation."""
FRUSTUM_NEAR_M: Final = 0.5
FRUSTUM_FAR_M: Final = 12.5
"""Depth range of the view frustum."""

Box = tuple[float, float, float, float]
"""Left, up, right, bottom; pixels of the full, un-mirrored image."""


def body_box(vertices_camera: Float[np.ndarray, "verts 3"], K: Float[np.ndarray, "3 3"]) -> Box | None:
    """Smallest and largest pixel of a body's vertices; None if a vertex is not in front of the camera.

    Vertices outside the image count, as in SA-HMR's own boxes.
    """
    if not (vertices_camera[:, 2] > 0).all():
        return None
    pixels = _project(vertices_camera, K)
    (left, up), (right, bottom) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return left, up, right, bottom


def square_box(box_px: Box, scale: float = BOX_SCALE) -> Box:
    """The square round a box's middle, `scale` times its longer side wide."""
    left, up, right, bottom = box_px
    u, v = (left + right) / 2, (up + bottom) / 2
    half = scale * max(right - left, bottom - up) / 2
    return u - half, v - half, u + half, v + half


def crop_image(
    image: UInt8[np.ndarray, "height width 3"], box_px: Box, size_px: int = CROP_PX, margin_px: int = 0
) -> UInt8[np.ndarray, "size size 3"]:
    """Bilinear samples of a square box, corner pixels on its corners; black outside the image.

    Args:
        image: the whole image.
        box_px: the square.
        size_px: samples along a side of the box.
        margin_px: samples beyond the box on each side, equally dense.
    """
    left, up, right, _ = box_px
    scale = (size_px - 1) / (right - left)
    warp = np.array([[scale, 0, margin_px - left * scale], [0, scale, margin_px - up * scale]])
    size = size_px + 2 * margin_px
    return np.asarray(cv2.warpAffine(image, warp, (size, size), flags=cv2.INTER_LINEAR))


def encode_crop(rgb: UInt8[np.ndarray, "height width 3"], quality: int) -> UInt8[np.ndarray, " bytes"]:
    """JPEG bytes."""
    done, buffer = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataInvalid("a crop cannot be encoded", found=f"{rgb.dtype} {rgb.shape}")
    return np.asarray(buffer, np.uint8).reshape(-1)


def decode_crop(jpeg: UInt8[np.ndarray, " bytes"], name: str) -> UInt8[np.ndarray, "stored stored 3"]:
    """A stored crop, RGB.

    Args:
        jpeg: its bytes.
        name: of the sample, for the error.

    Raises:
        DataInvalid: the bytes are no square picture of the crop's size, margin allowed.
    """
    image = cv2.imdecode(jpeg, cv2.IMREAD_COLOR) if len(jpeg) else None
    shape: tuple[int, ...] = () if image is None else image.shape[:2]
    if image is None or shape[0] != shape[1] or shape[0] < CROP_PX or (shape[0] - CROP_PX) % 2:
        raise DataInvalid(
            "the crop of a sample is no picture of the right size",
            where=name,
            expected=f"{CROP_PX} pixels square, or an even number more",
            found=shape or "no picture",
            fix="make the shard again",
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def in_view(
    points_camera: Float[np.ndarray, "points 3"], box_px: Box, K: Float[np.ndarray, "3 3"]
) -> Bool[np.ndarray, " points"]:
    """Points that project into the box, between the near and the far plane, borders included."""
    depth = points_camera[:, 2]
    seen = np.asarray((depth >= FRUSTUM_NEAR_M) & (depth <= FRUSTUM_FAR_M))
    pixels = _project(points_camera[seen], K)
    left, up, right, bottom = box_px
    seen[seen] = ((pixels >= (left, up)) & (pixels <= (right, bottom))).all(axis=1)
    return seen


def _project(
    points_camera: Float[np.ndarray, "points 3"], K: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "points 2"]:
    """Pixels, without distortion, as everything that is fitted to PROX."""
    plane = points_camera[:, :2] / points_camera[:, 2:]
    return np.asarray(plane * (K[0, 0], K[1, 1]) + K[:2, 2], np.float64)
