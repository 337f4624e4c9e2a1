"""Film one recording and write its files in their true encodings."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from tqdm import tqdm

from pipelines.artifacts import write_bytes, write_json
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.geometry.cameras import RigCamera
from pipelines.synthetic.actor import PosedBody
from pipelines.synthetic.appearance import dress
from pipelines.synthetic.defects import DEFECTS, SECOND_PERSON_M, plant_defects
from pipelines.synthetic.filming import RigRays, Shot, Stage, film, set_stage
from pipelines.synthetic.keypoints import Detections, detect_keypoints, frame_json, openpose_json
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.scan import ply_bytes, scan_room, sdf_grid, sdf_json, sdf_normals
from pipelines.synthetic.scenery import Scenery, prepare, stream
from pipelines.synthetic.sensor import (
    NO_BODY,
    depth_codes,
    encode_jpeg,
    encode_png,
    kinect_rig,
)
from pipelines.synthetic.skeleton import skeleton_json
from pipelines.synthetic.truth import write_truth
from pipelines.synthetic.visibility import inside_image

# How far a keypoint's joint lies below the skin at most: a surface nearer than this hides it.
_SELF_RADIUS_M = np.concatenate([np.full(25, 0.14), np.full(42, 0.04), np.full(51, 0.03)])
_SCENE_RADIUS_M = np.concatenate([np.full(25, 0.08), np.full(42, 0.02), np.full(51, 0.02)])


def write_recording(
    base: Path,
    truth_root: Path,
    settings: SyntheticSettings,
    spec: RecordingSpec,
    files: BodyFiles,
    progress: bool,
) -> tuple[list[Path], list[Path]]:
    """Write everything of one recording.

    Args:
        base: the `qualitative` folder.
        truth_root: where the truth goes.
        settings: of the tree.
        spec: of this recording.
        files: body models.
        progress: show a bar over the frames.

    Returns:
        Files below `base`, and files below `truth_root`.
    """
    scenery = prepare(settings, spec, files)
    rays = RigRays.of(kinect_rig())
    outputs = _write_scene(base, settings, scenery)
    filmed, detections = _film_frames(base / "recordings" / spec.name, scenery, rays, settings, progress)
    outputs += filmed
    outputs += _write_keypoints(base / "keypoints" / spec.name, scenery, detections, settings)
    if settings.skeletons:
        outputs += _write_skeletons(base / "recordings" / spec.name, scenery, rays, settings)
    truth_files = [write_truth(truth_root, scenery.truth)]
    if spec.defects:
        truth_files.append(_plant_defects(base, truth_root, settings, scenery, rays.color.camera))
        outputs = [path for path in outputs if path.is_file()]
        outputs += sorted((base / "PROXD" / spec.name).rglob("*.pkl"))
    return outputs, truth_files


def _film_frames(
    folder: Path, scenery: Scenery, rays: RigRays, settings: SyntheticSettings, progress: bool
) -> tuple[list[Path], Detections]:
    """Images of every frame, and what the detector makes of them."""
    spec = scenery.spec
    stage = set_stage(scenery.room, scenery.mesh, rays, stream(settings, spec, "light"))
    face_colors = dress(scenery.body, stream(settings, spec, "clothes"))
    faces = scenery.body.faces.numpy()
    true_px = _true_keypoints(scenery.posed_camera, rays.color.camera)
    outputs, behind_scene, behind_body = [], [], []
    frames = tqdm(scenery.frame_names, desc=spec.name, disable=not progress, leave=False)
    for frame, name in enumerate(frames):
        bodies = _bodies_before_camera(scenery, frame)
        rng = stream(settings, spec, f"frame {frame}")
        shot = film(stage, bodies, faces, [face_colors] * len(bodies), rng)
        outputs += _write_shot(folder, name, shot, settings.jpeg_quality)
        hidden = _occlusion(stage, shot, scenery.posed_camera.joints[frame], true_px[frame])
        behind_scene.append(hidden[0])
        behind_body.append(hidden[1])
    detections = detect_keypoints(
        true_px,
        np.stack(behind_body),
        np.stack(behind_scene),
        inside_image(rays.color.camera, _keypoint_joints(scenery.posed_camera)),
        settings.detector,
        stream(settings, spec, "keypoints"),
    )
    return outputs, detections


def _bodies_before_camera(scenery: Scenery, frame: int) -> list[Float[np.ndarray, "vertices 3"]]:
    """Normally one; a recording of defects has a frame with none and one with two."""
    body = scenery.posed_camera.vertices[frame].astype(np.float64)
    if scenery.spec.defects and frame == DEFECTS["no_person"]:
        return []
    if scenery.spec.defects and frame == DEFECTS["two_people"]:
        return [body, body + np.array([SECOND_PERSON_M, 0, 0])]
    return [body]


def _plant_defects(
    base: Path,
    truth_root: Path,
    settings: SyntheticSettings,
    scenery: Scenery,
    camera: RigCamera,
) -> Path:
    """Break the recording; the list of what is broken lies with the truth."""
    pelvis = scenery.posed_camera.joints[DEFECTS["two_people"], 0]
    shift_px = float(camera.K[0, 0] * SECOND_PERSON_M / pelvis[2])
    planted = plant_defects(
        base,
        scenery.spec.name,
        scenery.frame_names,
        scenery.truth.parameters,
        shift_px if settings.keypoints_frame == "flipped" else -shift_px,
        stream(settings, scenery.spec, "defects"),
    )
    path = truth_root / f"{scenery.spec.name}_defects.json"
    write_json(path, planted)
    return path


def _keypoint_joints(posed_camera: PosedBody) -> Float[np.ndarray, "frames 118 3"]:
    return posed_camera.joints[:, list(PROX118_FROM_SMPLX)].astype(np.float64)


def _true_keypoints(posed_camera: PosedBody, camera: RigCamera) -> Float[np.ndarray, "frames 118 2"]:
    """Where the joints are in the distorted image; points behind the camera get a far-off pixel."""
    joints = _keypoint_joints(posed_camera)
    flat = joints.reshape(-1, 3)
    ahead = flat[:, 2] > 0.1
    pixels = np.full((len(flat), 2), -1e4)
    pixels[ahead] = camera.project_camera(flat[ahead])
    return pixels.reshape(*joints.shape[:2], 2)


def _occlusion(
    stage: Stage,
    shot: Shot,
    joints_camera: Float[np.ndarray, "127 3"],
    pixels: Float[np.ndarray, "118 2"],
) -> tuple[Bool[np.ndarray, "118"], Bool[np.ndarray, "118"]]:
    """Which keypoints the room and the person's own body hide, from the depth images."""
    depth = joints_camera[list(PROX118_FROM_SMPLX), 2]
    height, width = stage.color_depth_m.shape
    column = np.clip(np.round(pixels[:, 0]), 0, width - 1).astype(int)
    row = np.clip(np.round(pixels[:, 1]), 0, height - 1).astype(int)
    behind_scene = stage.color_depth_m[row, column] < depth - _SCENE_RADIUS_M
    behind_body = shot.body_depth_m[row, column] < depth - _SELF_RADIUS_M
    return behind_scene, behind_body & ~behind_scene


def _write_shot(folder: Path, name: str, shot: Shot, jpeg_quality: int) -> list[Path]:
    color_mask = np.full(shot.color.shape[:2], NO_BODY, np.uint8)
    infrared_mask = np.full(shot.depth_m.shape, NO_BODY, np.uint8)
    for number, (color, infrared) in enumerate(
        zip(shot.color_person, shot.infrared_person, strict=True)
    ):
        color_mask[color] = 0
        infrared_mask[infrared] = number
    content = {
        folder / "Color" / f"{name}.jpg": encode_jpeg(shot.color, jpeg_quality),
        folder / "Depth" / f"{name}.png": encode_png(depth_codes(shot.depth_m)),
        folder / "BodyIndexColor" / f"{name}.png": encode_png(color_mask),
        folder / "BodyIndex" / f"{name}.png": encode_png(infrared_mask),
    }
    for path, encoded in content.items():
        write_bytes(path, encoded)
    return list(content)


def _write_keypoints(
    folder: Path, scenery: Scenery, detections: Detections, settings: SyntheticSettings
) -> list[Path]:
    paths = []
    for frame, name in enumerate(scenery.frame_names):
        seen = bool((detections.confidence[frame] > 0).any())
        people = [frame_json(detections, frame, settings.keypoints_frame)] if seen else []
        paths.append(folder / f"{name}_keypoints.json")
        write_bytes(paths[-1], openpose_json(people))
    return paths


def _write_skeletons(
    folder: Path, scenery: Scenery, rays: RigRays, settings: SyntheticSettings
) -> list[Path]:
    rng = stream(settings, scenery.spec, "skeleton")
    joints = scenery.posed_camera.moved(rays.T_infrared_from_color).joints
    paths = []
    for frame, name in enumerate(scenery.frame_names):
        present = bool(scenery.truth.person_present[frame])
        paths.append(folder / "Skeleton" / f"{name}.json")
        write_bytes(paths[-1], skeleton_json([joints[frame]] if present else [], rng))
    return paths


def _write_scene(base: Path, settings: SyntheticSettings, scenery: Scenery) -> list[Path]:
    """Scan, distance grid and camera pose of the recording's room."""
    room, scene = scenery.room, scenery.spec.scene
    rng = stream(settings, scenery.spec, "scan")
    paths = [
        base / "cam2world" / f"{scene}.json",
        base / "scenes" / f"{scene}.ply",
        base / "sdf" / f"{scene}.json",
        base / "sdf" / f"{scene}_sdf.npy",
    ]
    write_bytes(paths[0], json.dumps(room.T_world_from_camera.tolist()).encode())
    write_bytes(paths[1], ply_bytes(*scan_room(room, settings.scan_edge_m, rng)))
    grid, first, last = sdf_grid(room, settings.sdf_size)
    write_bytes(paths[2], sdf_json(first, last, settings.sdf_size))
    write_bytes(paths[3], _npy_bytes(grid.reshape(-1)))
    if settings.sdf_normals:
        paths.append(base / "sdf" / f"{scene}_normals.npy")
        write_bytes(paths[-1], _npy_bytes(sdf_normals(grid, first, last)))
    return paths


def _npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
