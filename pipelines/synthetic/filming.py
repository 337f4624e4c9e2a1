"""Film a dressed body in a room with the rig: colour, depth and masks of every frame, true images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from torch import Tensor

from pipelines.geometry.meshes import face_normals
from pipelines.geometry.transforms import invert, transform_points
from pipelines.synthetic.appearance import body_surface
from pipelines.synthetic.rendering import (
    PixelRays,
    Surface,
    View,
    paste_body,
    shade,
    view_all,
    view_body,
)
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import RoomMesh, texture
from pipelines.synthetic.sensor import KinectRig, rough_mask, sense_depth

_LIGHT_ROOM = np.array([0.25, -0.35, 0.9])
_COLOR_BORDER_PX, _INFRARED_BORDER_PX = 2.5, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class RigRays:
    """Pixel rays of both cameras; the same for every recording."""

    color: PixelRays
    infrared: PixelRays
    T_infrared_from_color: Float[np.ndarray, "4 4"]

    @staticmethod
    def of(rig: KinectRig) -> RigRays:
        """Invert both lenses."""
        T = rig.infrared.T_camera_from_rig @ invert(rig.color.T_camera_from_rig)
        return RigRays(PixelRays.of(rig.color), PixelRays.of(rig.infrared), T)


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The empty room as both cameras see it, cast once."""

    rays: RigRays
    color_depth_m: Float32[np.ndarray, "1080 1920"]
    color_image: UInt8[np.ndarray, "1080 1920 3"]
    infrared: View
    light_camera: Float[np.ndarray, "3"]
    grain: Float32[np.ndarray, "1080 1920"]
    """Sensor noise of the colour image, rolled by a random offset in each frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One frame's images, true (un-mirrored)."""

    color: UInt8[np.ndarray, "1080 1920 3"]
    depth_m: Float32[np.ndarray, "424 512"]
    color_person: tuple[Bool[np.ndarray, "1080 1920"], ...]
    """Rough mask of each person."""
    infrared_person: tuple[Bool[np.ndarray, "424 512"], ...]
    body_depth_m: Float32[np.ndarray, "1080 1920"]
    """z of the first person's surface, inf elsewhere; the room is not subtracted."""


def set_stage(room: Room, mesh: RoomMesh, rays: RigRays, rng: np.random.Generator) -> Stage:
    """Cast the empty room into both cameras."""
    T_camera_from_room = invert(room.T_room_from_camera)
    light = T_camera_from_room[:3, :3] @ (_LIGHT_ROOM / np.linalg.norm(_LIGHT_ROOM))
    color_surface = _room_surface(mesh, T_camera_from_room)
    color = view_all(rays.color, color_surface)
    seed = int(rng.integers(1 << 30))
    image = _shade_room(color, color_surface, rays.color, mesh, room, light, seed)
    infrared_surface = _room_surface(mesh, rays.T_infrared_from_color @ T_camera_from_room)
    return Stage(
        rays=rays,
        color_depth_m=color.depth_m,
        color_image=image,
        infrared=view_all(rays.infrared, infrared_surface),
        light_camera=light,
        grain=1.6 * rng.standard_normal((1080, 1920), np.float32),
    )


def film(
    stage: Stage,
    bodies_camera: list[Float[np.ndarray, "vertices 3"]],
    faces: Int[np.ndarray, "faces 3"],
    face_colors: list[Float[np.ndarray, "faces 3"]],
    rng: np.random.Generator,
) -> Shot:
    """One frame with none, one or more bodies (colour-camera frame)."""
    depth_map = stage.color_depth_m.copy()
    image, first_depth = stage.color_image, np.full_like(depth_map, np.inf)
    color_masks: list[Bool[np.ndarray, "1080 1920"]] = []
    infrared_depth, infrared_cosine = stage.infrared.depth_m.copy(), stage.infrared.cosine.copy()
    infrared_masks: list[Bool[np.ndarray, "424 512"]] = []
    for number, (vertices, colors) in enumerate(zip(bodies_camera, face_colors, strict=True)):
        surface = body_surface(vertices, faces, colors)
        view = view_body(stage.rays.color, surface)
        mask = np.zeros(depth_map.shape, dtype=bool)
        if view is not None:
            if number == 0:
                first_depth[view.box] = view.depth_m
            visible = view.depth_m < depth_map[view.box]
            image = paste_body(image, shade(view, surface, stage.light_camera), view, visible)
            depth_map[view.box] = np.minimum(depth_map[view.box], view.depth_m)
            mask[view.box] = visible
            mask = _rough_inside(mask, view, _COLOR_BORDER_PX, rng)
        color_masks.append(mask)
        infrared_masks.append(
            _into_infrared(stage, vertices, surface, infrared_depth, infrared_cosine, rng)
        )
    return Shot(
        color=_grain(image, stage, rng),
        depth_m=sense_depth(infrared_depth, infrared_cosine, rng),
        color_person=tuple(color_masks),
        infrared_person=tuple(infrared_masks),
        body_depth_m=first_depth,
    )


def _into_infrared(
    stage: Stage,
    vertices: Float[np.ndarray, "vertices 3"],
    surface: Surface,
    depth: Float32[np.ndarray, "424 512"],
    cosine: Float32[np.ndarray, "424 512"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, "424 512"]:
    """Lay one body over the infrared view in place; returns its rough mask."""
    T = stage.rays.T_infrared_from_color
    moved = Surface(
        transform_points(T, vertices),
        surface.faces,
        surface.face_normals @ T[:3, :3].T,
        surface.face_colors,
    )
    view = view_body(stage.rays.infrared, moved)
    mask = np.zeros(depth.shape, dtype=bool)
    if view is None:
        return mask
    visible = view.depth_m < depth[view.box]
    depth[view.box] = np.where(visible, view.depth_m, depth[view.box])
    cosine[view.box] = np.where(visible, view.cosine, cosine[view.box])
    mask[view.box] = visible
    return _rough_inside(mask, view, _INFRARED_BORDER_PX, rng)


def _rough_inside(
    mask: Bool[np.ndarray, "height width"], view: View, border_px: float, rng: np.random.Generator
) -> Bool[np.ndarray, "height width"]:
    """Roughen only around the body, where the mask can change."""
    height, width = mask.shape
    rows, columns = view.box
    margin = 16
    box = (
        slice(max(rows.start - margin, 0), min(rows.stop + margin, height)),
        slice(max(columns.start - margin, 0), min(columns.stop + margin, width)),
    )
    rough = np.zeros_like(mask)
    rough[box] = rough_mask(mask[box], border_px, rng)
    return rough


def _grain(
    image: UInt8[np.ndarray, "1080 1920 3"], stage: Stage, rng: np.random.Generator
) -> UInt8[np.ndarray, "1080 1920 3"]:
    """Add luminance noise; rolling one noise image is far cheaper than drawing a new one."""
    shift = rng.integers(0, 1080), rng.integers(0, 1920)
    grain = np.roll(stage.grain, shift, axis=(0, 1)).astype(np.int16)
    return cv2.add(image, np.repeat(grain[..., None], 3, axis=2), dtype=cv2.CV_8U)


def _room_surface(mesh: RoomMesh, T_camera_from_room: Float[np.ndarray, "4 4"]) -> Surface:
    vertices = transform_points(T_camera_from_room, mesh.vertices)
    crossed: Tensor = face_normals(torch.as_tensor(vertices), torch.as_tensor(mesh.faces))
    normals = torch.nn.functional.normalize(crossed, dim=-1).numpy()
    return Surface(vertices, mesh.faces, normals, np.ones((len(mesh.faces), 3)))


def _shade_room(
    view: View,
    surface: Surface,
    rays: PixelRays,
    mesh: RoomMesh,
    room: Room,
    light_camera: Float[np.ndarray, "3"],
    seed: int,
) -> UInt8[np.ndarray, "1080 1920 3"]:
    """Texture per pixel times Lambert; what lies beyond the room is dark grey."""
    hit = view.face >= 0
    camera_points = rays.directions[hit].astype(np.float64) * view.depth_m[hit][:, None]
    points = transform_points(room.T_room_from_camera, camera_points)
    albedo = texture(points, mesh.solid[view.face[hit]], room, seed)
    image = np.full((*hit.shape, 3), 40.0, np.float32)
    image[hit] = shade(view, surface, light_camera)[hit] * albedo
    return np.clip(np.round(cv2.GaussianBlur(image, (0, 0), 0.7)), 0, 255).astype(np.uint8)
