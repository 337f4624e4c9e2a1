"""Image files that are stored as they are seen: nothing here is mirrored, unlike PROX's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from pipelines.datasets.images import decode_image

COLOR_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


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
    image = decode_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, size_px)
    return np.ascontiguousarray(image[:, :, ::-1])
