"""EgoBody: the calibration chain, undistortion, depth, tables, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.proxd import BODY_KEYS
from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_datasets.egobody.info import read_info, read_splits
from pipelines.records import SmplxParameters
from pipelines.safe_pickle import load_pickle

OLD = "recording_20210907_S02_S01_01"
NEW = "recording_20220215_S21_S22_02"
SKIN = np.array([217, 153, 128])


@pytest.fixture(scope="session")
def data(egobody_root: Path, files: BodyFiles) -> EgobodyDataset:
    return EgobodyDataset(egobody_root, files)


@pytest.fixture
def spoilt(egobody_root: Path, tmp_path: Path) -> Path:
    """A copy without images to spoil."""
    ignored = shutil.ignore_patterns("*.jpg", "*.png")
    return Path(shutil.copytree(egobody_root, tmp_path / "egobody", ignore=ignored))


def trans(path: Path) -> np.ndarray:
    return np.array(json.loads(path.read_text())["trans"])


def test_recordings_splits_views_and_people(data: EgobodyDataset) -> None:
    assert data.recordings() == (OLD, NEW)
    assert data.recordings("test") == (NEW,)
    assert data.views(OLD) == ("master", "sub_1", "sub_2")
    assert data.views(NEW) == ("master", "sub_1", "sub_2", "sub_3", "sub_4")
    assert (data.gender(OLD, 0), data.gender(OLD, 1)) == ("male", "female")
    assert [data.info(NEW).role(body) for body in (0, 1)] == ["camera_wearer", "interactee"]
    assert data.frame_names(OLD)[0] == "frame_00104"
    assert len(data.frame_names(OLD)) == 4


def test_bodies_of_a_sub_view_follow_the_chain_of_files(
    data: EgobodyDataset, egobody_root: Path, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    """By the page: master colour camera, inverse of kinect_15to12_color, kinect12_to_world."""
    fits = egobody_root / f"smplx_interactee_test/{NEW}/body_idx_1/results/frame_03713/000.pkl"
    content = load_pickle(fits)
    master = smplx_vertices(SmplxParameters(**{key: content[key] for key in BODY_KEYS}), "male")[0]
    chain = egobody_root / "calibrations" / NEW
    homogeneous = np.column_stack([master, np.ones(len(master))])
    to_master = trans(chain / "kinect_15to12_color.json")
    to_world = trans(chain / "kinect12_to_world" / "seminar_g110.json")
    expected = (np.linalg.inv(to_master) @ homogeneous.T).T[:, :3]
    bodies = data.bodies(NEW, 1, "sub_4")
    assert bodies.gender == content["gender"] == "male"
    assert np.abs(smplx_vertices(bodies.parameters, "male")[0] - expected).max() < 1e-4
    assert np.allclose(bodies.T_world_from_camera, to_world @ to_master)
    world = (to_world @ homogeneous.T).T[:, 1]
    assert abs(world.min() - -1.66) < 5e-3  # y up: the soles are on the floor
    assert world.max() > -1.66 + 1.3


@pytest.mark.parametrize("view", ["master", "sub_3"])
def test_bodies_lie_on_the_undistorted_image_only(
    data: EgobodyDataset, egobody_root: Path, view: str, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    frame = data.frame_names(NEW)[0]
    undistorted = data.color_image(NEW, view, frame)
    stored = cv2.imread(str(egobody_root / "kinect_color" / NEW / view / f"{frame}.jpg"))[..., ::-1]
    K, hits = data.camera(NEW, view).K, {"undistorted": [], "stored": []}
    for body in (0, 1):
        bodies = data.bodies(NEW, body, view)
        points = smplx_vertices(bodies.parameters, bodies.gender)[0]
        column, row = np.rint((points @ K.T)[:, :2] / points[:, 2:]).astype(int).T
        for name, image in (("undistorted", undistorted), ("stored", stored)):
            hits[name].append((np.abs(image[row, column].astype(int) - SKIN).max(axis=1) < 30).mean())
    assert min(hits["undistorted"]) > 0.8
    assert np.mean(hits["undistorted"]) > np.mean(hits["stored"])


def test_depth_points_are_the_body_and_the_floor(
    data: EgobodyDataset, smplx_vertices: Callable[..., np.ndarray]
) -> None:
    frame = data.frame_names(OLD)[0]
    points = data.depth_points(OLD, "sub_2", frame)
    bodies = data.bodies(OLD, 1, "sub_2")
    vertices = smplx_vertices(bodies.parameters, bodies.gender)[0]
    heights = points @ bodies.floor_camera[:3] - bodies.floor_camera[3]
    assert (np.abs(heights) < 2e-3).mean() > 0.1
    assert heights.min() > -2e-3
    near = np.linalg.norm(points[:, None] - vertices.mean(axis=0), axis=2)[:, 0] < 0.25
    middle = points[near]
    assert len(middle) > 200
    distance = np.linalg.norm(middle[::20, None] - vertices[None], axis=2).min(axis=1)
    assert np.median(distance) < 0.02  # the mesh's own edges are 1 to 3 cm


def test_depth_from_six_metres_on_is_dropped(data: EgobodyDataset) -> None:
    raw = np.zeros((576, 640), np.uint16)
    raw[300, 300], raw[300, 301], raw[300, 302] = 47_999, 48_000, 16_000
    points = data.depth_camera("master").points(raw, 6.0)
    assert len(points) == 2
    assert np.allclose(data.depth_camera("master").points(np.zeros_like(raw), 6.0), np.zeros((0, 3)))


def test_missing_frames_are_rows_that_say_so(data: EgobodyDataset) -> None:
    assert data.bodies(OLD, 0).status == ("", "", "fit_missing", "")
    assert data.bodies(OLD, 1).status == ("", "", "", "fit_not_finite")
    person = data.person(NEW, 0, "sub_4")
    assert person.has_image.tolist() == [True, False, True, True]
    assert person.skipped == {"image_missing": 1, "frames_outside_recording": 1}
    assert person.split == "test"
    assert person.world_up.tolist() == [0, 1, 0]


def test_calibrations_with_and_without_cal_trans_are_read(data: EgobodyDataset) -> None:
    assert (data.root / "calibrations" / OLD / "cal_trans").is_dir()
    assert not (data.root / "calibrations" / NEW / "cal_trans").exists()
    assert np.allclose(data.camera_pose(OLD, "sub_1"), data.camera_pose(NEW, "sub_1"))


def test_a_sub_view_without_calibration_is_refused(data: EgobodyDataset) -> None:
    with pytest.raises(DataMissing, match="calibration not found") as error:
        data.bodies(OLD, 0, "sub_3")
    assert "cal_trans/kinect_14to12_color.json or kinect_14to12_color.json" in str(error.value)
    with pytest.raises(DataMissing, match="no view sub_7"):
        data.camera(OLD, "sub_7")


def test_a_fit_of_the_other_gender_is_refused(spoilt: Path, files: BodyFiles) -> None:
    table = spoilt / "data_info_release.csv"
    table.write_text(table.read_text().replace("0 female,1 male,1 male", "0 male,1 female,1 female"))
    with pytest.raises(DataInvalid, match="body 1 has two genders"):
        EgobodyDataset(spoilt, files).bodies(NEW, 1)


def test_broken_tables_and_cameras_are_refused(spoilt: Path, files: BodyFiles) -> None:
    data = EgobodyDataset(spoilt, files)
    with pytest.raises(DataMissing, match="no EgoBody recording recording_1"):
        data.info("recording_1")
    camera = spoilt / "kinect_cam_params/kinect_master/Color.json"
    camera.write_text(json.dumps({"camera_mtx": np.eye(3).tolist(), "k": [0, 0]}))
    with pytest.raises(DataInvalid, match="k of 4 to 14 numbers"):
        data.color_camera("master")
    depth = spoilt / "kinect_cam_params/kinect_master/IR.json"
    content = json.loads(depth.read_text())
    del content["ext_depth2color"]
    depth.write_text(json.dumps(content))
    with pytest.raises(DataInvalid, match="ext_depth2color is absent"):
        data.depth_camera("master")
    table = spoilt / "data_info_release.csv"
    table.write_text(table.read_text().replace("0 male,1 female,0 male", "0 male,1 female,0 female"))
    with pytest.raises(DataInvalid, match="contradicts itself"):
        read_info(table)
    table.write_text(table.read_text().replace("104", "first"))
    with pytest.raises(DataInvalid, match="not understood"):
        read_info(table)
    splits = spoilt / "data_splits.csv"
    splits.write_text(f"train,val,test\n{OLD},,{OLD}\n")
    with pytest.raises(DataInvalid, match="in two splits"):
        read_splits(splits)
    splits.write_text("train,test\n")
    with pytest.raises(DataInvalid, match="lacks columns"):
        read_splits(splits)


def test_another_tree_is_refused(tmp_path: Path, files: BodyFiles) -> None:
    (tmp_path / "scan_calibration").mkdir()
    (tmp_path / "bodies").mkdir()
    with pytest.raises(DataMissing, match="a tree of RICH"):
        EgobodyDataset(tmp_path, files)
