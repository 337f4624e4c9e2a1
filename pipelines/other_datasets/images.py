"""Image files that are stored as they are seen: nothing here is mirrored, unlike PROX's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Shaped, UInt8, UInt16

from pipelines.datasets.images import looks_complete
from pipelines.errors import DataInvalid, DataMissing

COLOR_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_BMP_LENGTH = slice(2, 6)


def find_color(stem: Path) -> Path | None:
    """The colour file of a name without suffix, whatever its format."""
    paths = (stem.with_name(stem.name + suffix) for suffix in COLOR_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def read_color(path: Path, size_px: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """RGB colour image.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, not an image or of another size.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, size_px)
    return np.ascontiguousarray(image[:, :, ::-1])


def read_depth(path: Path, size_px: tuple[int, int]) -> UInt16[np.ndarray, "height width"]:
    """Raw depth along the depth camera's axis, 1/8 mm, 0 where there is no return.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, of another size, or not 16-bit.
    """
    image = _decode(path, cv2.IMREAD_UNCHANGED, size_px)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DataInvalid(
            "depth image is not 16-bit",
            where=path,
            expected="one channel of 16 bits, 1/8 mm",
            found=f"{1 if image.ndim == 2 else image.shape[2]} channel(s) of {image.dtype}",
            fix="copy the original PNG; image tools that convert to 8 bits destroy the depth",
        )
    return image


def _decode(path: Path, flags: int, size_px: tuple[int, int]) -> Shaped[np.ndarray, "..."]:
    if not path.is_file():
        raise DataMissing("image not found", where=path)
    image: Any = None
    if _is_whole(path):
        image = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if image is None:
        raise DataInvalid(
            "image cannot be decoded",
            where=path,
            found=f"a truncated or damaged file of {path.stat().st_size} bytes",
            fix="get the file again",
        )
    if image.shape[:2] != size_px[::-1]:
        raise DataInvalid(
            "image has another size",
            where=path,
            expected=f"{size_px[0]} x {size_px[1]}",
            found=f"{image.shape[1]} x {image.shape[0]}",
        )
    return image


def _is_whole(path: Path) -> bool:
    """OpenCV fills what a truncated file lacks with grey and reports nothing."""
    if path.suffix.lower() != ".bmp":
        return looks_complete(path)
    with path.open("rb") as stream:
        head = stream.read(_BMP_LENGTH.stop)
    return head[:2] == b"BM" and int.from_bytes(head[_BMP_LENGTH], "little") == path.stat().st_size
