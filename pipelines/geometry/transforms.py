"""Rigid transforms as 4x4 matrices named `T_destination_from_source`."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@overload
def transform_points(
    T_dst_from_src: Float[np.ndarray, "4 4"], points_src: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3"]: ...
@overload
def transform_points(
    T_dst_from_src: Float[Tensor, "4 4"], points_src: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3"]: ...
def transform_points(T_dst_from_src, points_src):  # type: ignore[no-untyped-def]
    """Carry points from the source frame to the destination frame, keeping their dtype."""
    if isinstance(T_dst_from_src, Tensor):
        matrix = T_dst_from_src.to(points_src)
    else:
        matrix = T_dst_from_src.astype(points_src.dtype, copy=False)
    return points_src @ matrix[:3, :3].T + matrix[:3, 3]


def rigid(
    rotmat: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Assemble a 4x4 rigid transform."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotmat, translation
    return T


def invert(T_dst_from_src: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """`T_src_from_dst` of a rigid transform."""
    R = T_dst_from_src[:3, :3]
    return rigid(R.T, -R.T @ T_dst_from_src[:3, 3])


def transform_plane(
    T_dst_from_src: Float[np.ndarray, "4 4"], plane_src: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "4"]:
    """Carry a plane (unit normal n, offset d, n . x = d) to the destination frame."""
    normal = T_dst_from_src[:3, :3] @ plane_src[:3]
    return np.append(normal, plane_src[3] + normal @ T_dst_from_src[:3, 3])


def is_rigid(T: Float[np.ndarray, "4 4"], tolerance: float = 1e-4) -> bool:
    """True for a proper rotation with translation and last row 0 0 0 1."""
    R = T[:3, :3]
    return bool(
        np.allclose(R @ R.T, np.eye(3), atol=tolerance)
        and np.linalg.det(R) > 0
        and np.allclose(T[3], [0, 0, 0, 1], atol=tolerance)
    )


def to_tensor(array: Float[np.ndarray, "*shape"], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor that owns its memory, so that in-place steps cannot reach the record it came from."""
    return torch.tensor(np.asarray(array), dtype=dtype)
