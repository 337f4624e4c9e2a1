"""Many samples on one picture: the crop, the body's outline, vertices in contact coloured by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from pipelines.bodies.parts import CONTACT_PARTS
from pipelines.contact.colors import CATEGORY_COLORS
from pipelines.metrics.raster import pinhole_rays, shade
from pipelines.shards.crop import CROP_PX
from pipelines.shards.look.posed import PosedSample

_CAPTION_PX: Final = 46
_GAP_PX: Final = 6
_LEGEND_PX: Final = 30
_LEGEND_STEP_PX: Final = 100
_PAPER: Final = 250
_OUTLINE: Final = (255, 255, 255)
_REJECTED: Final = (200, 40, 40)
_INK: Final = (30, 30, 30)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX

Picture = UInt8[np.ndarray, "height width 3"]


def contact_sheet(posed: Sequence[PosedSample], columns: int) -> Picture:
    """Tiles row by row, a legend below; RGB."""
    tiles = [draw_tile(one) for one in posed]
    height, width = CROP_PX + _CAPTION_PX + _GAP_PX, CROP_PX + _GAP_PX
    rows = -(-len(tiles) // columns)
    sheet_width = max(columns * width + _GAP_PX, _GAP_PX + _LEGEND_STEP_PX * len(CONTACT_PARTS))
    sheet = np.full((rows * height + _GAP_PX + _LEGEND_PX, sheet_width, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        top = _GAP_PX + number // columns * height
        left = _GAP_PX + number % columns * width
        sheet[top : top + len(tile), left : left + CROP_PX] = tile
    _draw_legend(sheet)
    return sheet


def draw_tile(posed: PosedSample) -> Picture:
    """One sample: its crop with the body drawn in, its name and quality below."""
    sample = posed.sample
    crop = _draw_body(posed)
    caption = np.full((_CAPTION_PX, CROP_PX, 3), _PAPER, np.uint8)
    error = sample.expected_error_mm
    quality = "no score" if np.isnan(error) else f"{error:.0f} mm expected"
    verdict = (
        f"rejected: {sample.reject_reason}" if sample.reject_reason else f"weight {sample.weight:.2f}"
    )
    lines = (sample.recording, sample.frame.split("__")[0], f"{posed.kind}, {quality}, {verdict}")
    for number, line in enumerate(lines):
        color = _REJECTED if number == 2 and sample.reject_reason else _INK
        _write(caption, line, (2, 13 + 14 * number), color)
    return np.concatenate([crop, caption])


def encode_png(picture: Picture) -> bytes:
    """PNG bytes of an RGB picture."""
    done, buffer = cv2.imencode(".png", picture[..., ::-1])
    assert done
    return bytes(buffer.tobytes())


def crop_pixels(posed: PosedSample) -> Float64[np.ndarray, "6890 2"]:
    """The body's vertices in crop pixels."""
    vertices, K = posed.vertices_camera.astype(np.float64), posed.sample.K
    image_px = vertices[:, :2] / vertices[:, 2:] * (K[0, 0], K[1, 1]) + K[:2, 2]
    left, up, right, _ = posed.sample.box_px.astype(np.float64)
    return np.asarray((image_px - (left, up)) / (right - left) * (CROP_PX - 1), np.float64)


def _draw_body(posed: PosedSample) -> Picture:
    picture, sample = posed.crop.copy(), posed.sample
    left, up, right, _ = sample.box_px.astype(np.float64).tolist()
    rays = pinhole_rays(sample.K, (left, up), (right - left) / (CROP_PX - 1), (CROP_PX, CROP_PX))
    grey = np.ones_like(posed.vertices_camera)
    hit = shade(posed.vertices_camera, posed.faces, grey, rays).hit.reshape(CROP_PX, CROP_PX)
    outline, _ = cv2.findContours(hit.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outline, -1, _OUTLINE, 1, cv2.LINE_AA)
    pixels = np.clip(np.rint(crop_pixels(posed)), -10 * CROP_PX, 10 * CROP_PX).astype(int)
    for row in np.flatnonzero(sample.vertex_category):
        u, v = pixels[row].tolist()
        cv2.circle(picture, (u, v), 2, _rgb(int(sample.vertex_category[row])), -1, cv2.LINE_AA)
    return picture


def _draw_legend(sheet: Picture) -> None:
    base = len(sheet) - _LEGEND_PX // 2
    for number, part in enumerate(CONTACT_PARTS):
        left = _GAP_PX + 8 + _LEGEND_STEP_PX * number
        cv2.circle(sheet, (left, base), 6, _rgb(number + 1), -1, cv2.LINE_AA)
        _write(sheet, part, (left + 12, base + 5), _INK)


def _rgb(category: int) -> tuple[int, int, int]:
    red, green, blue = CATEGORY_COLORS[(category - 1) % len(CATEGORY_COLORS)]
    return round(255 * red), round(255 * green), round(255 * blue)


def _write(picture: Picture, text: str, place: tuple[int, int], color: tuple[int, int, int]) -> None:
    """Text no wider than the crop."""
    scale = 0.42
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    room = picture.shape[1] - place[0] - 2
    cv2.putText(picture, text, place, _FONT, min(scale, scale * room / width), color, 1, cv2.LINE_AA)
