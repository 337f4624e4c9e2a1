"""A RICH tree: two captures, three people, and what real RICH is known to lack.

Differs from the real set in size (three frames a sequence, two or three cameras); the images of
ParkingLot1 are jpg as in RICH's smaller release, with one bmp among them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from pipelines.artifacts import write_bytes, write_text
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.rigid_motion import move_parameters
from pipelines.datasets.proxd import frame_of
from pipelines.geometry.transforms import invert, transform_points
from pipelines.other_trees.pickles import pickled, smplx_content
from pipelines.other_trees.stage import Eye, Person, moment, room, stand
from pipelines.records import SmplxParameters
from pipelines.synthetic.layout import look_at
from pipelines.synthetic.scan import ply_bytes

FRAMES: Final = ("00048", "00050", "00051")
"""RICH's frame numbers; one is left out."""
DEFECTS: Final = {
    "fit_missing": ("ParkingLot1_004_005_greetingchattingeating1", "005", "00050"),
    "fit_nan": ("ParkingLot1_004_005_greetingchattingeating1", "004", "00051"),
    "contact_missing": ("Pavallion_013_yoga2", "013", "00050"),
    "contact_invalid": ("Pavallion_013_yoga2", "013", "00051"),
    "image_missing": ("ParkingLot1_004_005_greetingchattingeating1", "cam_01", "00050"),
    "image_truncated": ("Pavallion_013_yoga2", "cam_03", "00051"),
}
"""Defect -> sequence, subject or view, frame."""

_RENDER_STEP = 16
_TARGET_M = np.array([0.0, 0.0, 0.9])
_K_LANDSCAPE = np.array([[3450.0, 0, 2056], [0, 3452.0, 1504], [0, 0, 1]])
_K_PORTRAIT = np.array([[3448.0, 0, 1504], [0, 3451.0, 2056], [0, 0, 1]])
_DISTORTION = np.array([-0.08, 0.05, 0.0, 0.0, 0.0])
_Y_UP_FROM_LEVEL = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""The frame of multicam2world has y up here; real RICH's is not known."""


@dataclass(frozen=True, slots=True)
class SequenceSpec:
    """What is written of one sequence."""

    name: str
    split: str
    capture: str
    scan: str
    suffix: str
    views: dict[int, tuple[float, float, float]]
    """Camera number -> place in the level frame."""
    moving: int | None
    people: tuple[tuple[str, str, tuple[float, float], float], ...]
    """Subject, gender, place, heading."""


SEQUENCES: Final = (
    SequenceSpec(
        name="ParkingLot1_004_005_greetingchattingeating1",
        split="train",
        capture="ParkingLot1",
        scan="scan_camcoord",
        suffix=".jpg",
        views={0: (0.3, -4.2, 2.2), 1: (3.4, -2.9, 1.9)},
        moving=10,
        people=(("004", "male", (-0.5, 0.0), 0.5), ("005", "male", (0.6, 0.2), -0.4)),
    ),
    SequenceSpec(
        name="Pavallion_013_yoga2",
        split="test",
        capture="Pavallion",
        scan="scan_yoga_scene_camcoord",
        suffix=".png",
        views={0: (-0.6, -4.4, 2.0), 3: (-3.3, -2.8, 2.4)},
        moving=None,
        people=(("013", "female", (0.1, 0.1), 0.2),),
    ),
)


def write_rich_tree(root: Path, files: BodyFiles) -> None:
    """Write the whole tree."""
    for spec in SEQUENCES:
        people = people_of(spec, files)
        eyes = eyes_of(spec)
        T_world_from_level = invert(eyes[0].T_level_from_camera)
        _write_capture(root, spec, eyes, T_world_from_level)
        for person in people:
            _write_person(root, spec, person, T_world_from_level, files)
        _write_images(root, spec, eyes, people)
    _write_meta(root)


def people_of(spec: SequenceSpec, files: BodyFiles) -> list[Person]:
    """Who is in a sequence."""
    return [
        stand(files, subject, "female" if gender == "female" else "male", len(FRAMES), place, heading)
        for subject, gender, place, heading in spec.people
    ]


def eyes_of(spec: SequenceSpec) -> dict[int, Eye]:
    """The calibrated cameras of a sequence; camera 3 of Pavallion is a rotated one."""
    eyes = {}
    for number, place in spec.views.items():
        portrait = spec.capture == "Pavallion" and number in (3, 5)
        eyes[number] = Eye(
            K=_K_PORTRAIT if portrait else _K_LANDSCAPE,
            size_px=(3008, 4112) if portrait else (4112, 3008),
            T_level_from_camera=look_at(np.array(place), _TARGET_M, roll_rad=0.05 * (number + 1)),
            distortion=np.zeros(5),
        )
    return eyes


def _write_capture(
    root: Path, spec: SequenceSpec, eyes: dict[int, Eye], T_world_from_level: Float[np.ndarray, "4 4"]
) -> None:
    folder = root / "scan_calibration" / spec.capture
    vertices, faces, colors = room()
    world = transform_points(T_world_from_level, vertices).astype(np.float32)
    for scan in {spec.scan, "scan_camcoord"}:
        write_bytes(folder / f"{scan}.ply", ply_bytes(world, faces, colors))
    write_cameras(folder / "calibration", eyes, T_world_from_level)
    T_yup_from_world = _Y_UP_FROM_LEVEL @ invert(T_world_from_level)
    content = {
        "R": T_yup_from_world[:3, :3].T.tolist(),
        "c": 1.0,
        "t": T_yup_from_world[:3, 3].tolist(),
    }
    path = root / "multicam2world" / f"{spec.capture}_multicam2world.json"
    write_bytes(path, json.dumps(content).encode())


def write_cameras(
    folder: Path, eyes: dict[int, Eye], T_world_from_level: Float[np.ndarray, "4 4"]
) -> None:
    """One XML file per camera."""
    for number, eye in eyes.items():
        T_camera_from_world = invert(T_world_from_level @ eye.T_level_from_camera)
        xml = _camera_xml(T_camera_from_world[:3], eye.K, _DISTORTION)
        write_text(folder / f"{number:03d}.xml", xml)


def _camera_xml(
    pose: Float[np.ndarray, "3 4"], K: Float[np.ndarray, "3 3"], distortion: Float[np.ndarray, "5"]
) -> str:
    """OpenCV's storage format."""

    def matrix(name: str, values: Float[np.ndarray, "rows columns"]) -> str:
        rows, columns = values.shape
        data = " ".join(f"{value!r}" for value in values.ravel().tolist())
        return (
            f'<{name} type_id="opencv-matrix">\n  <rows>{rows}</rows>\n  <cols>{columns}</cols>\n'
            f"  <dt>d</dt>\n  <data>\n    {data}</data></{name}>\n"
        )

    body = (
        matrix("CameraMatrix", pose)
        + matrix("Intrinsics", K)
        + matrix("Distortion", distortion[:, None])
    )
    return f'<?xml version="1.0"?>\n<opencv_storage>\n{body}</opencv_storage>\n'


def _write_person(
    root: Path,
    spec: SequenceSpec,
    person: Person,
    T_world_from_level: Float[np.ndarray, "4 4"],
    files: BodyFiles,
) -> None:
    world: SmplxParameters = move_parameters(files, person.gender, person.parameters, T_world_from_level)
    for row, frame in enumerate(FRAMES):
        place = (spec.name, person.subject, frame)
        content = smplx_content(frame_of(world, row))
        if place == DEFECTS["fit_nan"]:
            content["transl"][:] = np.nan
        if place != DEFECTS["fit_missing"]:
            path = root / "bodies" / spec.split / spec.name / frame / f"{person.subject}.pkl"
            write_bytes(path, pickled(content))
        if place != DEFECTS["contact_missing"]:
            _write_contact(root, spec, person, row, broken=place == DEFECTS["contact_invalid"])


def _write_contact(root: Path, spec: SequenceSpec, person: Person, row: int, *, broken: bool) -> None:
    vertices = person.vertices[row]
    nearest = np.zeros((len(vertices), 3), np.float32)
    nearest[:, 2] = -vertices[:, 2]  # the floor right below; good enough for a fixture
    content = {
        "contact": person.contact[row].astype(np.float64)[: 100 if broken else None],
        "s2m_dist_id": nearest,
    }
    folder = root / "human_scene_contact" / spec.split / spec.name / FRAMES[row]
    write_bytes(folder / f"{person.subject}.pkl", pickled(content))


def _write_images(
    root: Path, spec: SequenceSpec, eyes: dict[int, Eye], people: Sequence[Person]
) -> None:
    base = root / "images" / spec.split / spec.name
    moments = [moment(people, row) for row in range(len(FRAMES))]
    for number, eye in eyes.items():
        view = f"cam_{number:02d}"
        for row, frame in enumerate(FRAMES):
            if (spec.name, view, frame) == DEFECTS["image_missing"]:
                continue
            _, image = moments[row].seen_by(eye, _RENDER_STEP)
            bmp = spec.suffix == ".jpg" and number == 0 and row == 0
            content = _encoded(image, ".bmp" if bmp else spec.suffix)
            if (spec.name, view, frame) == DEFECTS["image_truncated"]:
                content = content[: len(content) // 2]
            path = base / view / f"{frame}_{number:02d}{'.bmp' if bmp else spec.suffix}"
            write_bytes(path, content)
    if spec.moving is not None:  # images, but no calibration
        flat = np.full((3008, 4112, 3), 128, np.uint8)
        path = base / f"cam_{spec.moving:02d}" / f"{FRAMES[0]}_{spec.moving:02d}{spec.suffix}"
        write_bytes(path, _encoded(flat, spec.suffix))


def _encoded(rgb: UInt8[np.ndarray, "height width 3"], suffix: str) -> bytes:
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else []
    _, buffer = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]), options)
    return buffer.tobytes()


def _write_meta(root: Path) -> None:
    """A row per person; val and test have more columns than train."""
    few = ["sequence_name", "capture_name", "scan_name", "id", "moving_cam", "gender"]
    more = ["scene", "action/scene-interaction", "subjects"]
    for split in ("train", "val", "test"):
        extra = [] if split == "train" else more
        lines = ["\t".join([*few, *extra, "view_id"])]
        for spec in (spec for spec in SEQUENCES if spec.split == split):
            for subject, gender, _, _ in spec.people:
                moving = str(int(spec.moving is not None))
                values = [spec.name, spec.capture, spec.scan, str(int(subject)), moving, gender]
                more_values = [] if split == "train" else ["yard", "yoga", str(len(spec.people))]
                views = ",".join(str(number) for number in [*spec.views, *filter(None, [spec.moving])])
                lines.append("\t".join([*values, *more_values, views]))
        write_text(root / "meta" / f"{split}.txt", "\n".join(lines) + "\n")
