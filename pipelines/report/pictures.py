"""The worst frames as pictures: colour image, body over it, and the moment from the side.

Vertices inside the scene are magenta, darker with depth; vertices that touch it are orange. Distances
above the touching distance keep the method's own light colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from pipelines.artifacts import write_bytes
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import invert, transform_points
from pipelines.metrics.overlay import METHOD_COLORS, penetration_colors
from pipelines.metrics.penetration import signed_distances
from pipelines.metrics.raster import Layer, Rays, parallel_rays, pinhole_rays, shade
from pipelines.metrics.reprojection import project_joints
from pipelines.records import SceneScan, SequenceObservations
from pipelines.report.run import title_of

CONTACT_COLOR = (0.90, 0.62, 0.0)
"""Okabe and Ito's orange."""
_TITLE_PX = 26
_SIDE_EXTENT_M = 2.4
_SIDE_START_M = 1.0
_SIDE_BELOW_FLOOR_M = 0.2
_BACKGROUND, _GREY = 0.97, 0.75
_BEHIND_M = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class PictureRoom:
    """What all pictures of one recording share."""

    sdf: SdfGrid
    vertices_camera: Float[np.ndarray, "verts 3"]
    faces: Int[np.ndarray, "faces 3"]
    colors: Float[np.ndarray, "verts 3"]
    caster: RayCaster
    observations: SequenceObservations
    body_faces: Int[np.ndarray, "body_faces 3"]
    contact_m: float
    panel_px: int

    @staticmethod
    def of(
        scene: SceneScan,
        observations: SequenceObservations,
        body_faces: Int[np.ndarray, "faces 3"],
        contact_m: float,
        panel_px: int,
    ) -> PictureRoom:
        """Bring the scan into the camera."""
        T_camera_from_world = invert(observations.T_world_from_camera)
        vertices = transform_points(T_camera_from_world, scene.vertices_world.astype(np.float64))
        colors = np.full_like(vertices, _GREY) if scene.colors is None else scene.colors
        return PictureRoom(
            SdfGrid.from_scene(scene),
            vertices,
            scene.faces,
            np.asarray(colors, np.float64),
            RayCaster(vertices, scene.faces),
            observations,
            body_faces,
            contact_m,
            panel_px,
        )


def contact_colors(
    distances_m: Float[np.ndarray, " verts"], base: tuple[float, float, float], contact_m: float
) -> Float[np.ndarray, "verts 3"]:
    """Magenta inside the scene, orange within the touching distance, else the base colour."""
    touching = (distances_m >= 0) & (distances_m < contact_m)
    colors = penetration_colors(distances_m, base)
    return np.where(touching[:, None], np.array(CONTACT_COLOR), colors)


def draw_frame(
    room: PictureRoom,
    image: UInt8[np.ndarray, "height width 3"],
    bodies: Sequence[tuple[str, Float[np.ndarray, "6890 3"]]],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """The image over a legend; then for each method its body over the image, and below from the side."""
    stacked = np.stack([vertices for _, vertices in bodies]).astype(np.float64)
    left_top, step = _crop(stacked, room)
    size = (room.panel_px, room.panel_px)
    rays = pinhole_rays(room.observations.K, left_top, step, size)
    backdrop = _sample(image.astype(np.float64) / 255, left_top, step, size)
    scene_depth, _ = room.caster.first_hit(rays.origins, rays.directions)
    side = _side_rays(stacked.mean(axis=(0, 1)), room)
    side_scene = shade(room.vertices_camera, room.faces, room.colors, side, room.caster)
    distances = signed_distances(stacked, room.observations.T_world_from_camera, room.sdf)
    columns = [np.concatenate([_titled("colour image", backdrop), _legend(room)])]
    for (method, _), vertices, d in zip(bodies, stacked, distances, strict=True):
        base = METHOD_COLORS.get(method, METHOD_COLORS["vposer_t"])
        colors = contact_colors(d, base, room.contact_m)
        front = shade(vertices, room.body_faces, colors, rays)
        over = _blend(backdrop.reshape(-1, 3), front, front.distance > scene_depth + _BEHIND_M)
        beside = shade(vertices, room.body_faces, colors, side)
        empty = np.where(side_scene.hit[:, None], side_scene.color, _BACKGROUND)
        across = _blend(empty, beside, beside.distance > side_scene.distance + _BEHIND_M)
        shape = (room.panel_px, room.panel_px, 3)
        front_panel = _titled(title_of(method), over.reshape(shape))
        columns.append(np.concatenate([front_panel, _titled("from the side", across.reshape(shape))]))
    return np.round(255 * np.clip(np.concatenate(columns, axis=1), 0, 1)).astype(np.uint8)


def write_jpeg(path: Path, picture: UInt8[np.ndarray, "rows columns 3"], quality: int) -> Path:
    """Write an RGB picture, whole or not at all."""
    done, buffer = cv2.imencode(
        ".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done
    write_bytes(path, buffer.tobytes())
    return path


def _crop(
    bodies: Float[np.ndarray, "methods 6890 3"], room: PictureRoom
) -> tuple[tuple[float, float], float]:
    """Corner and step of a square around all bodies, kept near the image."""
    size = np.array(room.observations.image_size_px, dtype=np.float64)
    pixels = project_joints(bodies, room.observations.K).reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    pixels = np.clip(pixels, -0.1 * size, 1.1 * size) if len(pixels) else np.stack([0 * size, size])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    edge = 1.25 * max(float((high - low).max()), 100.0)
    corner = (low + high) / 2 - edge / 2
    return (float(corner[0]), float(corner[1])), edge / room.panel_px


def _side_rays(centre: Float[np.ndarray, "3"], room: PictureRoom) -> Rays:
    """A level view across the camera's."""
    floor = room.observations.floor_camera
    up = floor[:3]
    right = np.array([0.0, 0.0, 1.0])
    right = right - (right @ up) * up
    right /= np.linalg.norm(right)
    lift = floor[3] + _SIDE_EXTENT_M / 2 - _SIDE_BELOW_FLOOR_M - centre @ up
    return parallel_rays(centre + lift * up, right, -up, _SIDE_EXTENT_M, _SIDE_START_M, room.panel_px)


def _blend(
    backdrop: Float[np.ndarray, "rays 3"], layer: Layer, hidden: np.ndarray
) -> Float[np.ndarray, "rays 3"]:
    """The body over the backdrop, faint where something is before it."""
    opacity = np.where(layer.hit, np.where(hidden, 0.35, 0.9), 0.0)[:, None]
    return np.asarray(backdrop + opacity * (layer.color - backdrop))


def _sample(
    image: Float[np.ndarray, "height width 3"],
    left_top: tuple[float, float],
    step: float,
    size: tuple[int, int],
) -> Float[np.ndarray, "rows columns 3"]:
    warp = np.array([[step, 0, left_top[0]], [0, step, left_top[1]]])
    smooth = cv2.INTER_AREA if step > 1 else cv2.INTER_LINEAR
    flags = smooth | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, warp, size, flags=flags, borderValue=(0.5, 0.5, 0.5)))


def _legend(room: PictureRoom) -> Float[np.ndarray, "rows columns 3"]:
    """Colour patches with their meaning."""
    panel = np.full((room.panel_px, room.panel_px, 3), 255, dtype=np.uint8)
    shallow, deep = (penetration_colors(np.array([d]), CONTACT_COLOR)[0] for d in (-0.001, -1.0))
    touch = f"touches: up to {100 * room.contact_m:g} cm outside the scene"
    entries = (
        (CONTACT_COLOR, touch),
        (shallow, "just inside the scene"),
        (deep, "10 cm inside or deeper"),
    )
    for row, (color, text) in enumerate(entries):
        top = 24 + 30 * row
        r, g, b = (round(255 * float(part)) for part in color)
        cv2.rectangle(panel, (10, top), (30, top + 18), (r, g, b), -1)
        place = (38, top + 14)
        cv2.putText(panel, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    note = (10, 24 + 30 * len(entries) + 16)
    cv2.putText(
        panel,
        "faint: behind something",
        note,
        cv2.FONT_HERSHEY_SIMPLEX,
        0.42,
        (30, 30, 30),
        1,
        cv2.LINE_AA,
    )
    return _titled("", panel / 255.0)


def _titled(
    text: str, panel: Float[np.ndarray, "rows columns 3"]
) -> Float[np.ndarray, "more columns 3"]:
    bar = np.full((_TITLE_PX, panel.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(bar, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.46, (30, 30, 30), 1, cv2.LINE_AA)
    return np.concatenate([bar / 255.0, panel])
