"""Write the capture as a PROX tree: mirrored, metric, one scene, one recording."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from jaxtyping import Bool, Float, Float32, UInt8

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import resolve_body_files
from pipelines.capture.floor import Floor
from pipelines.capture.rig import CaptureRig
from pipelines.capture.scan import Scan
from pipelines.capture.sdf import DistanceGrid
from pipelines.capture.settings import CaptureSettings
from pipelines.datasets.layout import ProxLayout
from pipelines.geometry.transforms import invert, transform_plane
from pipelines.synthetic.scan import ply_bytes, sdf_json
from pipelines.synthetic.sensor import (
    NO_BODY,
    calibration_json,
    depth_codes,
    encode_jpeg,
    encode_png,
)

CONFIG_NAME = "pseudo-gt.yaml"
_GREY = 150


def tree_layout(out: Path) -> ProxLayout:
    """Paths of the tree."""
    return ProxLayout(out / "qualitative")


def clear_recording(layout: ProxLayout, recording: str) -> None:
    """Frames of an earlier, longer version must not stay behind."""
    for folder in ("recordings", "keypoints"):
        shutil.rmtree(layout.base / folder / recording, ignore_errors=True)


def write_frame(
    layout: ProxLayout,
    recording: str,
    name: str,
    color: UInt8[np.ndarray, "height width 3"],
    depth_m: Float32[np.ndarray, "rows columns"] | None,
    masks: tuple[Bool[np.ndarray, "height width"] | None, Bool[np.ndarray, "rows columns"] | None],
    jpeg_quality: int,
) -> None:
    """One frame's images, mirrored as Kinect One writes them; depth beyond 8 m is no return."""
    write_bytes(layout.file(recording, "color", name), encode_jpeg(color, jpeg_quality))
    if depth_m is not None:
        write_bytes(layout.file(recording, "depth", name), encode_png(depth_codes(depth_m)))
    paths = (layout.file(recording, "mask_color", name), layout.file(recording, "mask_depth", name))
    for path, mask in zip(paths, masks, strict=True):
        if mask is not None:
            write_bytes(path, encode_png(np.where(mask, 0, NO_BODY).astype(np.uint8)))


def write_common(layout: ProxLayout, rig: CaptureRig, settings: CaptureSettings) -> None:
    """Calibration, camera pose and contact parts."""
    write_bytes(layout.calibration("Color"), json.dumps(calibration_json(rig.color)).encode())
    write_bytes(layout.calibration("IR"), json.dumps(calibration_json(rig.depth)).encode())
    write_bytes(layout.cam2world(settings.scene), json.dumps(rig.T_world_from_camera.tolist()).encode())
    for source in sorted(resolve_body_files(settings.body_models).segments.glob("*.json")):
        write_bytes(layout.segments() / source.name, source.read_bytes())


def write_floor(layout: ProxLayout, scene: str, floor: Floor, rig: CaptureRig) -> None:
    """The floor as HuMoR's files tell it: n and d in the camera frame."""
    plane = transform_plane(invert(rig.T_world_from_camera), floor.plane_world)
    write_text(layout.humor_floor(scene), " ".join(f"{value:.9f}" for value in plane) + "\n")


def write_scene(layout: ProxLayout, scene: str, scan: Scan, grid: DistanceGrid) -> None:
    """Scan and distance grid."""
    colors = np.full((len(scan.vertices_world), 3), _GREY, np.uint8)
    if scan.colors is not None:
        colors = np.round(scan.colors * 255).astype(np.uint8)
    content = ply_bytes(scan.vertices_world.astype(np.float32), scan.faces, colors)
    write_bytes(layout.scan(scene), content)
    description, values, _ = layout.sdf_files(scene)
    write_bytes(description, sdf_json(grid.min_world, grid.max_world, grid.values_m.shape[0]))
    write_bytes(values, npy_bytes(grid.values_m.reshape(-1)))


def write_config(settings: CaptureSettings, rig: CaptureRig) -> Path:
    """Settings with which `doctor` and `pseudo-gt` read the tree."""
    prox: dict[str, Any] = {
        "root": str(settings.out),
        "color_size_px": [rig.color.width_px, rig.color.height_px],
        "depth_size_px": [rig.depth.width_px, rig.depth.height_px],
        "frame_rate_hz": settings.frame_rate_hz,
        "genders": {settings.recording: settings.gender},
        "keypoints_frame": "flipped",
        "person_mask": "color" if settings.masks is not None else "depth",
    }
    content: dict[str, Any] = {"prox": prox}
    if settings.body_models is not None:
        content["body_models"] = str(settings.body_models)
    path = settings.out / CONFIG_NAME
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path


def npy_bytes(array: Float[np.ndarray, "..."] | Bool[np.ndarray, "..."]) -> bytes:
    """An array as a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def png_bytes(rgb: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """A picture, not mirrored."""
    _, buffer = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    return buffer.tobytes()
