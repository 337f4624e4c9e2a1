"""Two captures as people bring them, to show and to test `init`: files of two cameras, not PROX's.

`azure`: an Azure Kinect of 1280 x 720 and 640 x 576 with its factory calibration (lenses distort, the
depth camera looks down by six degrees), frame numbers as names, scan with z up; a chair was scanned that
stands elsewhere in the footage, where the person walks through its old place.
`realsense`: depth aligned to colour at 848 x 480, timestamps as names, scan as obj with y up, pose as
camera_from_world, masks, and OpenPose that saw mirrored images.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Bool, Float

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.config import Settings
from pipelines.datasets.openpose import mirror_keypoints
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.other_trees.capture_cameras import (
    AZURE_PARAMETERS,
    REALSENSE,
    SIZES,
    Kind,
    color_from_depth,
    eyes,
)
from pipelines.other_trees.capture_film import Shot, detect, film
from pipelines.synthetic.keypoints import (
    Detections,
    openpose_json,
    openpose_person,
)
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.primitives import Solid, union_distance
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import ply_bytes, scan_room
from pipelines.synthetic.scenery import Scenery, prepare, stream
from pipelines.synthetic.truth import write_truth

SPECS: Final[dict[Kind, RecordingSpec]] = {
    "azure": RecordingSpec(scene="Loft", subject=7, family="walk", num_frames=48, seed=21, clutter=2),
    "realsense": RecordingSpec(
        scene="Nook", subject=8, family="sofa_rise", num_frames=32, seed=22, clutter=1
    ),
}
_MILLIMETRE = 0.001
_EDGE_M = 0.03
_CHAIR_COLOR = (0.32, 0.2, 0.13)
_Y_UP_FROM_Z_UP = rigid(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.zeros(3))
_START_MS = 1_699_000_123_456


class CaptureExampleSettings(Settings):
    """Settings of `capture-example`."""

    out: Path = Path("outputs/capture-example")
    kind: Kind = "azure"
    frames: int | None = None
    """Fewer frames than the capture has; None = all."""


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
    shots = film(scenery, made, color, depth, aligned=kind == "realsense")
    detections = detect(scenery, made, color, shots)
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
        content: dict[str, Any] = {"width": width, "height": height, **REALSENSE}
        content |= {"model": "distortion.inverse_brown_conrady", "coeffs": [0.0] * 5}
        write_text(out / "intrinsics.json", json.dumps(content, indent=1))
        return
    cameras = []
    for role, purpose, size in (("depth", "Depth", (1024, 1024)), ("color", "PhotoVideo", (4096, 3072))):
        T = color_from_depth() if role == "color" else np.eye(4)
        intrinsics = {
            "ModelParameterCount": 14,
            "ModelParameters": list(AZURE_PARAMETERS[role]),
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
