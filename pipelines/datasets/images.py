"""Image files of a PROX recording, read into the true (un-mirrored) image.

Kinect One writes its images left-right reversed; calibration, fits and scenes live in the true image.
Every `read_*` here flips the columns right after decoding; there is no switch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8, UInt16

from pipelines.errors import DataInvalid, DataMissing

DEPTH_UNITS_PER_METRE = 8000
"""Raw depth is in eighths of a millimetre; 0 = no return."""
NOBODY = 255
"""Value of `BodyIndex` where the sensor saw no body."""
MAX_PERSON_SHARE = 0.8
"""A mask with more person than this is inverted or empty, not a person."""

_TAIL_BYTES = 1024
_BMP_LENGTH = slice(2, 6)


def read_color(path: Path, size_px: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """RGB colour image.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, not an image or of another size.
    """
    image = decode_image(path, cv2.IMREAD_COLOR, size_px)
    return np.ascontiguousarray(image[:, ::-1, ::-1])  # BGR -> RGB, and un-mirrored


def read_depth(path: Path, size_px: tuple[int, int]) -> UInt16[np.ndarray, "height width"]:
    """Raw depth along the infrared camera's axis, 1/8 mm, 0 where there is no return.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, of another size, or not 16-bit (an 8-bit copy is silent garbage).
    """
    return np.ascontiguousarray(decode_depth(path, size_px)[:, ::-1])


def decode_depth(path: Path, size_px: tuple[int, int]) -> UInt16[np.ndarray, "height width"]:
    """Raw depth as it is stored, 1/8 mm, 0 where there is no return.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, of another size, or not 16-bit (an 8-bit copy is silent garbage).
    """
    image = decode_image(path, cv2.IMREAD_UNCHANGED, size_px)
    if image.dtype != np.uint16 or image.ndim != 2:
        raise DataInvalid(
            "depth image is not 16-bit",
            where=path,
            expected="one channel of 16 bits, 1/8 mm",
            found=f"{1 if image.ndim == 2 else image.shape[2]} channel(s) of {image.dtype}",
            fix="copy the original PNG; image tools that convert to 8 bits destroy the depth",
        )
    return image


def read_color_mask(path: Path, size_px: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """True where `BodyIndexColor` shows a person (value 0: the person is black).

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, of another size, or almost all person.
    """
    image = decode_image(path, cv2.IMREAD_GRAYSCALE, size_px)
    return _checked(np.ascontiguousarray(image[:, ::-1] == 0), path)


def read_depth_mask(path: Path, size_px: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """True where `BodyIndex` shows any of the sensor's six bodies.

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, of another size, or almost all person.
    """
    image = decode_image(path, cv2.IMREAD_GRAYSCALE, size_px)
    return _checked(np.ascontiguousarray(image[:, ::-1] != NOBODY), path)


def looks_complete(path: Path) -> bool:
    """Whether an image file ends as its format says, without decoding it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
            stream.seek(max(0, size - _TAIL_BYTES))
            return _is_whole(head, stream.read(), size)
    except OSError:
        return False


def _checked(person: Bool[np.ndarray, "height width"], path: Path) -> Bool[np.ndarray, "height width"]:
    share = float(person.mean())
    if share > MAX_PERSON_SHARE:
        raise DataInvalid(
            "person mask is almost all person",
            where=path,
            expected="person black (0), background white (255)",
            found=f"{share:.0%} person",
            fix="restore the original mask; it may have been inverted or blanked",
        )
    return person


def decode_image(path: Path, flags: int, size_px: tuple[int, int]) -> Shaped[np.ndarray, "..."]:
    """An image as it is stored, by OpenCV's flags (colour is BGR).

    Raises:
        DataMissing: no such file.
        DataInvalid: truncated, not an image or of another size.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataMissing("image not found", where=path) from None
    # OpenCV fills what a truncated file lacks with grey and reports nothing.
    whole = _is_whole(content[:8], content[-_TAIL_BYTES:], len(content))
    image: Any = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if whole else None
    if image is None:
        raise DataInvalid(
            "image cannot be decoded",
            where=path,
            found="a truncated or damaged file" if content else "an empty file",
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


def _is_whole(head: bytes, tail: bytes, num_bytes: int) -> bool:
    if head.startswith(b"BM"):
        return int.from_bytes(head[_BMP_LENGTH], "little") == num_bytes
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    # Inside a JPEG's coded data FF is always followed by 00, so this pair is its end.
    return head.startswith(b"\xff\xd8") and b"\xff\xd9" in tail
