"""Predictions to look at: the body over its image, and body, contact and scene as one GLB."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pipelines.artifacts import write_bytes
from pipelines.contact.colors import CATEGORY_COLORS
from pipelines.datasets.scenes import ScanMesh
from pipelines.errors import DataInvalid
from pipelines.geometry import pytorch3d_backend
from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.transforms import transform_points
from pipelines.metrics.raster import pinhole_rays, shade
from pipelines.records import SceneScan
from sahmr.data.crop import PersonView
from sahmr.types import MeshPrediction

BODY_COLOR: Final = (0.45, 0.70, 0.90)
_OPACITY: Final = 0.85
_SCENE_GREY: Final = 0.78
_DOT_PX: Final = 3

UpAxis = Literal["y", "z"]


def overlay(
    view: PersonView, body: MeshPrediction, faces: Int[np.ndarray, "faces 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The shaded body over the image, its contact points as dots coloured by part.

    Raises:
        DataInvalid: no part of the body lies before the camera and inside the image.
    """
    vertices = _numpy(body.vertices_camera[0])
    left, up, right, bottom = _visible_rectangle(vertices, view)
    rays = pinhole_rays(view.K, (float(left), float(up)), 1.0, (right - left, bottom - up))
    caster = None  # Embree's
    if torch.cuda.is_available() and pytorch3d_backend.is_installed():
        window_px = pytorch3d_backend.PixelWindow(left, up, right - left, bottom - up)
        caster = pytorch3d_backend.WindowCaster(vertices, faces, view.K, window_px)
    layer = shade(vertices, faces, np.tile(BODY_COLOR, (len(vertices), 1)), rays, caster)
    picture = view.image.copy()
    window = picture[up:bottom, left:right].astype(np.float64) / 255
    opacity = _OPACITY * layer.hit.reshape(*window.shape[:2], 1)
    blended = window + opacity * (layer.color.reshape(window.shape) - window)
    picture[up:bottom, left:right] = np.round(255 * np.clip(blended, 0, 1)).astype(np.uint8)
    points, colors = contact_dots(body)
    pixels = np.clip(np.rint(_project(points, view.K)), -(2**20), 2**20).astype(int)
    for pixel, color in zip(pixels, colors, strict=True):
        rgb = tuple(round(255 * float(part)) for part in color)
        cv2.circle(picture, (int(pixel[0]), int(pixel[1])), _DOT_PX, rgb, -1, cv2.LINE_AA)
    return picture


def save_overlay(
    path: Path, view: PersonView, body: MeshPrediction, faces: Int[np.ndarray, "faces 3"]
) -> None:
    """Write the overlay as PNG; raises as `overlay`."""
    done, buffer = cv2.imencode(".png", overlay(view, body, faces)[..., ::-1])
    assert done
    write_bytes(path, buffer.tobytes())


def save_glb(
    path: Path,
    view: PersonView,
    body: MeshPrediction,
    faces: Int[np.ndarray, "faces 3"],
    scene: SceneScan | ScanMesh | None = None,
    up_axis: UpAxis = "z",
) -> None:
    """Write body, contact points and scan in the world frame, turned so that glTF's y is up.

    Args:
        path: ends in .glb.
        view: gives the camera's place.
        body: the prediction.
        faces: of the 6890 vertices.
        scene: the scan; left out when None.
        up_axis: which axis of the world frame points up (PROX: z).
    """
    T = view.T_world_from_camera
    parts = trimesh.Scene()
    vertices_world = transform_points(T, _numpy(body.vertices_camera[0]))
    body_colors = np.tile(BODY_COLOR, (len(vertices_world), 1))
    parts.add_geometry(_mesh(_upright(vertices_world, up_axis), faces, body_colors), geom_name="body")
    points, colors = contact_dots(body)
    if len(points):
        dots = trimesh.PointCloud(_upright(transform_points(T, points), up_axis), _bytes(colors))
        parts.add_geometry(dots, geom_name="contact")
    if scene is not None:
        colors = (
            scene.colors if scene.colors is not None else np.full_like(scene.vertices_world, _SCENE_GREY)
        )
        room = _mesh(_upright(scene.vertices_world, up_axis), scene.faces, colors)
        parts.add_geometry(room, geom_name="scene")
    write_bytes(path, parts.export(file_type="glb"))


def contact_dots(
    body: MeshPrediction,
) -> tuple[Float[np.ndarray, "dots 3"], Float[np.ndarray, "dots 3"]]:
    """Contact points that the mesh network read, camera frame, and a colour by class."""
    contact = body.contact_points
    used = contact.in_contact[0].cpu().numpy()
    category = contact.category[0].cpu().numpy()[used]
    return _numpy(contact.points[0])[used], np.array(CATEGORY_COLORS)[
        (category - 1) % len(CATEGORY_COLORS)
    ]


def _visible_rectangle(
    vertices: Float[np.ndarray, "verts 3"], view: PersonView
) -> tuple[int, int, int, int]:
    """Whole pixels round the projected body, cut to the image: left, up, right, bottom."""
    height, width = view.image.shape[:2]
    before = vertices[vertices[:, 2] > 0]
    if len(before):
        pixels = _project(before, view.K)
        low = np.maximum(np.floor(pixels.min(axis=0)), 0)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 1, [width, height])
        if (high > low).all():
            return int(low[0]), int(low[1]), int(high[0]), int(high[1])
    raise DataInvalid(
        "the body lies outside the image: there is nothing to draw",
        where=view.key,
        found=f"{vertices.min(axis=0).round(2)} to {vertices.max(axis=0).round(2)} m in the camera frame",
    )


def _project(
    points: Float[np.ndarray, "points 3"], K: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "points 2"]:
    return project_pinhole(torch.from_numpy(points), torch.from_numpy(K).double()).numpy()


def _mesh(
    vertices: Float[np.ndarray, "verts 3"],
    faces: Int[np.ndarray, "faces 3"],
    colors: Float[np.ndarray, "verts 3"],
) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices, faces, vertex_colors=_bytes(colors), process=False)


def _bytes(colors: Float[np.ndarray, "verts 3"]) -> UInt8[np.ndarray, "verts 3"]:
    return np.rint(255 * colors).astype(np.uint8)


def _upright(
    points_world: Float[np.ndarray, "points 3"], up_axis: UpAxis
) -> Float[np.ndarray, "points 3"]:
    x, y, z = points_world.T
    return points_world if up_axis == "y" else np.stack([x, z, -y], axis=1)


def _numpy(points: Float[Tensor, "points 3"]) -> Float[np.ndarray, "points 3"]:
    return points.detach().cpu().double().numpy()
