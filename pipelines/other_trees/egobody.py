"""An EgoBody tree: a recording of 2021 with three Kinects, one of 2022 with five, and known defects.

Differs from the real set in size (four frames a recording); nothing of the headset is written except
its calibration file, since no reader here looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import Float

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import BODY25_FROM_SMPLX
from pipelines.bodies.model import load_smplx
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.bodies.track import parameter_tensors
from pipelines.capture.keypoints import openpose_bytes
from pipelines.datasets.proxd import frame_of
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.other_datasets.egobody.calibration import KINECT_NUMBERS
from pipelines.other_trees.pickles import pickled, smplx_content
from pipelines.other_trees.stage import Eye, Person, moment, room, stand
from pipelines.records import Gender
from pipelines.synthetic.layout import look_at
from pipelines.synthetic.sensor import DEPTH_CODES_PER_M

SCENE: Final = "seminar_g110"
NUM_FRAMES: Final = 4
DEFECTS: Final = {
    "image_missing": ("recording_20220215_S21_S22_02", "sub_4", 1),
    "fit_missing": ("recording_20210907_S02_S01_01", 0, 2),
    "fit_nan": ("recording_20210907_S02_S01_01", 1, 3),
}
"""Defect -> recording, view or body, row. Files of one frame before the first are written as well."""

_COLOR_K = np.array([[918.5, 0, 956.2], [0, 917.9, 551.4], [0, 0, 1]])
_DEPTH_K = np.array([[503.7, 0, 321.9], [0, 503.9, 330.6], [0, 0, 1]])
_COLOR_DISTORTION = np.array([0.42, -2.5, 6e-4, -3e-4, 1.45, 0.3, -2.33, 1.38])
_DEPTH_DISTORTION = np.array([0.9, 0.4, 1e-4, -1e-4, 0.02, 1.25, 0.6, 0.1])
"""Eight numbers each, the rational model of an Azure Kinect."""
_Y_UP_FROM_LEVEL = rigid(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.array([0.4, -1.66, 0.2]))
"""The scan's frame: y up, floor at about the height RoHM tells of this room."""
_PLACES = {
    "master": (0.2, -2.8, 1.6),
    "sub_1": (-2.4, -1.8, 1.5),
    "sub_2": (2.4, -1.6, 1.7),
    "sub_3": (-2.7, 1.0, 1.4),
    "sub_4": (2.6, 0.2, 1.8),
}
_TARGET_M = np.array([0.0, 0.2, 0.95])
_COLOR_STEP = 8


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """One recording."""

    name: str
    split: str
    start_frame: int
    cal_trans: bool
    """Whether the calibrations lie in a folder of that name."""
    views: tuple[str, ...]
    genders: tuple[Gender, Gender]
    interactee: int


RECORDINGS: Final = (
    RecordingSpec(
        "recording_20210907_S02_S01_01", "train", 104, True, ("master", "sub_1", "sub_2"),
        ("male", "female"), 0,
    ),
    RecordingSpec(
        "recording_20220215_S21_S22_02", "test", 3713, False, tuple(KINECT_NUMBERS),
        ("female", "male"), 1,
    ),
)  # fmt: skip


def write_egobody_tree(root: Path, files: BodyFiles, *, every_depth: bool = False) -> None:
    """Write the whole tree.

    Args:
        root: where.
        files: the stand-in's.
        every_depth: depth images of all frames, which fits need, instead of the first alone.
    """
    _write_tables(root)
    _write_scan(root)
    for view in KINECT_NUMBERS:
        folder = root / "kinect_cam_params" / f"kinect_{view}"
        write_bytes(folder / "Color.json", _json(_camera_json(_COLOR_K, _COLOR_DISTORTION)))
        depth = _camera_json(_DEPTH_K, _DEPTH_DISTORTION)
        depth["ext_depth2color"] = color_from_depth().tolist()
        write_bytes(folder / "IR.json", _json(depth))
    for spec in RECORDINGS:
        people = people_of(spec, files)
        _write_calibrations(root, spec)
        for index, person in enumerate(people):
            _write_fits(root, spec, index, person, files)
        _write_images(root, spec, people, NUM_FRAMES if every_depth else 1)


def write_openpose(folder: Path, files: BodyFiles, recording: str, view: str) -> None:
    """What OpenPose would say of a view's own images: both people, in turn the one first and the other.

    Args:
        folder: gets `<recording>/<view>/<frame>_keypoints.json`; EgoBody itself has none.
        files: the stand-in's.
        recording: a recording of the tree.
        view: one of its Kinects.
    """
    spec = next(spec for spec in RECORDINGS if spec.name == recording)
    T_view_from_level = invert(level_from_view(view))
    pixels = []
    for person in people_of(spec, files):
        moved = move_parameters(files, person.gender, person.parameters, T_view_from_level)
        with torch.no_grad():
            mesh = load_smplx(files, person.gender)(**parameter_tensors(moved))
        joints = mesh.joints[:, list(BODY25_FROM_SMPLX)].double().numpy()
        flat, _ = cv2.projectPoints(
            joints.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), _COLOR_K, _COLOR_DISTORTION
        )
        pixels.append(flat.reshape(-1, 25, 2))
    for row in range(NUM_FRAMES):
        people = np.zeros((2, 118, 3))
        for place, one in enumerate(pixels if row % 2 == 0 else pixels[::-1]):
            people[place, :25] = np.column_stack([one[row], np.full(25, 0.9)])
        name = f"frame_{spec.start_frame + row:05d}_keypoints.json"
        write_bytes(folder / recording / view / name, openpose_bytes(people))


def people_of(spec: RecordingSpec, files: BodyFiles) -> list[Person]:
    """Body 0 and body 1, level frame."""
    places = ((-0.5, 0.3), (0.55, 0.1))
    return [
        stand(files, f"{20 + index:03d}", gender, NUM_FRAMES, places[index], 0.6 - 1.2 * index)
        for index, gender in enumerate(spec.genders)
    ]


def color_from_depth() -> Float[np.ndarray, "4 4"]:
    """`T_color_from_depth` of every Kinect: the depth camera looks six degrees further down."""
    rotmat, _ = cv2.Rodrigues(np.array([-0.105, 0.003, 0.002]))
    return rigid(rotmat, np.array([-0.032, -0.002, 0.004]))


def level_from_view(view: str) -> Float[np.ndarray, "4 4"]:
    """`T_level_from_camera` of a view's colour camera."""
    return look_at(np.array(_PLACES[view]), _TARGET_M, roll_rad=0.02)


def _write_tables(root: Path) -> None:
    columns = "recording_name,body_idx_0,body_idx_1,body_idx_fpv,start_frame,end_frame,scene_name"
    rows = [columns]
    for spec in RECORDINGS:
        people = [f"{index} {gender}" for index, gender in enumerate(spec.genders)]
        frames = [str(spec.start_frame), str(spec.start_frame + NUM_FRAMES - 1)]
        rows.append(",".join([spec.name, *people, people[spec.interactee], *frames, SCENE]))
    write_text(root / "data_info_release.csv", "\n".join(rows) + "\n")
    splits = {spec.split: spec.name for spec in RECORDINGS}
    line = ",".join(splits.get(split, "") for split in ("train", "val", "test"))
    write_text(root / "data_splits.csv", f"train,val,test\n{line}\n")


def _write_scan(root: Path) -> None:
    vertices, faces, _ = room()
    world = transform_points(_Y_UP_FROM_LEVEL, vertices)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in world.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (faces + 1).tolist()]
    write_text(root / "scene_mesh" / SCENE / f"{SCENE}.obj", "\n".join(lines) + "\n")


def _write_calibrations(root: Path, spec: RecordingSpec) -> None:
    folder = root / "calibrations" / spec.name
    folder = folder / "cal_trans" if spec.cal_trans else folder
    T_world_from_master = _Y_UP_FROM_LEVEL @ level_from_view("master")
    write_bytes(folder / "kinect12_to_world" / f"{SCENE}.json", _trans(T_world_from_master))
    for view in spec.views[1:]:
        T_master_from_view = invert(level_from_view("master")) @ level_from_view(view)
        path = folder / f"kinect_{KINECT_NUMBERS[view]}to12_color.json"
        write_bytes(path, _trans(T_master_from_view))
    write_bytes(folder / "holo_to_kinect12.json", _trans(np.eye(4)))


def _write_fits(root: Path, spec: RecordingSpec, index: int, person: Person, files: BodyFiles) -> None:
    T_master_from_level = invert(level_from_view("master"))
    master = move_parameters(files, person.gender, person.parameters, T_master_from_level)
    role = "interactee" if index == spec.interactee else "camera_wearer"
    folder = root / f"smplx_{role}_{spec.split}" / spec.name / f"body_idx_{index}" / "results"
    for row in range(NUM_FRAMES):
        content: dict[str, Any] = smplx_content(frame_of(master, row))
        content["gender"] = person.gender
        if (spec.name, index, row) == DEFECTS["fit_nan"]:
            content["betas"][0, 3] = np.nan
        if (spec.name, index, row) != DEFECTS["fit_missing"]:
            path = folder / f"frame_{spec.start_frame + row:05d}" / "000.pkl"
            write_bytes(path, pickled(content))


def _write_images(root: Path, spec: RecordingSpec, people: Sequence[Person], depth_frames: int) -> None:
    moments = [moment(people, row) for row in range(NUM_FRAMES)]
    for view in spec.views:
        T_level_from_color = level_from_view(view)
        color = Eye(_COLOR_K, (1920, 1080), T_level_from_color, _COLOR_DISTORTION)
        for row in range(-1, NUM_FRAMES):
            if (spec.name, view, row) == DEFECTS["image_missing"]:
                continue
            _, image = moments[max(row, 0)].seen_by(color, _COLOR_STEP)
            _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))
            name = f"frame_{spec.start_frame + row:05d}.jpg"
            write_bytes(root / "kinect_color" / spec.name / view / name, jpeg.tobytes())
        T_level_from_depth = T_level_from_color @ color_from_depth()
        depth = Eye(_DEPTH_K, (640, 576), T_level_from_depth, _DEPTH_DISTORTION)
        for row in range(depth_frames):
            depth_m, _ = moments[row].seen_by(depth)
            codes = np.clip(np.round(depth_m * DEPTH_CODES_PER_M), 0, 65535).astype(np.uint16)
            _, png = cv2.imencode(".png", codes)
            name = f"frame_{spec.start_frame + row:05d}.png"
            write_bytes(root / "kinect_depth" / spec.name / view / name, png.tobytes())


def _camera_json(
    K: Float[np.ndarray, "3 3"], distortion: Float[np.ndarray, " coefficients"]
) -> dict[str, Any]:
    return {
        "camera_mtx": K.tolist(),
        "k": distortion.tolist(),
        "f": [K[0, 0], K[1, 1]],
        "c": [K[0, 2], K[1, 2]],
    }


def _trans(matrix: Float[np.ndarray, "4 4"]) -> bytes:
    return _json({"trans": matrix.tolist()})


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
