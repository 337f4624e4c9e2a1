"""Write a synthetic PROX tree: the true layout, every file in its true encoding, truth elsewhere.

A recording is written as a whole: a done-marker beside `qualitative/` says for which settings, code and
body files, and a second run only writes what is missing or made from something else. No PROXD fits are
written (the baseline makes them), except in the recording of defects.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from tqdm import tqdm

from pipelines.artifacts import (
    MARKER_SUFFIX,
    StageKey,
    code_version,
    hash_file,
    marker_path,
    read_marker,
    run_stage,
    why_not_done,
    write_bytes,
    write_marker,
)
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.bodies.model import SmplxBody, load_smplx
from pipelines.geometry.cameras import RigCamera
from pipelines.geometry.transforms import invert
from pipelines.records import SyntheticTruth
from pipelines.synthetic.actor import PosedBody, make_truth, pose
from pipelines.synthetic.appearance import dress
from pipelines.synthetic.filming import RigRays, Shot, Stage, film, set_stage
from pipelines.synthetic.keypoints import Detections, detect_keypoints, frame_json, openpose_json
from pipelines.synthetic.layout import RoomRequest, arrange_room
from pipelines.synthetic.motions import MotionClip, make_motion
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings, subject_betas
from pipelines.synthetic.rooms import Room
from pipelines.synthetic.scan import (
    RoomMesh,
    ply_bytes,
    room_mesh,
    scan_room,
    sdf_grid,
    sdf_json,
    sdf_normals,
)
from pipelines.synthetic.sensor import (
    NO_BODY,
    KinectRig,
    calibration_json,
    depth_codes,
    encode_jpeg,
    encode_png,
    kinect_rig,
)
from pipelines.synthetic.skeleton import skeleton_json
from pipelines.synthetic.truth import write_truth
from pipelines.synthetic.visibility import inside_image

logger = logging.getLogger(__name__)

_CODE = ("pipelines/synthetic", "pipelines/bodies", "pipelines/geometry")
_STAGE = "synthetic-"
_SELF_RADIUS_M = np.concatenate([np.full(25, 0.14), np.full(42, 0.04), np.full(51, 0.03)])
"""How far a keypoint's joint lies below the skin at most: a surface nearer than this hides it."""
_SCENE_RADIUS_M = np.concatenate([np.full(25, 0.08), np.full(42, 0.02), np.full(51, 0.02)])


@dataclass(frozen=True, slots=True)
class TreeReport:
    """What a call did."""

    recordings: tuple[str, ...]
    written: tuple[str, ...]
    """Recordings that were not there yet or were out of date."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenery:
    """A recording before its frames are filmed."""

    spec: RecordingSpec
    clip: MotionClip
    body: SmplxBody
    room: Room
    mesh: RoomMesh
    posed_camera: PosedBody
    frame_names: tuple[str, ...]
    truth: SyntheticTruth


def write_prox_tree(
    out_root: Path,
    truth_root: Path,
    settings: SyntheticSettings,
    files: BodyFiles,
    *,
    progress: bool = False,
) -> TreeReport:
    """Write every recording of the settings below `out_root/qualitative`, its truth in `truth_root`.

    Args:
        out_root: PROX base folder.
        truth_root: outside `out_root`, so that no reader of the tree can see the truth.
        settings: what to write.
        files: body models; the true bodies are SMPL-X of the subject's gender.
        progress: show a bar per recording.
    """
    base = out_root / "qualitative"
    _remove_others(out_root, settings)
    rig = kinect_rig()
    common = _key("common", settings.content_hash(), files)
    run_stage(out_root, common, lambda: (_write_common(base, rig, files), {}))
    written = []
    for spec in settings.recordings:
        key = _key(spec.name, _recording_hash(settings, spec), files, spec)
        if all(why_not_done(folder, key) is None for folder in (out_root, truth_root)):
            continue
        for folder in (out_root, truth_root):
            marker_path(folder, key.stage).unlink(missing_ok=True)
        _clear(base, spec)
        outputs, truth_files = _write_recording(base, truth_root, settings, spec, files, progress)
        write_marker(truth_root, key, truth_files)
        write_marker(out_root, key, outputs, {"frames": spec.num_frames})
        written.append(spec.name)
        logger.info("synthetic recording %s: %d frames written", spec.name, spec.num_frames)
    return TreeReport(tuple(spec.name for spec in settings.recordings), tuple(written))


def prepare(settings: SyntheticSettings, spec: RecordingSpec, files: BodyFiles) -> Scenery:
    """Make the motion, build the room around it, place the camera, tell the truth."""
    rng = _rng(settings, spec, "room")
    betas = subject_betas(settings.seed, spec.subject)
    clip = make_motion(spec.family, spec.num_frames, spec.gender, betas, files, spec.seed)
    body = load_smplx(files, spec.gender)
    posed = pose(body, clip.parameters)
    rig = kinect_rig()
    request = RoomRequest(clip.furniture, spec.occluded_frames, spec.clutter)
    room = arrange_room(request, posed.sweep(), rig, rng)
    posed_camera = posed.moved(invert(room.T_room_from_camera))
    mesh = room_mesh(room.surfaces, 0.03)
    names = frame_names(spec.num_frames, _rng(settings, spec, "time"))
    truth = make_truth(spec.name, names, clip, body, files, posed_camera, room, mesh, rig.color)
    return Scenery(spec, clip, body, room, mesh, posed_camera, names, truth)


def frame_names(
    num_frames: int,
    rng: np.random.Generator,
    clip: int = 1,
    start_s: float = 0.0,
    gap_after: int | None = None,
    gap_s: float = 0.0,
) -> tuple[str, ...]:
    """`s001_frame_00001__00.00.00.029` and so on: 30 fps on average, uneven at the start as in PROX.

    Args:
        num_frames: of this clip; numbers start at 1.
        rng: jitters the times by a millisecond.
        clip: number after the `s`.
        start_s: added to all times.
        gap_after: frame number after which the clock jumps.
        gap_s: by how much.
    """
    index = np.arange(1, num_frames + 1)
    times = np.where(index <= 6, 0.050 + (index - 2) * 0.0245, 0.148 + (index - 6) / 30.02)
    times[0] = 0.029
    times += start_s + np.where(index > 6, rng.uniform(-0.001, 0.001, num_frames), 0)
    if gap_after is not None:
        times[index > gap_after] += gap_s
    names = []
    for number, time_s in zip(index, times, strict=True):
        seconds, milliseconds = divmod(round(time_s * 1000), 1000)
        minutes, seconds = divmod(seconds, 60)
        stamp = f"{minutes // 60:02d}.{minutes % 60:02d}.{seconds:02d}.{milliseconds:03d}"
        names.append(f"s{clip:03d}_frame_{number:05d}__{stamp}")
    return tuple(names)


def _write_recording(
    base: Path,
    truth_root: Path,
    settings: SyntheticSettings,
    spec: RecordingSpec,
    files: BodyFiles,
    progress: bool,
) -> tuple[list[Path], list[Path]]:
    scenery = prepare(settings, spec, files)
    outputs = _write_scene(base, settings, scenery)
    rays = RigRays.of(kinect_rig())
    stage = set_stage(scenery.room, scenery.mesh, rays, _rng(settings, spec, "light"))
    face_colors = dress(scenery.body, _rng(settings, spec, "clothes"))
    faces = scenery.body.faces.numpy()
    behind_scene, behind_body = [], []
    true_px = _true_keypoints(scenery.posed_camera, rays.color.camera)
    frames = tqdm(scenery.frame_names, desc=spec.name, disable=not progress, leave=False)
    for frame, name in enumerate(frames):
        vertices = scenery.posed_camera.vertices[frame].astype(np.float64)
        rng = _rng(settings, spec, f"frame {frame}")
        shot = film(stage, [vertices], faces, [face_colors], rng)
        outputs += _write_shot(base / "recordings" / spec.name, name, shot, settings.jpeg_quality)
        hidden = _occlusion(stage, shot, scenery.posed_camera.joints[frame], true_px[frame])
        behind_scene.append(hidden[0])
        behind_body.append(hidden[1])
    detections = detect_keypoints(
        true_px,
        np.stack(behind_body),
        np.stack(behind_scene),
        inside_image(rays.color.camera, _keypoint_joints(scenery.posed_camera)),
        settings.detector,
        _rng(settings, spec, "keypoints"),
    )
    outputs += _write_keypoints(base / "keypoints" / spec.name, scenery, detections, settings)
    if settings.skeletons:
        outputs += _write_skeletons(base / "recordings" / spec.name, scenery, rays, settings)
    return outputs, [write_truth(truth_root, scenery.truth)]


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
    rng = _rng(settings, scenery.spec, "skeleton")
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
    rng = _rng(settings, scenery.spec, "scan")
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
    import io

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _write_common(base: Path, rig: KinectRig, files: BodyFiles) -> list[Path]:
    """Calibration and contact parts, one for the whole set."""
    paths = [base / "calibration" / "Color.json", base / "calibration" / "IR.json"]
    for path, camera in zip(paths, (rig.color, rig.infrared), strict=True):
        write_bytes(path, json.dumps(calibration_json(camera)).encode())
    for source in sorted(files.segments.glob("*.json")):
        paths.append(base / "body_segments" / source.name)
        write_bytes(paths[-1], source.read_bytes())
    return paths


def _key(name: str, settings_hash: str, files: BodyFiles, spec: RecordingSpec | None = None) -> StageKey:
    inputs = {} if spec is None else {"smplx": hash_file(files.smplx(spec.gender))}
    inputs["opencv and torch"] = torch.__version__
    return StageKey(_STAGE + name, settings_hash, inputs, code_version(*_CODE))


def _recording_hash(settings: SyntheticSettings, spec: RecordingSpec) -> str:
    """Settings that bear on one recording: another recording in the list does not make it stale."""
    return settings.model_copy(update={"recordings": (spec,), "preset": ""}).content_hash()


def _rng(settings: SyntheticSettings, spec: RecordingSpec, purpose: str) -> np.random.Generator:
    """A stream of its own for each purpose, so that one draw more in one place moves nothing else."""
    return np.random.default_rng([settings.seed, spec.seed, *f"{spec.name}/{purpose}".encode()])


def _clear(base: Path, spec: RecordingSpec) -> None:
    """Frames of an earlier, longer or differently named version must not stay behind."""
    for folder in ("recordings", "keypoints", "PROXD"):
        shutil.rmtree(base / folder / spec.name, ignore_errors=True)


def _remove_others(out_root: Path, settings: SyntheticSettings) -> None:
    """Recordings this writer made before under settings that no longer list them."""
    wanted = {_STAGE + spec.name for spec in settings.recordings} | {f"{_STAGE}common"}
    for marker in sorted(out_root.glob(f"{_STAGE}*{MARKER_SUFFIX}")):
        stage = marker.name.removesuffix(MARKER_SUFFIX)
        if stage in wanted:
            continue
        made = read_marker(out_root, stage)
        for name in made.files if made is not None else ():
            (out_root / name).unlink(missing_ok=True)
        for folder in ("recordings", "keypoints", "PROXD"):
            shutil.rmtree(
                out_root / "qualitative" / folder / stage.removeprefix(_STAGE), ignore_errors=True
            )
        marker.unlink()
