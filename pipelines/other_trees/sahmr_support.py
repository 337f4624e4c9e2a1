"""SA-HMR's support folders for RICH and PROX quantitative, with paths of a foreign disk in their meta files.

The RICH folder shows the sequences of `other_trees.rich`; the PROX folder is made from a tree of
`other_trees.prox_quantitative`.
"""

from __future__ import annotations

import io
import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from pipelines.artifacts import write_bytes
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import load_smplx
from pipelines.bodies.track import parameter_tensors
from pipelines.geometry.transforms import invert, transform_points
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.other_trees.pickles import pickled
from pipelines.other_trees.rich import SEQUENCES, SequenceSpec, eyes_of, people_of, write_cameras
from pipelines.other_trees.stage import SOLIDS, Eye, Person, moment, room
from pipelines.shards.crop import Box, body_box, crop_image, square_box
from pipelines.synthetic.primitives import union_distance
from pipelines.synthetic.scan import ply_bytes

PITCH_M: Final = 0.05
SDF_SIZE: Final = 32
FOREIGN: Final = "/home/somebody/data/RICH"
_RENDER_STEP: Final = 8
_MARGIN_M: Final = 0.5
_TRAIN_FRAMES: Final = (("00060", 0), ("00059", 1), ("00061", 0), ("00045", 0))
"""Frame and camera: SA-HMR's rule keeps the first two."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """One person in one image."""

    spec: SequenceSpec
    person: Person
    row: int
    frame: str
    camera: int

    @property
    def key(self) -> str:
        return f"{self.spec.name}_{self.frame}_{self.person.subject}_{self.camera:02d}"

    def meta(self, eye: Eye) -> dict[str, Any]:
        spec, place = self.spec, f"{self.spec.name}/{self.frame}/{self.person.subject}"
        head, mark, _ = spec.scan.partition("camcoord")
        image = f"cam_{self.camera:02d}/{self.frame}_{self.camera:02d}.jpeg"
        return {
            "img_key": self.key,
            "img_file": f"{FOREIGN}/images_ds4/{spec.split}/{spec.name}/{image}",
            "body_file": f"{FOREIGN}/bodies/{spec.split}/{place}.pkl",
            "contact_file": f"{FOREIGN}/{spec.split}_contact/{place}.npy",
            "cam_key": f"{spec.capture}_{self.camera}",
            "cam_id": self.camera,
            "frame_name": self.frame,
            "seq_name": spec.name,
            "cap_name": spec.capture,
            "scan_name": spec.scan,
            "scene_key": f"{spec.capture}_{head}{mark}",
            "gender": self.person.gender,
            "test_squared_bbx_lurb": np.array(square_box(self.box(eye))),
        }

    def box(self, eye: Eye) -> Box:
        vertices = self.person.vertices[self.row].astype(np.float64)
        box = body_box(transform_points(invert(eye.T_level_from_camera), vertices), eye.K)
        assert box is not None, "everyone stands before the cameras"
        return box


def write_rich_support(root: Path, files: BodyFiles) -> None:
    """Write `root/sahmr_support` with a test split, and a train split with its images and bodies."""
    support = root / "sahmr_support"
    for spec in SEQUENCES:
        eyes, people = eyes_of(spec), people_of(spec, files)
        T_world_from_level = invert(eyes[0].T_level_from_camera)
        folder = support / "scene_info" / spec.capture
        write_cameras(folder / "calibration", eyes, T_world_from_level)
        _write_scene(folder, spec.scan, T_world_from_level)
        if spec.split == "test":
            _write_test(support / "test_split", spec, eyes, people, T_world_from_level)
        else:
            _write_train(root, spec, eyes, people)


def write_prox_support(root: Path, quantitative: Path, files: BodyFiles) -> tuple[str, ...]:
    """Write `root/sahmr_support` from a tree of PROX quantitative; returns the keys of its samples."""
    support, data = root / "sahmr_support", ProxQuantitative(quantitative, files)
    recording = data.recordings()[0]
    truth, base = data.truth(recording), data.prox.layout.base
    body = load_smplx(files, truth.gender)
    with torch.no_grad():
        vertices = body(**parameter_tensors(truth.parameters)).vertices.numpy()
    metas, boxes = [], {}
    for row in np.flatnonzero(truth.valid):
        name, key = truth.frame_names[row], f"{recording}_{truth.frame_names[row]}"
        image = Path(recording) / "Color" / f"{name}.jpg"
        mesh = Path(recording) / "results" / name / "000"
        metas.append(
            {
                "scene_name": "vicon",
                "img_key": key,
                "img_file": f"/somewhere/PROX/quantitative/recordings/{image}",
                "body_file": f"/somewhere/PROX/quantitative/fittings/mosh/{mesh}.pkl",
            }
        )
        boxes[key] = np.array(body_box(vertices[row].astype(np.float64), data.prox.calibration.color.K))
        write_bytes(support / "gt_mosh_mesh" / f"{mesh}.ply", _mesh(vertices[row], body.faces.numpy()))
        write_bytes(support / "image" / image, (base / "recordings" / image).read_bytes())
    write_bytes(support / "meta" / "mosh_mesh_test.pkl", pickled(metas))
    write_bytes(support / "img2gtbbx" / "mosh_mesh.pkl", pickled(boxes))
    _write_vicon(support / "vicon", data, recording)
    return tuple(str(meta["img_key"]) for meta in metas)


def _write_vicon(folder: Path, data: ProxQuantitative, recording: str) -> None:
    K, layout = data.prox.calibration.color.K, data.prox.layout
    color = {"f": [K[0, 0], K[1, 1]], "c": [K[0, 2], K[1, 2]]}
    write_bytes(folder / "calibration" / "Color.json", json.dumps(color).encode())
    pose = json.dumps(data.prox.camera_pose(recording).tolist()).encode()
    write_bytes(folder / "calibration" / "cam2world_vicon.json", pose)
    box, values, _ = layout.sdf_files("vicon")
    shutil.copy(box, folder / "vicon.json")
    shutil.copy(values, folder / "vicon_sdf.npy")
    points = data.prox.scene(recording).vertices_world
    write_bytes(folder / "vicon_voxel_world.npy", _cloud(points))


def _write_scene(folder: Path, scan: str, T_world_from_level: Float[np.ndarray, "4 4"]) -> None:
    points = transform_points(T_world_from_level, room()[0])
    low, high = points.min(axis=0) - _MARGIN_M, points.max(axis=0) + _MARGIN_M
    axes = [np.linspace(low[k], high[k], SDF_SIZE) for k in range(3)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = union_distance(SOLIDS, transform_points(invert(T_world_from_level), nodes))
    box = {"min": low.tolist(), "max": high.tolist(), "dim": SDF_SIZE}
    write_bytes(folder / f"{scan}_mysdf.json", json.dumps(box).encode())
    write_bytes(folder / f"{scan}_mysdf.npy", _npy(values.astype(np.float32)))
    write_bytes(folder / f"{scan}_world.npy", _cloud(points))


def _write_test(
    folder: Path,
    spec: SequenceSpec,
    eyes: dict[int, Eye],
    people: list[Person],
    T_world_from_level: Float[np.ndarray, "4 4"],
) -> None:
    metas = []
    for camera, eye in eyes.items():
        for person in people:
            taken = _Taken(spec, person, 0, "00048", camera)
            meta = taken.meta(eye)
            metas.append(meta)
            _, image = moment(people, 0).seen_by(eye, _RENDER_STEP)
            crop = crop_image(image, square_box(taken.box(eye)))
            write_bytes(folder / "image" / f"{taken.key}.png", _encoded(crop, ".png"))
            world = transform_points(T_world_from_level, person.vertices[0])
            write_bytes(folder / "gt_smplx_mesh" / f"{taken.key}.ply", _mesh(world, person.faces))
            labels = folder / "contact" / meta["contact_file"].split("test_contact/")[1]
            write_bytes(labels, _packed(person.contact[0]))
    array = np.empty(len(metas), dtype=object)
    array[:] = metas
    write_bytes(folder / "meta" / f"test{len(metas)}.npy", _npy(array))


def _write_train(
    root: Path,
    spec: SequenceSpec,
    eyes: dict[int, Eye],
    people: list[Person],
) -> None:
    """Samples the rule keeps, and one of each kind that it drops."""
    folder, person = root / "sahmr_support" / "train_split", people[0]
    metas, boxes = [], {}
    for frame, camera in _TRAIN_FRAMES:
        taken = _Taken(spec, person, 0, frame, camera)
        metas.append(taken.meta(eyes[camera]))
        boxes[taken.key] = np.array(taken.box(eyes[camera]))
        _, image = moment(people, 0).seen_by(eyes[camera], _RENDER_STEP)
        quarter = np.asarray(cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
        name = f"{spec.name}/cam_{camera:02d}/{frame}_{camera:02d}.jpeg"
        write_bytes(root / "images_ds4" / spec.split / name, _encoded(quarter, ".jpg"))
        place = f"{spec.name}/{frame}/{person.subject}"
        write_bytes(root / "bodies" / spec.split / f"{place}.pkl", pickled(_smplh(person)))
        write_bytes(folder / "contact" / f"{place}.npy", _packed(person.contact[0]))
    outside = {**metas[0], "img_key": "outside"}
    boxes["outside"] = np.array([-900.0, 10, 200, 900])
    dropped = {**metas[0], "img_key": "dropped", "seq_name": "LectureHall_009_021_reparingprojector1"}
    boxes["dropped"] = boxes[metas[0]["img_key"]]
    indexed = dict(enumerate([*metas, outside, dropped]))
    write_bytes(folder / "meta" / "idx2meta.pkl", pickled(indexed))
    write_bytes(folder / "meta" / "img2gtbbx.pkl", pickled(boxes))


def _smplh(person: Person) -> dict[str, Float[np.ndarray, " numbers"]]:
    """SMPL+H parameters under smplx's names; the pose only, since no test poses them."""
    parameters = person.parameters
    return {
        "betas": np.pad(parameters.betas[0], (0, 6)),
        "global_orient": parameters.global_orient[0],
        "body_pose": parameters.body_pose[0],
        "left_hand_pose": np.zeros(45),
        "right_hand_pose": np.zeros(45),
        "transl": parameters.transl[0],
    }


def _cloud(points_world: Float[np.ndarray, "points 3"]) -> bytes:
    """Centres of the occupied voxels, as a pickled dict in a 0-d array."""
    voxels = np.unique(np.floor(points_world / PITCH_M).astype(np.int64), axis=0)
    content = {"points": (voxels + 0.5) * PITCH_M, "pitch": [PITCH_M, PITCH_M, PITCH_M]}
    array = np.empty((), dtype=object)
    array[()] = content
    return _npy(array)


def _packed(contact: Bool[np.ndarray, "6890"]) -> bytes:
    return _npy(np.packbits(contact))


def _mesh(vertices: Float[np.ndarray, "vertices 3"], faces: Int[np.ndarray, "faces 3"]) -> bytes:
    grey = np.full(vertices.shape, 128, np.uint8)
    return ply_bytes(vertices.astype(np.float32), faces, grey)


def _encoded(rgb: UInt8[np.ndarray, "height width 3"], suffix: str) -> bytes:
    _, buffer = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]))
    return buffer.tobytes()


def _npy(array: Shaped[np.ndarray, "..."]) -> bytes:
    """An npy file; one of objects is pickled as NumPy 1 names its module."""
    stream = io.BytesIO()
    if not array.dtype.hasobject:
        np.save(stream, array, allow_pickle=False)
        return stream.getvalue()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(stream, header)
    old = pickle.dumps(array, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    return stream.getvalue() + old
