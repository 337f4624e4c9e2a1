"""Pickles as the data sets' own programs wrote them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from pipelines.datasets.proxd import PROXD_SHAPES


def smplx_content(
    values: Mapping[str, Shaped[np.ndarray, "..."]],
) -> dict[str, Float32[np.ndarray, "1 ..."]]:
    """One frame's SMPL-X parameters with the thirteen keys and the leading axis of a PROXD pickle."""
    content = {key: np.zeros((1, *shape), np.float32) for key, shape in PROXD_SHAPES.items()}
    content["camera_rotation"][0] = np.eye(3)
    for key, value in values.items():
        content[key][0] = value
    return content


def pickled(content: Any) -> bytes:
    """Protocol 2, with NumPy's old module name: existing tools read it with NumPy 1."""
    encoded = pickle.dumps(content, protocol=2)
    return encoded.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def python2_pickled(arrays: Mapping[str, Float32[np.ndarray, "..."]]) -> bytes:
    """A dict of float32 arrays as Python 2 pickles it: byte strings, which Python 3 reads as latin1."""
    body = b"".join(_python2_text(key.encode()) + _python2_array(value) for key, value in arrays.items())
    return b"\x80\x02}(" + body + b"u."


def _python2_text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def _python2_array(value: Float32[np.ndarray, "..."]) -> bytes:
    shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in value.shape) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    dtype = (
        b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    raw = np.ascontiguousarray(value, "<f4").tobytes()
    data = b"T" + struct.pack("<i", len(raw)) + raw
    return empty + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"
