from __future__ import annotations

import json
import shutil

import pytest

from pipelines.bodies.files import BodyFiles
from pipelines.datasets.doctor import DoctorReport, check_tree
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.settings import ProxSettings

FRAMES = ("s001_frame_00001__00.00.00.029", "s001_frame_00002__00.00.00.050")


def errors(report: DoctorReport) -> str:
    return "\n".join(f"{f.subject}: {f.text}" for f in report.findings if f.severity == "error")


@pytest.fixture(scope="module")
def healthy(pristine) -> DoctorReport:
    return check_tree(pristine.root, full=True)


def test_a_whole_tree_is_ready(healthy):
    assert healthy.ok
    assert healthy.findings == ()
    assert healthy.where_to_get == {}
    (recording,) = healthy.recordings
    assert recording.name == "Boxroom_00159_01"
    assert (recording.gender, recording.frames, recording.segments) == ("female", 6, 3)
    assert recording.present["depth"] == recording.opened["depth"] == 6
    assert recording.broken == {}
    assert recording.keypoints_frame == "flipped (mask)"


def test_the_reader_asks_the_same_doctor(pristine, healthy):
    assert ProxDataset(pristine.base).check(full=True).recordings == healthy.recordings


def test_the_report_is_a_table_and_json(healthy):
    text = healthy.to_text()
    assert "Boxroom_00159_01  female  6       3" in text
    assert text.endswith("ready\n")
    content = json.loads(json.dumps(healthy.to_json()))
    assert content["ok"] is True
    assert content["recordings"][0]["frames"] == 6


def test_no_tree_at_all_says_what_to_get(tmp_path):
    report = check_tree(tmp_path / "nothing")
    assert not report.ok
    assert "not a PROX tree" in errors(report)
    assert "PROX site" in report.where_to_get["recordings"]
    assert "not ready: 1 error(s)" in report.to_text()


def test_an_empty_tree_is_not_ready(tmp_path):
    (tmp_path / "qualitative" / "recordings").mkdir(parents=True)
    report = check_tree(tmp_path)
    assert "no recording found" in errors(report)
    assert {"recordings", "calibration", "body_segments"} <= set(report.where_to_get)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("calibration/IR.json", "calibration"),
        ("cam2world/Boxroom.json", "cam2world"),
        ("scenes/Boxroom.ply", "scenes"),
        ("sdf/Boxroom_sdf.npy", "sdf"),
    ],
)
def test_each_missing_part_is_named_with_its_source(tree, path, group):
    (tree.base / path).unlink()
    report = check_tree(tree.root)
    assert not report.ok
    assert path in errors(report)
    assert group in report.where_to_get


def test_optional_parts_are_no_errors(tree):
    shutil.rmtree(tree.base / "PROXD")
    shutil.rmtree(tree.base / "body_segments")
    report = check_tree(tree.root)
    assert report.ok
    assert set(report.where_to_get) == {"PROXD", "body_segments"}


def test_keypoints_are_never_published_and_the_doctor_says_so(tree):
    shutil.rmtree(tree.base / "keypoints")
    report = check_tree(tree.root)
    assert report.ok  # depth alone can be fitted
    assert "OpenPose" in report.where_to_get["keypoints"]
    assert report.recordings[0].keypoints_frame == "unknown (no keypoints)"


def test_a_recording_with_nothing_to_fit_to_is_an_error(tree):
    shutil.rmtree(tree.base / "keypoints")
    shutil.rmtree(tree.file("BodyIndexColor", FRAMES[0]).parent)
    report = check_tree(tree.root)
    assert "Boxroom_00159_01: neither keypoints nor depth" in errors(report)
    assert {"keypoints", "recordings"} <= set(report.where_to_get)


def test_broken_files_are_counted_with_the_first_one_shown(tree):
    for frame in FRAMES:
        path = tree.file("Depth", frame)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:999])
    tree.keypoints_file(FRAMES[0]).write_text("{")
    tree.fit_file(FRAMES[0]).write_bytes(b"\x80\x02cos\nsystem\n.")
    report = check_tree(tree.root, full=True)
    assert report.ok
    (recording,) = report.recordings
    assert recording.broken == {"depth": 2, "keypoints": 1, "fit": 1}
    text = report.to_text()
    assert "2 of 6 depth files opened are broken" in text
    assert FRAMES[0] in text
    assert "posix.system" in text or "os.system" in text
    assert "6 (2 broken)" in text


def test_missing_files_are_counted(tree):
    tree.file("Depth", FRAMES[0]).unlink()
    tree.fit_file(FRAMES[1]).unlink()
    text = check_tree(tree.root).to_text()
    assert "1 of 6 frames have no depth file" in text
    assert "1 of 6 frames have no fit file" in text


def test_a_contradiction_of_the_keypoints_is_an_error(tree):
    report = check_tree(tree.root, ProxSettings(keypoints_frame="raw"))
    assert "not in the raw image" in errors(report)
    assert report.recordings[0].keypoints_frame == "unknown"


def test_an_sdf_of_another_scene_is_an_error(tree):
    path = tree.base / "sdf" / "Boxroom.json"
    box = json.loads(path.read_text())
    box["min"][2] += 1.0
    box["max"][2] += 1.0
    path.write_text(json.dumps(box))
    assert "not of the scan" in errors(check_tree(tree.root))


def test_missing_body_models_are_named_with_their_sites(pristine, tmp_path):
    report = check_tree(pristine.root, body_files=BodyFiles(tmp_path, is_standin=False))
    assert not report.ok
    assert {"SMPL-X", "SMPL+H"} <= set(report.where_to_get)
    assert "SMPLX_FEMALE" in errors(report)
    assert "SMPLX_MALE" not in errors(report)
