"""Pictures to judge fits by eye: over the colour image, from the side, and cut through scene and body.

One picture per frame, one column per method. Top: the fitted mesh over the colour image, faint where
the scan hides it. Middle: the same moment from the side, with the scan. Bottom: a vertical cut through
the deepest vertex of any column (or the body's middle), solid scene grey. Vertices inside the scene are
magenta, the darker the deeper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from pipelines.artifacts import write_bytes
from pipelines.errors import PipelineError
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import invert, transform_points
from pipelines.metrics.evaluate import TRUTH
from pipelines.metrics.penetration import signed_distances
from pipelines.metrics.raster import Layer, Rays, parallel_rays, pinhole_rays, section, shade
from pipelines.metrics.reprojection import project_joints
from pipelines.metrics.summary import BASELINES, METHOD_TITLES, result_of
from pipelines.records import BodyTrack, SceneScan, SequenceObservations

logger = logging.getLogger(__name__)

PANEL_PX = 420
_TITLE_PX = 30
_SIDE_EXTENT_M = 2.4
_SIDE_START_M = 0.9
"""The side view starts this far before the pelvis, so that a near wall does not hide everything."""
_SIDE_BELOW_FLOOR_M = 0.2
_DEEP_M = 0.10
"""Depth at which the penetration colour is darkest."""

METHOD_COLORS: dict[str, tuple[float, float, float]] = {
    "proxd": (0.93, 0.78, 0.45),
    "prox_style": (0.93, 0.78, 0.45),
    "vposer_t": (0.80, 0.80, 0.80),
    "humor": (0.62, 0.80, 0.93),
    "prox_humor": (0.45, 0.70, 0.90),
    "refined": (0.45, 0.70, 0.90),
    TRUTH: (0.60, 0.85, 0.70),
}
"""Light body colours, after the colour-blind safe set of Okabe and Ito."""
_SHALLOW, _DEEP = np.array([0.95, 0.35, 0.75]), np.array([0.45, 0.0, 0.30])
_SCENE_GREY, _BACKGROUND = 0.78, 0.97

ColorImage = Callable[[str], UInt8[np.ndarray, "height width 3"]]


@dataclass(frozen=True, slots=True, eq=False)
class _Room:
    """The scene in the frames the pictures need."""

    sdf: SdfGrid
    vertices_camera: Float[np.ndarray, "verts 3"]
    faces: Int[np.ndarray, "faces 3"]
    colors: Float[np.ndarray, "verts 3"]
    caster_camera: RayCaster
    T_world_from_camera: Float[np.ndarray, "4 4"]
    floor_camera: Float[np.ndarray, "4"]


def save_overlays(
    folder: Path,
    tracks: Mapping[str, BodyTrack],
    observations: SequenceObservations,
    scene: SceneScan,
    faces: Int[np.ndarray, "faces 3"],
    color_image: ColorImage,
    *,
    truth_track: BodyTrack | None = None,
    num_frames: int = 4,
    methods: Sequence[str] | None = None,
) -> list[Path]:
    """Write `<frame>.png` for frames spread evenly over those valid in every shown method.

    Args:
        folder: where the pictures go.
        tracks: bodies by method.
        observations: intrinsics, camera pose, frame names.
        scene: the scan and its distance grid.
        faces: of the 6890-vertex topology.
        color_image: gives the true (un-mirrored) RGB image of a frame name.
        truth_track: shown as the last column.
        num_frames: pictures to make; 0 makes none.
        methods: columns; by default the baseline and PROX+HuMoR, or all where either is missing.
    """
    columns = {name: tracks[name] for name in methods or default_methods(tracks)}
    if truth_track is not None:
        columns[TRUTH] = truth_track
    chosen = spread_frames(columns, num_frames)
    if not chosen:
        return []
    room = _prepare(scene, observations)
    paths = []
    for frame in chosen:
        name = observations.frame_names[frame]
        bodies = {method: track.vertices_camera[frame] for method, track in columns.items()}
        picture = _picture(
            bodies, faces, room, observations, _background(color_image, name, observations)
        )
        path = folder / f"{name}.png"
        write_bytes(path, _png(picture))
        paths.append(path)
    return paths


def default_methods(methods: Iterable[str]) -> list[str]:
    """The baseline and the result side by side; all methods when one of the two is not there."""
    methods = list(methods)
    result = result_of(methods)
    pair = [name for name in (*BASELINES, result) if name in methods]
    return pair if len(pair) > 1 and result is not None else methods


def spread_frames(tracks: Mapping[str, BodyTrack], num_frames: int) -> list[int]:
    """Frames spread evenly over those that are valid in every track; never picked by quality."""
    if not tracks or num_frames <= 0:
        return []
    valid = np.flatnonzero(np.all([track.valid for track in tracks.values()], axis=0))
    if len(valid) == 0:
        return []
    places = (np.arange(num_frames) + 0.5) / num_frames * len(valid)
    return sorted({int(valid[int(place)]) for place in places})


def penetration_colors(
    distances_m: Float[np.ndarray, " verts"], base: tuple[float, float, float]
) -> Float[np.ndarray, "verts 3"]:
    """The base colour outside the scene, magenta darkening with depth inside."""
    depth = np.clip(-distances_m / _DEEP_M, 0, 1)[:, None]
    return np.where(distances_m[:, None] < 0, _SHALLOW + depth * (_DEEP - _SHALLOW), np.array(base))


def _prepare(scene: SceneScan, observations: SequenceObservations) -> _Room:
    T_camera_from_world = invert(observations.T_world_from_camera)
    vertices = transform_points(T_camera_from_world, scene.vertices_world.astype(np.float64))
    colors = scene.colors
    if colors is None:
        colors = np.full((len(vertices), 3), _SCENE_GREY)
    return _Room(
        SdfGrid.from_scene(scene),
        vertices,
        scene.faces,
        np.asarray(colors, dtype=np.float64),
        RayCaster(vertices, scene.faces),
        observations.T_world_from_camera,
        observations.floor_camera,
    )


def _picture(
    bodies: Mapping[str, Float[np.ndarray, "6890 3"]],
    faces: Int[np.ndarray, "faces 3"],
    room: _Room,
    observations: SequenceObservations,
    image: Float[np.ndarray, "height width 3"],
) -> Float[np.ndarray, "rows columns 3"]:
    left_top, step = _crop(bodies, observations)
    rays = pinhole_rays(observations.K, left_top, step, (PANEL_PX, PANEL_PX))
    backdrop = _sample_image(image, left_top, step).reshape(-1, 3)
    scene_depth, _ = room.caster_camera.first_hit(rays.origins, rays.directions)
    centre = np.mean([body.mean(axis=0) for body in bodies.values()], axis=0).astype(np.float64)
    side = _side_rays(centre, room)
    side_scene = shade(room.vertices_camera, room.faces, room.colors, side, room.caster_camera)
    stacked = np.stack(list(bodies.values())).astype(np.float64)
    all_distances = signed_distances(stacked, room.T_world_from_camera, room.sdf)
    cut_point = stacked.reshape(-1, 3)[all_distances.argmin()] if all_distances.min() < 0 else centre
    columns = []
    for method, vertices, distances in zip(bodies, stacked, all_distances, strict=True):
        base = METHOD_COLORS.get(method, METHOD_COLORS["vposer_t"])
        colors = penetration_colors(distances, base)
        layer = shade(vertices, faces, colors, rays)
        hidden = layer.distance > scene_depth + 0.02
        side_layer = shade(vertices, faces, colors, side)
        panels = [
            _title(METHOD_TITLES.get(method, method), distances),
            _blend(backdrop, layer, hidden, rays),
            _blend(
                _over_background(side_scene),
                side_layer,
                side_layer.distance > side_scene.distance + 0.005,
                side,
            ),
            _cut(vertices, faces, cut_point, side, room),
        ]
        columns.append(np.concatenate(panels))
    return np.concatenate(columns, axis=1)


def _crop(
    bodies: Mapping[str, Float[np.ndarray, "6890 3"]], observations: SequenceObservations
) -> tuple[tuple[float, float], float]:
    """Left top corner and step of a square that holds all bodies, kept near the image."""
    pixels = project_joints(np.stack(list(bodies.values())), observations.K).reshape(-1, 2)
    size = np.array(observations.image_size_px, dtype=np.float64)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    pixels = np.clip(pixels, -0.2 * size, 1.2 * size) if len(pixels) else np.stack([0 * size, size])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    side = 1.15 * max(float((high - low).max()), 100.0)
    corner = (low + high) / 2 - side / 2
    return (float(corner[0]), float(corner[1])), side / PANEL_PX


def _side_rays(centre: Float[np.ndarray, "3"], room: _Room) -> Rays:
    """A level view along the camera's x axis: the camera looks in from the left."""
    up = room.floor_camera[:3]
    right = np.array([0.0, 0.0, 1.0])  # the camera's viewing direction, made level
    right = right - (right @ up) * up
    right /= np.linalg.norm(right)
    lift = room.floor_camera[3] + _SIDE_EXTENT_M / 2 - _SIDE_BELOW_FLOOR_M - centre @ up
    return parallel_rays(centre + lift * up, right, -up, _SIDE_EXTENT_M, _SIDE_START_M, PANEL_PX)


def _cut(
    vertices: Float[np.ndarray, "6890 3"],
    faces: Int[np.ndarray, "faces 3"],
    point: Float[np.ndarray, "3"],
    side: Rays,
    room: _Room,
) -> Float[np.ndarray, "rows columns 3"]:
    """Solid scene and body outline in the vertical plane through a point, seen from the side."""
    forward = side.directions[0]
    plane_points = side.origins + ((point - side.origins) @ forward)[:, None] * forward
    world = transform_points(room.T_world_from_camera, plane_points)
    distance = room.sdf.sample(torch.tensor(world).to(room.sdf.values_m)).numpy()
    shape = (side.height_px, side.width_px)
    canvas = np.full((*shape, 3), round(255 * _BACKGROUND), dtype=np.uint8)
    canvas[(distance < 0).reshape(shape)] = 150
    lines = section(vertices, faces, point, forward)
    right = side.origins[1] - side.origins[0]
    down = side.origins[side.width_px] - side.origins[0]
    offset = lines - plane_points[0]
    pixels = np.stack([offset @ right / (right @ right), offset @ down / (down @ down)], axis=-1)
    for segment in np.round(pixels).astype(int):
        a, b = (tuple(int(x) for x in end) for end in segment)
        cv2.line(canvas, a, b, (0, 60, 140), 1, cv2.LINE_AA)
    return canvas / 255.0


def _blend(
    backdrop: Float[np.ndarray, "rays 3"],
    layer: Layer,
    hidden: Bool[np.ndarray, " rays"],
    rays: Rays,
) -> Float[np.ndarray, "rows columns 3"]:
    """The body over the backdrop, faint where it is behind something."""
    opacity = np.where(layer.hit, np.where(hidden, 0.35, 0.85), 0.0)[:, None]
    blended = backdrop + opacity * (layer.color - backdrop)
    return blended.reshape(rays.height_px, rays.width_px, 3)


def _over_background(layer: Layer) -> Float[np.ndarray, "rays 3"]:
    return np.where(layer.hit[:, None], layer.color, _BACKGROUND)


def _title(text: str, distances_m: Float[np.ndarray, " verts"]) -> Float[np.ndarray, "rows columns 3"]:
    bar = np.full((_TITLE_PX, PANEL_PX, 3), 255, dtype=np.uint8)
    inside = distances_m < 0
    depth = f", {100 * -distances_m[inside].mean():.1f} cm deep" if inside.any() else ""
    label = f"{text}: {100 * inside.mean():.1f} % inside{depth}"
    cv2.putText(bar, label, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return bar / 255.0


def _background(
    color_image: ColorImage, name: str, observations: SequenceObservations
) -> Float[np.ndarray, "height width 3"]:
    try:
        return color_image(name).astype(np.float64) / 255
    except PipelineError as error:
        logger.warning("%s: no colour image behind the picture: %s", name, error.what)
        width, height = observations.image_size_px
        return np.full((height, width, 3), 0.5)


def _sample_image(
    image: Float[np.ndarray, "height width 3"], left_top: tuple[float, float], step: float
) -> Float[np.ndarray, "rows columns 3"]:
    warp = np.array([[step, 0, left_top[0]], [0, step, left_top[1]]])
    flags = (
        cv2.INTER_AREA | cv2.WARP_INVERSE_MAP if step > 1 else cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(cv2.warpAffine(image, warp, (PANEL_PX, PANEL_PX), flags=flags))


def _png(picture: Float[np.ndarray, "rows columns 3"]) -> bytes:
    pixels = np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    done, buffer = cv2.imencode(".png", pixels[..., ::-1])
    assert done
    return buffer.tobytes()
