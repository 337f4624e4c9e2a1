"""Two captures as people bring them, to show and to test `init`: files of two cameras, not PROX's.

`azure`: an Azure Kinect of 1280 x 720 and 640 x 576 with its factory calibration (lenses distort, the
depth camera looks down by six degrees), frame numbers as names, scan with z up; a chair was scanned that
stands elsewhere in the footage, where the person walks through its old place.
`realsense`: depth aligned to colour at 848 x 480, timestamps as names, scan as obj with y up, pose as
camera_from_world, masks, and OpenPose that saw mirrored images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.config import Settings
from pipelines.datasets.openpose import mirror_keypoints
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.meshes import face_normals
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.synthetic.appearance import body_surface, dress
from pipelines.synthetic.keypoints import (
    Detections,
    DetectorSettings,
    detect_keypoints,
    openpose_json,
    openpose_person,
)
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.primitives import Solid, union_distance
from pipelines.synthetic.rendering import PixelRays, Surface, View, paste_body, shade, view_all
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import RoomMesh, ply_bytes, scan_room, texture
from pipelines.synthetic.scenery import Scenery, prepare, stream
from pipelines.synthetic.sensor import rough_mask, sense_depth
from pipelines.synthetic.truth import write_truth
from pipelines.synthetic.visibility import inside_image

Kind = Literal["azure", "realsense"]

SPECS: Final[dict[Kind, RecordingSpec]] = {
    "azure": RecordingSpec(scene="Loft", subject=7, family="walk", num_frames=48, seed=21, clutter=2),
    "realsense": RecordingSpec(
        scene="Nook", subject=8, family="sofa_rise", num_frames=32, seed=22, clutter=1
    ),
}
SIZES: Final[dict[Kind, tuple[tuple[int, int], tuple[int, int]]]] = {
    "azure": ((1280, 720), (640, 576)),
    "realsense": ((848, 480), (848, 480)),
}
"""Colour and depth, pixels."""
_AZURE_PARAMETERS: Final = {
    # cx, cy, fx, fy of the whole sensor (corner of the first pixel at 0), k1 ... k6, codx, cody, p2, p1
    "color": (
        0.4998,
        0.5066,
        0.4780,
        0.6374,
        0.33,
        -2.49,
        1.45,
        0.21,
        -2.30,
        1.37,
        0,
        0,
        -1.3e-4,
        1.6e-4,
    ),
    "depth": (0.5012, 0.4965, 0.4921, 0.4922, 3.13, 2.32, 0.13, 3.46, 3.35, 0.66, 0, 0, -5e-5, 8e-5),
}
_AZURE_BASELINE_M = (-0.0321, -0.0022, 0.0039)
_AZURE_TILT_RAD = (-0.1, 0.001, 0.0005)
_REALSENSE = {"fx": 605.3, "fy": 605.1, "ppx": 427.4, "ppy": 241.9}
_MILLIMETRE = 0.001
_EDGE_M = 0.03
_CHAIR_COLOR = (0.32, 0.2, 0.13)
_Y_UP_FROM_Z_UP = rigid(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.zeros(3))
_START_MS = 1_699_000_123_456
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
_NO_LIGHT = 40.0


class CaptureExampleSettings(Settings):
    """Settings of `capture-example`."""

    out: Path = Path("outputs/capture-example")
    kind: Kind = "azure"
    frames: int | None = None
    """Fewer frames than the capture has; None = all."""


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """A camera with a lens of any OpenCV model."""

    camera: RigCamera
    """Its pinhole; the rig's frame is the colour camera's."""
    distortion: Float[np.ndarray, " coefficients"]

    def rays(self) -> PixelRays:
        """Ray (x, y, 1) of every pixel of the distorted image."""
        size = (self.camera.width_px, self.camera.height_px)
        u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        pixels = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float64).reshape(-1, 1, 2)
        plane = cv2.undistortPoints(pixels, self.camera.K, self.distortion, criteria=_STOP)
        rays = np.concatenate([plane.reshape(-1, 2), np.ones((len(pixels), 1))], axis=1)
        return PixelRays(self.camera, rays.reshape(size[1], size[0], 3).astype(np.float32))

    def project(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 2"]:
        """Pixels in the distorted image; far off for points behind the camera."""
        pixels = np.full((len(points), 2), -1e4)
        ahead = points[:, 2] > 0.1
        if ahead.any():
            source = np.ascontiguousarray(points[ahead], np.float64).reshape(-1, 1, 3)
            projected, _ = cv2.projectPoints(
                source, np.zeros(3), np.zeros(3), self.camera.K, self.distortion
            )
            pixels[ahead] = projected.reshape(-1, 2)
        return pixels


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One frame, true images."""

    color: UInt8[np.ndarray, "height width 3"]
    depth_m: Float32[np.ndarray, "rows columns"]
    person: Bool[np.ndarray, "height width"]
    scene_m: Float32[np.ndarray, "height width"]
    body_m: Float32[np.ndarray, "height width"]


def write_capture_example(settings: CaptureExampleSettings, files: BodyFiles) -> Path:
    """Write one capture; its truth lies beside it, in `<out>-truth`.

    Returns:
        The YAML file that `init` takes.
    """
    out, kind = settings.out, settings.kind
    spec = SPECS[kind]
    if settings.frames is not None:
        spec = spec.model_copy(update={"num_frames": settings.frames})
    made = SyntheticSettings(preset="capture", recordings=(spec,), scan_edge_m=_EDGE_M)
    scenery = prepare(made, spec, files)
    color, depth = eyes(kind)
    names = _names(kind, spec.num_frames)
    shots = _film(scenery, made, color, depth, aligned=kind == "realsense")
    detections = _detect(scenery, made, color, shots)
    for name, shot in zip(names, shots, strict=True):
        _write_shot(out, kind, name, shot)
    _write_keypoints(out, kind, names, detections, color.camera.width_px)
    chair = moved_chair(scenery) if kind == "azure" else ()
    _write_scan(out, kind, scenery, made, chair)
    _write_cameras(out, kind)
    truth = out.with_name(f"{out.name}-truth")
    write_truth(truth, scenery.truth)
    write_text(truth / "T_world_from_camera.json", json.dumps(scenery.room.T_world_from_camera.tolist()))
    return _write_yaml(out, kind, spec)


def eyes(kind: Kind) -> tuple[Eye, Eye]:
    """Colour and depth camera."""
    (width, height), (columns, rows) = SIZES[kind]
    if kind == "realsense":
        r = _REALSENSE
        K = np.array([[r["fx"], 0, r["ppx"]], [0, r["fy"], r["ppy"]], [0, 0, 1]])
        eye = Eye(RigCamera(K, np.zeros(5), np.eye(4), width, height), np.zeros(5))
        return eye, eye
    lenses = []
    for role, full, crop in (("color", (1280, 960), (0, 120)), ("depth", (1024, 1024), (192, 180))):
        cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, _, _, p2, p1 = _AZURE_PARAMETERS[role]
        center = (cx * full[0] - crop[0] - 0.5, cy * full[1] - crop[1] - 0.5)
        K = np.array([[fx * full[0], 0, center[0]], [0, fy * full[1], center[1]], [0, 0, 1]])
        lenses.append((K, np.array([k1, k2, p1, p2, k3, k4, k5, k6])))
    depth_from_color = invert(color_from_depth())
    return (
        Eye(RigCamera(lenses[0][0], np.zeros(5), np.eye(4), width, height), lenses[0][1]),
        Eye(RigCamera(lenses[1][0], np.zeros(5), depth_from_color, columns, rows), lenses[1][1]),
    )


def color_from_depth() -> Float[np.ndarray, "4 4"]:
    """`T_color_from_depth` of the Azure Kinect."""
    rotmat, _ = cv2.Rodrigues(np.array(_AZURE_TILT_RAD))
    return rigid(rotmat, np.array(_AZURE_BASELINE_M))


def moved_chair(scenery: Scenery) -> tuple[Solid, ...]:
    """The chair that only the scan shows, room frame: where the person walks half way through."""
    joints = transform_points(
        scenery.room.T_room_from_camera, scenery.posed_camera.joints[:, 0].astype(np.float64)
    )
    x, y, _ = joints[len(joints) // 2].tolist()
    seat = Solid("chair seat", "box", (x, y, 0.225), (0.22, 0.22, 0.225), 0.4, color=_CHAIR_COLOR)
    c, s = np.cos(0.4), np.sin(0.4)
    back = (x - 0.2 * c, y - 0.2 * s, 0.45)
    return seat, Solid("chair back", "box", back, (0.025, 0.22, 0.45), 0.4, color=_CHAIR_COLOR)


def with_chair(room: Room, chair: tuple[Solid, ...]) -> Room:
    """The room as it was when it was scanned."""
    return replace(room, solids=(*room.solids, *chair), surfaces=(*room.surfaces, *chair))


def on_chair(
    points_world: Float[np.ndarray, "points 3"], room: Room, chair: tuple[Solid, ...]
) -> Bool[np.ndarray, " points"]:
    """Points of the scan that belong to the chair."""
    points = transform_points(invert(room.T_world_from_room), points_world)
    distance: Float[np.ndarray, " points"] = np.abs(union_distance(chair, points))
    return distance < 0.02


def _film(
    scenery: Scenery, made: SyntheticSettings, color: Eye, depth: Eye, *, aligned: bool
) -> list[Shot]:
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


def _detect(scenery: Scenery, made: SyntheticSettings, color: Eye, shots: list[Shot]) -> Detections:
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


def _names(kind: Kind, count: int) -> list[str]:
    if kind == "azure":
        return [f"{120 + index:06d}" for index in range(count)]
    return [f"{_START_MS + round(index * 1000 / 30)}" for index in range(count)]


def _write_shot(out: Path, kind: Kind, name: str, shot: Shot) -> None:
    codes = np.clip(np.round(shot.depth_m / _MILLIMETRE), 0, 65535).astype(np.uint16)
    bgr = np.ascontiguousarray(shot.color[..., ::-1])
    if kind == "azure":
        write_bytes(out / "color" / f"{name}.jpg", _encoded(".jpg", bgr))
        write_bytes(out / "depth" / f"{name}.png", _encoded(".png", codes))
        return
    write_bytes(out / "rgb" / f"color_{name}.png", _encoded(".png", bgr))
    # The depth stream has a clock of its own.
    write_bytes(out / "aligned_depth" / f"depth_{int(name) + 6}.png", _encoded(".png", codes))
    mask = np.where(shot.person, 255, 0).astype(np.uint8)
    write_bytes(out / "masks" / f"color_{name}.png", _encoded(".png", mask))


def _write_keypoints(
    out: Path, kind: Kind, names: list[str], detections: Detections, width_px: int
) -> None:
    for frame, name in enumerate(names):
        keypoints = np.column_stack([detections.keypoints_px[frame], detections.confidence[frame]])
        stem = name
        if kind == "realsense":
            stem = f"color_{name}"
            keypoints = mirror_keypoints(keypoints, width_px)
            keypoints[keypoints[:, 2] <= 0] = 0
        people = [openpose_person(keypoints[:, :2], keypoints[:, 2])] if keypoints[:, 2].any() else []
        write_bytes(out / "openpose" / f"{stem}_keypoints.json", openpose_json(people))


def _write_scan(
    out: Path, kind: Kind, scenery: Scenery, made: SyntheticSettings, chair: tuple[Solid, ...]
) -> None:
    rng = stream(made, scenery.spec, "scan")
    scanned = with_chair(scenery.room, chair)
    vertices, faces, colors = scan_room(scanned, made.scan_edge_m, rng)
    T = scenery.room.T_world_from_camera
    if kind == "azure":
        write_bytes(out / "room.ply", ply_bytes(vertices, faces, colors))
        write_text(out / "camera_pose.json", json.dumps(T.tolist()))
        return
    turned = transform_points(_Y_UP_FROM_Z_UP, vertices.astype(np.float64))
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in turned.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    write_text(out / "room.obj", "\n".join(lines) + "\n")
    rows = [" ".join(f"{value:.9f}" for value in row) for row in invert(_Y_UP_FROM_Z_UP @ T).tolist()]
    write_text(out / "pose.txt", "\n".join(rows) + "\n")


def _write_cameras(out: Path, kind: Kind) -> None:
    if kind == "realsense":
        width, height = SIZES[kind][0]
        content: dict[str, Any] = {"width": width, "height": height, **_REALSENSE}
        content |= {"model": "distortion.inverse_brown_conrady", "coeffs": [0.0] * 5}
        write_text(out / "intrinsics.json", json.dumps(content, indent=1))
        return
    cameras = []
    for role, purpose, size in (("depth", "Depth", (1024, 1024)), ("color", "PhotoVideo", (4096, 3072))):
        T = color_from_depth() if role == "color" else np.eye(4)
        intrinsics = {
            "ModelParameterCount": 14,
            "ModelParameters": list(_AZURE_PARAMETERS[role]),
            "ModelType": "CALIBRATION_LensDistortionModelBrownConrady",
        }
        cameras.append(
            {
                "Intrinsics": intrinsics,
                "Purpose": f"CALIBRATION_CameraPurpose{purpose}",
                "Rt": {"Rotation": T[:3, :3].ravel().tolist(), "Translation": T[:3, 3].tolist()},
                "SensorWidth": size[0],
                "SensorHeight": size[1],
            }
        )
    write_text(out / "calibration.json", json.dumps({"CalibrationInformation": {"Cameras": cameras}}))


def _write_yaml(out: Path, kind: Kind, spec: RecordingSpec) -> Path:
    lines = ["# What `make init` needs to know of this capture; paths start here."]
    lines += [f"scene: {spec.scene}", f"subject: {spec.subject}", f"gender: {spec.gender}"]
    if kind == "azure":
        lines += ["color: color", "depth: depth", "keypoints: openpose"]
        lines += ["color_camera: calibration.json", "scan: room.ply", "camera_pose: camera_pose.json"]
    else:
        lines += ["color: rgb", "depth: aligned_depth", "depth_aligned: true", "masks: masks"]
        lines += ["keypoints: openpose", "color_camera: intrinsics.json", "scan: room.obj"]
        lines += ["camera_pose: pose.txt", "camera_pose_is: camera_from_world"]
    path = out / "capture.yaml"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    _, buffer = cv2.imencode(suffix, image)
    return buffer.tobytes()
