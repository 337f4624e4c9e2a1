"""Nearest neighbours and rasterisation by pytorch3d's CUDA kernels; the only file that imports pytorch3d.

Used where a build that matches the user's torch is installed; written from its documentation, never run on
a GPU by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.meshes import RayCaster

NEAREST_FACE_M: Final = 0.01
"""Faces that come nearer to the camera's plane, or lie behind it, are not drawn."""


@cache
def is_installed() -> bool:
    """Whether pytorch3d can be imported with its operators (some builds lack them)."""
    if find_spec("pytorch3d") is None:
        return False
    try:
        import_module("pytorch3d.ops")
    except (ImportError, OSError):
        return False
    return True


def nearest_rows(
    queries: Float[Tensor, "queries 3"], targets: Float[Tensor, "targets 3"]
) -> Int[Tensor, " queries"]:
    """Index of the nearest target of each query."""
    ops: Any = import_module("pytorch3d.ops")
    return ops.knn_points(queries[None], targets[None], K=1).idx[0, :, 0]


@dataclass(frozen=True, slots=True)
class PixelWindow:
    """Pixels of an image to draw: column u and row v of each are its centre."""

    left: int
    up: int
    width: int
    height: int


def rasterize(
    vertices_camera: Float[Tensor, "verts 3"],
    faces: Int[Tensor, "faces 3"],
    K: Float[Tensor, "3 3"],
    window: PixelWindow,
) -> tuple[Float[np.ndarray, " pixels"], Int[np.ndarray, " pixels"]]:
    """Depth and face seen by each pixel, row by row; inf and -1 where there is none.

    Runs where the vertices are. The numbers are those of `pipelines.geometry.meshes.RayCaster.first_hit`
    along the rays of the same pixels.
    """
    structures: Any = import_module("pytorch3d.structures")
    renderer: Any = import_module("pytorch3d.renderer.mesh.rasterize_meshes")
    drawn = torch.nonzero((vertices_camera[:, 2][faces] > NEAREST_FACE_M).all(dim=1))[:, 0]
    size = (window.height, window.width)
    if len(drawn) == 0:
        return np.full(size, np.inf).ravel(), np.full(size, -1, np.int64).ravel()
    pixels = project_pinhole(vertices_camera, K)
    # Its screen has pixel i between i and i + 1; its normalised x points left, y up, and the shorter side of
    # the picture spans -1 to 1.
    screen = pixels - pixels.new_tensor([window.left, window.up]) + 0.5
    middle = pixels.new_tensor([window.width, window.height]) / 2
    normalised = (middle - screen) * 2 / min(size)
    mesh = structures.Meshes([torch.cat([normalised, vertices_camera[:, 2:]], dim=1)], [faces[drawn]])
    nearest, depth, _, _ = renderer.rasterize_meshes(
        mesh, image_size=size, blur_radius=0.0, faces_per_pixel=1, perspective_correct=True
    )
    nearest = nearest.flatten()
    face = torch.where(nearest >= 0, drawn[nearest.clamp(min=0)], -1)
    distance = torch.where(nearest >= 0, depth.flatten(), torch.inf)
    return distance.double().cpu().numpy(), face.cpu().numpy()


class WindowCaster(RayCaster):
    """A ray caster for the pixels of one window, which a GPU draws at once."""

    def __init__(
        self,
        vertices_camera: Float[np.ndarray, "verts 3"],
        faces: Int[np.ndarray, "faces 3"],
        K: Float[np.ndarray, "3 3"],
        window: PixelWindow,
        device: str = "cuda",
    ) -> None:
        vertices, intrinsics = (
            torch.tensor(a, dtype=torch.float32, device=device) for a in (vertices_camera, K)
        )
        self._hits = rasterize(vertices, torch.tensor(faces, device=device).long(), intrinsics, window)

    def first_hit(
        self, origins: Float[np.ndarray, "rays 3"], directions: Float[np.ndarray, "rays 3"]
    ) -> tuple[Float[np.ndarray, " rays"], Int[np.ndarray, " rays"]]:
        """The hits of the window's own rays (from the camera, z of the direction 1), row by row."""
        assert len(directions) == len(self._hits[0]), "other rays than the window's"
        return self._hits
