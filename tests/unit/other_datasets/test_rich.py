"""RICH: the whole chain from files to the camera, each quirk, and what is refused."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.proxd import BODY_KEYS
from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.images import find_color
from pipelines.other_datasets.rich.calibration import LevelFrame
from pipelines.other_datasets.rich.dataset import RichDataset
from pipelines.other_datasets.rich.gravity import world_up
from pipelines.other_datasets.rich.names import gender_of, parse_sequence
from pipelines.other_trees.rich import DEFECTS, SEQUENCES, people_of
from pipelines.records import SmplxParameters
from pipelines.safe_pickle import load_pickle

TWO = "ParkingLot1_004_005_greetingchattingeating1"
YOGA = "Pavallion_013_yoga2"


@pytest.fixture(scope="session")
def data(rich_root: Path, files: BodyFiles) -> RichDataset:
    return RichDataset(rich_root, files)


@pytest.fixture
def without_images(rich_root: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(
        shutil.copytree(rich_root, tmp_path / "rich", ignore=shutil.ignore_patterns("*.png", "*.bmp"))
    )


def test_a_name_with_two_people_has_two_subjects() -> None:
    two = parse_sequence("LectureHall_009_021_reparingprojector1")
    assert two is not None
    assert (two.capture, two.subjects) == ("LectureHall", ("009", "021"))
    one = parse_sequence("Gym_013_dips_2")
    assert one is not None
    assert (one.capture, one.subjects) == ("Gym", ("013",))
    assert parse_sequence("Gym_dips") is None


def test_sequences_people_and_genders(data: RichDataset) -> None:
    assert data.sequences() == (TWO, YOGA)
    assert data.sequences("test") == (YOGA,)
    assert data.subjects(TWO) == ("004", "005")
    assert (data.gender(TWO, "004"), data.gender(YOGA, "013")) == ("male", "female")
    assert gender_of("013", None, {"13": "male"}) == "male"
    with pytest.raises(DataInvalid, match="two genders"):
        gender_of("013", "male", {})


def test_the_moving_camera_is_no_view(data: RichDataset) -> None:
    assert data.views(TWO) == ("cam_00", "cam_01")
    assert data.uncalibrated_views(TWO) == ("cam_10",)
    with pytest.raises(DataMissing, match="cam_10 has no calibration"):
        data.camera(TWO, "cam_10")


def test_rotated_cameras_are_portrait(data: RichDataset) -> None:
    assert data.camera(YOGA, "cam_00").image_size_px == (4112, 3008)
    assert data.camera(YOGA, "cam_03").image_size_px == (3008, 4112)
    assert data.color_image(YOGA, "cam_03", "00048").shape == (4112, 3008, 3)


def test_bodies_reach_the_pixels_of_the_calibration_file(
    data: RichDataset, rich_root: Path, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    """By the page: world vertices, [R|t] of the XML, intrinsics; and the image shows skin there."""
    content = load_pickle(rich_root / f"bodies/test/{YOGA}/00048/013.pkl")
    world = smplx_vertices(SmplxParameters(**{key: content[key] for key in BODY_KEYS}), "female")[0]
    xml = ElementTree.parse(rich_root / "scan_calibration/Pavallion/calibration/003.xml")
    pose, K = (
        np.array(xml.findtext(f"{name}/data").split(), float).reshape(shape)
        for name, shape in (("CameraMatrix", (3, 4)), ("Intrinsics", (3, 3)))
    )
    camera = world @ pose[:, :3].T + pose[:, 3]
    bodies = data.bodies(YOGA, "013", "cam_03")
    assert np.abs(smplx_vertices(bodies.parameters, "female")[0] - camera).max() < 1e-4
    view = data.camera(YOGA, "cam_03")
    pixels = camera @ K.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    image = data.color_image(YOGA, "cam_03", "00048")
    skin = np.abs(image.astype(int) - np.array([217, 153, 128])).max(axis=2) < 3
    column, row = np.rint(pixels).astype(int).T
    assert skin[row, column].mean() > 0.75  # rays are cast at every 16th pixel only
    seen_rows, seen_columns = np.nonzero(skin)
    assert abs(seen_columns.mean() - pixels[:, 0].mean()) < 0.2 * np.ptp(pixels[:, 0])
    assert abs(seen_rows.min() - row.min()) <= 32
    assert abs(seen_rows.max() - row.max()) <= 32
    assert np.allclose(view.T_world_from_camera[:3, :3], pose[:, :3].T)


def test_the_floor_is_under_the_feet_and_up_is_from_feet_to_head(
    data: RichDataset, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    for sequence, subject, view in ((TWO, "004", "cam_01"), (YOGA, "013", "cam_03")):
        bodies = data.bodies(sequence, subject, view)
        vertices = smplx_vertices(bodies.parameters, bodies.gender)[bodies.valid]
        heights = vertices @ bodies.floor_camera[:3] - bodies.floor_camera[3]
        assert np.abs(heights.min(axis=1)).max() < 2e-3
        assert heights.max() > 1.2
        assert bodies.floor_camera[1] < 0
        up_camera = bodies.T_world_from_camera[:3, :3].T @ data.world_up(sequence)
        assert np.allclose(up_camera, bodies.floor_camera[:3], atol=1e-3)
    # The world is tilted: its own axes are far from vertical.
    assert np.abs(data.world_up(YOGA)).max() < 0.999


def test_up_is_found_whatever_axis_of_the_level_frame_it_is() -> None:
    pose = np.eye(4)  # a level camera: up is -y
    for axis in range(3):
        rotation = np.roll(np.eye(3), axis, axis=1)
        assert np.allclose(world_up(LevelFrame(1.0, rotation, np.zeros(3)), [pose], None), [0, -1, 0])
    tumbled = np.eye(4)
    tumbled[:3, 1] = -1 / np.sqrt(3)
    with pytest.raises(DataInvalid, match="no axis of multicam2world points up"):
        world_up(LevelFrame(1.0, np.eye(3), np.zeros(3)), [tumbled], None)


def test_row_vectors_of_multicam2world_make_the_floor_level(data: RichDataset, rich_root: Path) -> None:
    content = json.loads((rich_root / "multicam2world/Pavallion_multicam2world.json").read_text())
    mesh = data.scene_mesh(YOGA)
    level = content["c"] * mesh.vertices_world @ np.array(content["R"]) + content["t"]
    normal, offset = data.floor_world(YOGA)[:3], data.floor_world(YOGA)[3]
    on_floor = np.abs(mesh.vertices_world @ normal - offset) < 1e-3
    assert on_floor.sum() > 100
    assert np.ptp(level[on_floor], axis=0).min() < 1e-3


def test_spoilt_files_are_told_frame_by_frame(data: RichDataset) -> None:
    assert data.frame_names(TWO) == ("00048", "00050", "00051")
    assert data.bodies(TWO, "005", "cam_00").status == ("", "fit_missing", "")
    assert data.bodies(TWO, "004", "cam_00").status == ("", "", "fit_not_finite")
    assert data.person(TWO, "004", "cam_01").has_image.tolist() == [True, False, True]
    _, view, frame = DEFECTS["image_truncated"]
    with pytest.raises(DataInvalid, match="cannot be decoded"):
        data.color_image(YOGA, view, frame)


def test_contact_is_kept_beside_the_bodies(data: RichDataset, files: BodyFiles) -> None:
    person = data.person(YOGA, "013", "cam_00")
    assert person.contact is not None
    assert person.has_contact is not None
    assert person.has_contact.tolist() == [True, False, False]
    assert person.skipped == {"contact_invalid": 1}
    true = people_of(SEQUENCES[1], files)[0].contact[0]
    assert true.sum() > 50
    assert np.array_equal(person.contact[0], true)
    assert not person.contact[1:].any()
    assert data.contact(YOGA, "013", "00048").to_scan_m.shape == (10475, 3)  # type: ignore[union-attr]


def test_png_bmp_and_jpg_are_found(data: RichDataset, rich_root: Path) -> None:
    folder = rich_root / "images" / "train" / TWO / "cam_00"
    assert find_color(folder / "00048_00").suffix == ".bmp"  # type: ignore[union-attr]
    assert find_color(folder / "00050_00").suffix == ".jpg"  # type: ignore[union-attr]
    bmp, jpg = (data.color_image(TWO, "cam_00", frame) for frame in ("00048", "00050"))
    assert np.abs(bmp[::40, ::40].astype(int) - jpg[::40, ::40]).mean() < 5


def test_the_scan_comes_from_the_meta_table_or_is_the_only_one(
    data: RichDataset, without_images: Path, files: BodyFiles
) -> None:
    assert data.scene_name(YOGA) == "Pavallion_scan_yoga_scene_camcoord"
    shutil.rmtree(without_images / "meta")
    bare = RichDataset(without_images, files)
    assert bare.scene_name(TWO) == "ParkingLot1_scan_camcoord"
    with pytest.raises(DataMissing, match="its scan is not known"):
        bare.scene_name(YOGA)


def test_broken_tables_and_calibrations_are_refused(without_images: Path, files: BodyFiles) -> None:
    calibration = without_images / "scan_calibration/ParkingLot1/calibration/001.xml"
    calibration.write_text(calibration.read_text().replace("Intrinsics", "Extrinsics"))
    data = RichDataset(without_images, files)
    with pytest.raises(DataInvalid, match="lacks Intrinsics/data"):
        data.camera(TWO, "cam_01")
    level = without_images / "multicam2world/Pavallion_multicam2world.json"
    level.write_text(json.dumps({"R": np.ones((3, 3)).tolist(), "t": [0, 0, 0], "c": 1}))
    with pytest.raises(DataInvalid, match="no rotation and scale"):
        data.world_up(YOGA)
    with pytest.raises(DataMissing, match="no subject 021"):
        data.bodies(YOGA, "021", "cam_00")
    (without_images / "meta/test.txt").write_text("sequence_name\tgender\n")
    with pytest.raises(DataInvalid, match="lacks columns"):
        RichDataset(without_images, files).subjects(YOGA)


def test_one_folder_deeper_or_another_data_set_is_refused(rich_root: Path, files: BodyFiles) -> None:
    with pytest.raises(DataMissing, match="a folder higher"):
        RichDataset(rich_root / "bodies", files)
