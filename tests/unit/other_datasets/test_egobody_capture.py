"""EgoBody prepared to be fitted: whose keypoints, which frames, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.track import pose_track
from pipelines.capture.frames import list_captured
from pipelines.capture.keypoints import read_keypoints
from pipelines.capture.settings import CaptureSettings
from pipelines.config import load_settings
from pipelines.datasets.prox import ProxDataset
from pipelines.egobody_capture import TRUTH, EgobodyCaptureSettings, own_person, prepare_egobody
from pipelines.errors import DataMissing, SettingsInvalid
from pipelines.fitting.result import read_fit
from pipelines.other_datasets.egobody.dataset import EgobodyDataset
from pipelines.other_trees.egobody import write_openpose
from pipelines.pseudo_gt.settings import PseudoGtSettings

RECORDING = "recording_20210907_S02_S01_01"


def person_at(u: float, v: float) -> np.ndarray:
    """All confident keypoints of one person, 200 px tall."""
    person = np.zeros((118, 3))
    person[:25] = np.column_stack([np.full(25, u), np.linspace(v, v + 200, 25), np.full(25, 0.9)])
    return person


def test_the_person_nearer_to_the_body_is_taken() -> None:
    left, right = person_at(400, 300), person_at(700, 300)
    own, other = left[:25, :2] + 8, right[:25, :2] - 5
    assert own_person(np.stack([right, left]), own, other) == 1
    assert own_person(np.stack([right, left]), other, own) == 0
    assert own_person(right[None], own, other) is None  # the other one alone
    assert own_person(person_at(1500, 300)[None], own, other) is None  # nobody of the two
    assert own_person(np.stack([right, left]), own, None) == 1
    assert own_person(np.zeros((0, 118, 3)), own, other) is None


def given(tmp_path: Path, *overrides: str) -> EgobodyCaptureSettings:
    base = [f"recording={RECORDING}", f"keypoints={tmp_path / 'openpose'}", f"out_dir={tmp_path}"]
    return load_settings(EgobodyCaptureSettings, None, [*base, "sdf_size=16", *overrides])


def test_missing_folders_are_named(files: BodyFiles, egobody_root: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"egobody\.root"):
        prepare_egobody(given(tmp_path))
    with pytest.raises(DataMissing, match=r"no OpenPose results[\s\S]*EgoBody brings none"):
        prepare_egobody(given(tmp_path, f"egobody.root={egobody_root}"))
    with pytest.raises(DataMissing, match="no frame has colour and depth"):
        prepare_egobody(given(tmp_path, f"egobody.root={egobody_root}", "view=sub_4"))


def test_one_person_becomes_a_tree(files: BodyFiles, egobody_root: Path, tmp_path: Path) -> None:
    """The unit tests' tree has depth of the first frame only: the others are left out."""
    write_openpose(tmp_path / "openpose", files, RECORDING, "sub_1")
    settings = given(tmp_path, f"egobody.root={egobody_root}", "view=sub_1", "body=1")
    report = prepare_egobody(settings)
    assert report.ok, report.to_text()
    assert settings.folder.name == f"{RECORDING}-body_idx_1-sub_1"
    captured = list_captured(load_settings(CaptureSettings, settings.folder / "capture.yaml"))
    assert [frame.color.name for frame in captured] == ["frame_00104.jpg"]
    assert captured[0].keypoints is not None
    assert captured[0].others is not None
    own, other = read_keypoints(captured[0].keypoints), read_keypoints(captured[0].others)
    data = EgobodyDataset(egobody_root, files)
    pelvis = pose_track(data.bodies(RECORDING, 1, "sub_1"), files).joints_camera[0, 0]
    camera = data.color_camera("sub_1")
    pixel, _ = cv2.projectPoints(
        pelvis.astype(np.float64), np.zeros(3), np.zeros(3), camera.K, camera.distortion
    )
    assert np.abs(own[0, 8, :2] - pixel.ravel()).max() < 30  # MidHip of the one
    assert np.abs(other[0, 8, :2] - pixel.ravel()).max() > 100
    seen = ProxDataset(
        settings.folder,
        load_settings(PseudoGtSettings, settings.folder / "pseudo-gt.yaml").prox,
        files,
    ).observations("seminarg110_02011_01")
    assert seen.gender == "female"
    points = seen.points_camera[0, : seen.num_points[0]]
    truth = read_fit(settings.folder / TRUTH)
    assert truth.frame_names == seen.frame_names
    body = pose_track(truth, files).vertices_camera[0]
    assert cKDTree(body).query(points)[0].max() < 0.12  # nothing of the other, who stands 1.1 m away
