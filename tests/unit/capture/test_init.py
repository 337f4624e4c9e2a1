"""`init` on a small capture: what it writes is read back, and each usual mistake is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows.cli import EXIT_FAILED, EXIT_USAGE, run
from pipelines.bodies.files import resolve_body_files
from pipelines.capture.produce import init_capture
from pipelines.capture.report import InitReport
from pipelines.capture.scan import read_scan
from pipelines.config import load_settings
from pipelines.datasets.doctor import check_tree
from pipelines.datasets.prox import ProxDataset
from pipelines.errors import DataInvalid
from pipelines.geometry.transforms import invert, rigid, transform_points
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.synthetic.primitives import Solid

Spoil = Callable[..., Any]


def errors(report: InitReport) -> list[str]:
    return [finding.text for finding in report.findings if finding.severity == "error"]


def fixes(report: InitReport) -> set[str]:
    return {finding.fix for finding in report.findings if finding.severity == "error"}


@pytest.fixture(scope="module")
def tree(small_capture: Any) -> tuple[InitReport, ProxDataset]:
    report = init_capture(small_capture.settings())
    assert report.config is not None
    settings = load_settings(PseudoGtSettings, report.config)
    assert settings.prox.root is not None
    return report, ProxDataset(settings.prox.root, settings.prox, resolve_body_files(None))


def test_the_capture_is_ready(tree: tuple[InitReport, ProxDataset]) -> None:
    report, dataset = tree
    assert report.ok, report.to_text()
    doctor = check_tree(dataset.layout.base, dataset.settings, dataset.body_files)
    assert doctor.ok, doctor.to_text()
    assert report.page.is_file()
    text = report.page.read_text()
    assert all((report.page.parent / f"{name}.png").is_file() for name in ("frames", "depth", "edges"))
    assert "Ready to be fitted" in text


def test_the_reader_sees_the_person_where_they_are(
    tree: tuple[InitReport, ProxDataset], small_capture: Any
) -> None:
    _, dataset = tree
    seen = dataset.observations("Room_00001_01")
    assert seen.usable.all()
    assert seen.image_size_px == (160, 120)
    assert seen.gender == "neutral"
    for frame in range(8):
        points = seen.points_camera[frame].astype(np.float64)
        world = transform_points(small_capture.T_world_from_camera, points)
        x = -0.9 + 0.25 * frame
        assert (np.abs(world[:, 0] - x) < 0.24).mean() > 0.98
        assert np.abs(world[:, 1].min() - 0.05) < 0.03  # the side that faces the camera
    np.testing.assert_allclose(seen.T_world_from_camera, small_capture.T_world_from_camera, atol=1e-9)
    assert seen.floor_camera[1] < 0
    eye = small_capture.T_world_from_camera[:3, 3]
    assert -seen.floor_camera[3] == pytest.approx(eye[2], abs=2e-3)


def test_the_scene_reads_back(tree: tuple[InitReport, ProxDataset]) -> None:
    _, dataset = tree
    scene = dataset.scene("Room_00001_01")
    assert scene.sdf_m.shape == (48, 48, 48)
    assert scene.vertices_world[:, 2].min() == pytest.approx(0, abs=1e-6)


def as_pose(T: np.ndarray) -> str:
    return json.dumps(T.tolist())


OPENGL = np.diag([1.0, -1, -1, 1])


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        (invert, "camera_pose_is=camera_from_world"),
        (lambda T: T @ OPENGL, "camera_axes=opengl"),
        (lambda T: invert(T @ OPENGL), "camera_pose_is=camera_from_world camera_axes=opengl"),
        (lambda T: rigid(T[:3, :3], T[:3, 3] * 1000), "pose_unit_m=0.001"),
    ],
    ids=["inverted", "opengl", "both", "millimetres"],
)
def test_a_wrong_pose_is_named_and_its_cure_works(
    small_capture: Any, spoiled: Spoil, change: Callable[[np.ndarray], np.ndarray], fix: str
) -> None:
    bad = spoiled(pose__json=as_pose(change(small_capture.T_world_from_camera)))
    report = init_capture(bad.settings("moved=ignore"))
    assert not report.ok
    assert report.config is None
    assert fixes(report) == {fix}
    assert init_capture(bad.settings("moved=ignore", *fix.split())).ok


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        (("depth_unit_m=0.00025",), "depth_unit_m=0.001"),
        (("mirrored=true",), "mirrored=false"),
        (("depth_to_color_is=depth_from_color",), "depth_to_color_is=color_from_depth"),
        (("scan_unit_m=0.001",), "scan_unit_m=1"),
    ],
    ids=["depth unit", "mirrored", "extrinsics", "scan unit"],
)
def test_a_wrong_setting_is_named(
    small_capture: Any, given: tuple[str, ...], fix: str, tmp_path: Path
) -> None:
    report = init_capture(small_capture.settings(*given, f"out={tmp_path}"))
    assert fixes(report) == {fix}
    assert "edges" in report.page.read_text()


def test_what_no_usual_mistake_explains_is_said(small_capture: Any, spoiled: Spoil) -> None:
    turn = rigid(cv2.Rodrigues(np.array([0.0, 0, 1.3]))[0], np.array([0.7, 0.4, 0.2]))
    bad = spoiled(pose__json=as_pose(turn @ small_capture.T_world_from_camera))
    report = init_capture(bad.settings())
    assert "none of the usual mistakes" in errors(report)[0]
    assert "not ready" in report.to_text()


def test_a_scan_with_y_up_is_turned(
    small_capture: Any, spoiled: Spoil, as_obj: Any, as_mesh: Any, solids: Any
) -> None:
    T = rigid(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.zeros(3))
    vertices, faces = as_mesh(solids)
    turned = spoiled(
        room__obj=as_obj(transform_points(T, vertices), faces),
        pose__json=as_pose(T @ small_capture.T_world_from_camera),
    )
    report = init_capture(turned.settings())
    assert report.ok
    assert any("up is +y" in finding.text for finding in report.findings)


def test_a_box_that_was_moved_is_taken_out_of_the_scene(
    small_capture: Any, spoiled: Spoil, as_obj: Any, as_mesh: Any, solids: Any
) -> None:
    chair = Solid("chair", "box", (0.2, 0.9, 0.3), (0.25, 0.25, 0.3), yaw_rad=0.3)
    capture = spoiled(room__obj=as_obj(*as_mesh((*solids, chair))))
    report = init_capture(capture.settings("moved_parts.min_frames=2"))
    assert report.ok, report.to_text()
    out = capture.settings().out
    moved = np.load(out / "qualitative" / "moved" / "Room_faces.npy", allow_pickle=False)
    scan = read_scan(capture.root / "room.obj", 1.0)
    truly = np.abs(chair.signed_distance(scan.face_centers)) < 0.01
    truly &= scan.face_centers[:, 2] > 0.02  # no scanner sees the underside
    area = scan.face_areas
    overlap = area[moved & truly].sum() / area[moved | truly].sum()
    assert overlap > 0.8
    kept = init_capture(capture.settings("moved=report", "moved_parts.min_frames=2", f"out={out}-2"))
    assert "left in the scene" in kept.to_text()


def test_few_frames_tell_nothing_of_moved_parts(small_capture: Any, tmp_path: Path) -> None:
    report = init_capture(small_capture.settings("moved_parts.min_frames=9", f"out={tmp_path}"))
    assert report.ok, report.to_text()
    assert "too few frames to tell moved parts: 8 with depth" in report.to_text()


def test_far_depth_is_dropped(small_capture: Any, tmp_path: Path) -> None:
    settings = small_capture.settings("max_depth_m=3", f"out={tmp_path}", "moved=ignore")
    init_capture(settings)
    for path in (tmp_path / "qualitative/recordings/Room_00001_01/Depth").iterdir():
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert depth is not None
        assert 20_000 < depth.max() < 3 * 8000


def test_eight_bit_depth_is_refused(spoiled: Spoil) -> None:
    capture = spoiled()
    for path in (capture.root / "depth").iterdir():
        cv2.imwrite(str(path), np.zeros((106, 128), np.uint8))
    with pytest.raises(DataInvalid, match="not 16-bit"):
        init_capture(capture.settings())


def test_aligned_depth_of_another_size_is_refused(small_capture: Any) -> None:
    with pytest.raises(DataInvalid, match="aligned depth has another size"):
        init_capture(small_capture.settings("depth_aligned=true"))


def test_the_verb_finds_files_beside_their_description(
    small_capture: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yaml = str(small_capture.root / "capture.yaml")
    common = [f"out={tmp_path / 'tree'}", "sdf_size=32", "moved=ignore"]
    assert run(["init", "--config", yaml, *common, "camera_axes=opengl"]) == EXIT_FAILED
    assert "what to do: camera_axes=opencv" in capsys.readouterr().out
    assert run(["init", "color=x"]) == EXIT_USAGE
    assert "camera_pose: Field required" in capsys.readouterr().err
