"""Where the person is: the masks that came with the capture, or what stands before the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from pipelines.capture.frames import CapturedFrame
from pipelines.capture.rig import CaptureRig, depth_points

_BEFORE_M, _BEFORE_SHARE = 0.07, 0.015
"""A person stands so much nearer than the background; the second per metre of depth."""
_MIN_AREA_SHARE = 0.001
_PLAUSIBLE_SHARE = 0.5
_POLARITY_FRAMES = 12
_MIDDLE_GREY = 127


@dataclass(frozen=True, slots=True, eq=False)
class Emptiness:
    """The depth of the empty room: the nearer of scan and steady background."""

    depth_m: Float[np.ndarray, "height width"]
    """0 where unknown."""


def empty_room(
    scan_m: Float[np.ndarray, "height width"], background_m: Float[np.ndarray, "height width"]
) -> Emptiness:
    """What the depth camera would see without people.

    The scan tells where nobody moved; the background also knows what was not scanned or has moved since.
    """
    both = (scan_m > 0) & (background_m > 0)
    # A person who never leaves a place is in the background there, but not in the scan: the scan wins.
    beyond = both & (background_m > scan_m)
    depth = np.where(beyond, background_m, scan_m)
    return Emptiness(np.where(depth > 0, depth, background_m))


def stands_before(
    depth_m: Float[np.ndarray, "height width"], empty: Emptiness
) -> Bool[np.ndarray, "height width"]:
    """Pixels of the depth image that show someone before the empty room; specks left out."""
    nearer = empty.depth_m - depth_m > _BEFORE_M + _BEFORE_SHARE * depth_m
    nearer &= (depth_m > 0) & (empty.depth_m > 0)
    opened = cv2.morphologyEx(nearer.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= _MIN_AREA_SHARE * depth_m.size
    large[0] = False
    return np.asarray(large[labels]) if count > 1 else np.zeros(depth_m.shape, dtype=bool)


def in_color(
    person: Bool[np.ndarray, "rows columns"], depth_m: Float[np.ndarray, "rows columns"], rig: CaptureRig
) -> Bool[np.ndarray, "height width"]:
    """A mask of the depth image carried to the colour image, gaps closed."""
    pixels, inside = _color_pixels(person & (depth_m > 0), depth_m, rig)
    mask = np.zeros((rig.color.height_px, rig.color.width_px), np.uint8)
    mask[pixels[inside, 1], pixels[inside, 0]] = 1
    gap = int(np.ceil(rig.color.K[0, 0] / rig.depth.K[0, 0])) * 2 + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel, iterations=2)).astype(bool)


def in_depth(
    person: Bool[np.ndarray, "height width"],
    depth_m: Float32[np.ndarray, "rows columns"],
    rig: CaptureRig,
) -> Bool[np.ndarray, "rows columns"]:
    """A mask of the colour image looked up at every depth pixel."""
    measured = depth_m > 0
    pixels, inside = _color_pixels(measured, depth_m, rig)
    hit = np.zeros(len(pixels), dtype=bool)
    hit[inside] = person[pixels[inside, 1], pixels[inside, 0]]
    found = np.zeros(depth_m.shape, dtype=bool)
    found[measured] = hit
    return found


def person_is_white(
    rig: CaptureRig, frames: Sequence[CapturedFrame], empty: Emptiness
) -> tuple[bool, float]:
    """Which colour of the masks is the person: the one that covers what stands before the room.

    Returns:
        Whether white is; and the mean share of what stands before the room that this colour covers.
    """
    with_both = [frame for frame in frames if frame.mask is not None and frame.depth is not None]
    picked = np.unique(np.linspace(0, len(with_both) - 1, _POLARITY_FRAMES).astype(np.int64))
    white, shares = [], []
    for row in picked:
        frame = with_both[row]
        depth = rig.depth_m(frame)
        assert frame.mask is not None
        assert depth is not None
        grey: UInt8[np.ndarray, "height width"] = rig.color_mask(frame.mask)
        before = in_color(stands_before(depth, empty), depth, rig)
        shares.append(float((grey > _MIDDLE_GREY).mean()))
        if before.any():
            white.append(float((grey[before] > _MIDDLE_GREY).mean()))
    if not white:
        return float(np.mean(shares)) < _PLAUSIBLE_SHARE, float("nan")
    covered = float(np.mean(white))
    return covered >= _PLAUSIBLE_SHARE, max(covered, 1 - covered)


def read_mask(
    rig: CaptureRig, frame: CapturedFrame, white: bool
) -> Bool[np.ndarray, "height width"] | None:
    """The person in the colour image by the capture's own mask."""
    if frame.mask is None:
        return None
    return np.asarray((rig.color_mask(frame.mask) > _MIDDLE_GREY) == white)


def _color_pixels(
    chosen: Bool[np.ndarray, "rows columns"], depth_m: Float[np.ndarray, "rows columns"], rig: CaptureRig
) -> tuple[Int[np.ndarray, "points 2"], Bool[np.ndarray, " points"]]:
    """Colour pixel of each chosen depth pixel in raster order, and whether the colour image shows it."""
    points = rig.depth.points_to_rig(depth_points(rig.depth, depth_m, chosen))
    ahead = points[:, 2] > 0
    pixels = np.zeros((len(points), 2), dtype=np.int64)
    pixels[ahead] = np.rint(rig.color.project(points[ahead])).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < [rig.color.width_px, rig.color.height_px])).all(axis=1)
    return pixels, inside & ahead
