"""What the cameras of the example captures see: colour, depth, person and OpenPose's keypoints."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.geometry.meshes import face_normals
from pipelines.geometry.transforms import invert, transform_points
from pipelines.other_trees.capture_cameras import Eye
from pipelines.synthetic.appearance import body_surface, dress
from pipelines.synthetic.keypoints import Detections, DetectorSettings, detect_keypoints
from pipelines.synthetic.presets import SyntheticSettings
from pipelines.synthetic.rendering import PixelRays, Surface, View, paste_body, shade, view_all
from pipelines.synthetic.scan import RoomMesh, texture
from pipelines.synthetic.scenery import Scenery, stream
from pipelines.synthetic.sensor import rough_mask, sense_depth
from pipelines.synthetic.visibility import inside_image

_NO_LIGHT = 40.0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One frame, true images."""

    color: UInt8[np.ndarray, "height width 3"]
    depth_m: Float32[np.ndarray, "rows columns"]
    person: Bool[np.ndarray, "height width"]
    scene_m: Float32[np.ndarray, "height width"]
    body_m: Float32[np.ndarray, "height width"]


def film(
    scenery: Scenery, made: SyntheticSettings, color: Eye, depth: Eye, *, aligned: bool
) -> list[Shot]:
    """Every frame of a motion.

    Args:
        scenery: room and person.
        made: seeds.
        color: colour camera.
        depth: depth camera.
        aligned: depth is resampled into the colour camera.
    """
    T_camera_from_room = invert(scenery.room.T_room_from_camera)
    light = T_camera_from_room[:3, :3] @ (np.array([0.25, -0.35, 0.9]) / 1.01)
    color_rays = color.rays()
    depth_rays = color_rays if aligned else depth.rays()
    T_depth = depth.camera.T_camera_from_rig
    room_surface = _room_surface(scenery.mesh, T_camera_from_room)
    color_view = view_all(color_rays, room_surface)
    empty = _paint_room(color_view, room_surface, color_rays, scenery, light)
    depth_view = view_all(depth_rays, _room_surface(scenery.mesh, T_depth @ T_camera_from_room))
    clothes = dress(scenery.body, stream(made, scenery.spec, "clothes"))
    faces = scenery.body.faces.numpy()
    shots = []
    for frame in range(scenery.spec.num_frames):
        rng = stream(made, scenery.spec, f"frame {frame}")
        vertices = scenery.posed_camera.vertices[frame].astype(np.float64)
        surface = body_surface(vertices, faces, clothes)
        seen = _see_body(color, color_rays, surface)
        body_m = np.full(color_view.depth_m.shape, np.inf, np.float32)
        body_m[seen.box] = seen.depth_m
        visible = seen.depth_m < color_view.depth_m[seen.box]
        image = paste_body(empty, shade(seen, surface, light), seen, visible)
        person = np.zeros(body_m.shape, dtype=bool)
        person[seen.box] = visible
        z, cosine = depth_view.depth_m.copy(), depth_view.cosine.copy()
        there = body_surface(transform_points(T_depth, vertices), faces, clothes)
        in_depth = _see_body(depth, depth_rays, there)
        nearer = in_depth.depth_m < z[in_depth.box]
        z[in_depth.box] = np.where(nearer, in_depth.depth_m, z[in_depth.box])
        cosine[in_depth.box] = np.where(nearer, in_depth.cosine, cosine[in_depth.box])
        noise = rng.normal(0, 1.5, image.shape[:2])[..., None]
        shots.append(
            Shot(
                color=np.clip(image + noise, 0, 255).astype(np.uint8),
                depth_m=sense_depth(z, cosine, rng),
                person=rough_mask(person, 1.5, rng),
                scene_m=color_view.depth_m,
                body_m=body_m,
            )
        )
    return shots


def _see_body(eye: Eye, rays: PixelRays, surface: Surface) -> View:
    """Cast the box of pixels around the body; the generator's own box knows five coefficients only."""
    pixels = eye.project(surface.vertices)
    height, width = rays.directions.shape[:2]
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int) - 4, 0, [width - 2, height - 2])
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 5, low + 2, [width, height])
    crop = PixelRays(rays.camera, rays.directions[low[1] : high[1], low[0] : high[0]])
    return replace(view_all(crop, surface), top=int(low[1]), left=int(low[0]))


def _room_surface(mesh: RoomMesh, T_camera_from_room: Float[np.ndarray, "4 4"]) -> Surface:
    vertices = transform_points(T_camera_from_room, mesh.vertices)
    crossed = face_normals(torch.as_tensor(vertices), torch.as_tensor(mesh.faces))
    normals = torch.nn.functional.normalize(crossed, dim=-1).numpy()
    return Surface(vertices, mesh.faces, normals, np.ones((len(mesh.faces), 3)))


def _paint_room(
    view: View, surface: Surface, rays: PixelRays, scenery: Scenery, light: Float[np.ndarray, "3"]
) -> UInt8[np.ndarray, "height width 3"]:
    hit = view.face >= 0
    points = rays.directions[hit].astype(np.float64) * view.depth_m[hit][:, None]
    points = transform_points(scenery.room.T_room_from_camera, points)
    image = np.full((*hit.shape, 3), _NO_LIGHT, np.float32)
    albedo = texture(points, scenery.mesh.solid[view.face[hit]], scenery.room, 5)
    image[hit] = shade(view, surface, light)[hit] * albedo
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def detect(scenery: Scenery, made: SyntheticSettings, color: Eye, shots: list[Shot]) -> Detections:
    """OpenPose's keypoints of every frame, true distorted image."""
    joints = scenery.posed_camera.joints[:, list(PROX118_FROM_SMPLX)].astype(np.float64)
    pixels = color.project(joints.reshape(-1, 3)).reshape(*joints.shape[:2], 2)
    rows = np.clip(np.rint(pixels[..., 1]), 0, color.camera.height_px - 1).astype(int)
    columns = np.clip(np.rint(pixels[..., 0]), 0, color.camera.width_px - 1).astype(int)
    frames = np.arange(len(shots))[:, None]
    scene = np.stack([shot.scene_m for shot in shots])[frames, rows, columns]
    body = np.stack([shot.body_m for shot in shots])[frames, rows, columns]
    behind_scene = scene < joints[..., 2] - 0.08
    behind_body = (body < joints[..., 2] - 0.14) & ~behind_scene
    size = np.array([color.camera.width_px, color.camera.height_px])
    inside = inside_image(color.camera, joints) & ((pixels >= 0) & (pixels < size)).all(axis=-1)
    rng = stream(made, scenery.spec, "keypoints")
    return detect_keypoints(pixels, behind_body, behind_scene, inside, DetectorSettings(), rng)
