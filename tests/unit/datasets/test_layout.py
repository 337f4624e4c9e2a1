from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.layout import FrameName, ProxLayout, RecordingName, gender_of, read_genders
from pipelines.errors import DataInvalid, DataMissing

FEMALE_RECORDINGS = [
    "BasementSittingBooth_03403_01",
    "BasementSittingBooth_03452_01",
    "N0SittingBooth_00162_01",
    "N0SittingBooth_03403_01",
    "N0Sofa_03403_01",
    "N3Library_03403_01",
    "N3Library_03403_02",
    "N3Office_00159_01",
    "N3OpenArea_03403_01",
    "Werkraum_03403_01",
]
MALE_RECORDINGS = ["N3OpenArea_00157_01", "MPH11_03515_01", "vicon_03301_01", "N0Sofa_00034_02"]


def gender(recording: str, **overrides: str) -> str:
    parsed = RecordingName.parse(recording)
    assert parsed is not None
    return gender_of(recording, parsed.subject, overrides)  # type: ignore[arg-type]


@pytest.mark.parametrize("recording", FEMALE_RECORDINGS)
def test_the_ten_recordings_of_women(recording):
    assert gender(recording) == "female"


@pytest.mark.parametrize("recording", MALE_RECORDINGS)
def test_everyone_else_is_male(recording):
    assert gender(recording) == "male"


def test_overrides_by_subject_and_by_recording():
    assert gender("N3Office_00159_01", **{"159": "male"}) == "male"
    assert gender("N3Office_00159_01", **{"00159": "neutral"}) == "neutral"
    both = {"159": "male", "N3Office_00159_01": "neutral"}
    assert gender("N3Office_00159_01", **both) == "neutral"
    assert gender("N3Office_00159_02", **both) == "male"


def test_a_genders_file(tmp_path):
    path = tmp_path / "genders.json"
    path.write_text(json.dumps({"157": "female"}))
    assert read_genders(path) == {"157": "female"}
    path.write_text(json.dumps({"157": "woman"}))
    with pytest.raises(DataInvalid, match=r"genders\.json"):
        read_genders(path)


def test_recording_names():
    assert RecordingName.parse("N3OpenArea_00157_01") == RecordingName("N3OpenArea", 157, 1)
    for other in ("N3OpenArea", "N3OpenArea_00157", "a_b_00157_01", ".DS_Store", "x_00157_01.zip"):
        assert RecordingName.parse(other) is None


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("s001_frame_00001__00.00.00.029", 0.029),
        ("s001_frame_00172__00.00.05.677", 5.677),
        ("s001_frame_01945__00.01.04.801", 64.801),
        ("s004_frame_02920__00.01.37.300", 97.3),
        ("s001_frame_99999__01.00.00.000", 3600.0),
    ],
)
def test_frame_times(name, seconds):
    frame = FrameName.parse(name)
    assert frame is not None
    assert frame.timestamp_s == pytest.approx(seconds)
    assert name.startswith(f"s{frame.clip:03d}_frame_{frame.index:05d}__")


@given(st.text(max_size=40))
def test_other_names_are_no_frames(name):
    assert FrameName.parse(name) is None or name.startswith("s")


def test_both_roots_are_accepted(tmp_path):
    (tmp_path / "qualitative" / "recordings").mkdir(parents=True)
    base = tmp_path / "qualitative"
    assert ProxLayout.find(tmp_path, "qualitative").base == base
    assert ProxLayout.find(base, "qualitative").base == base


@pytest.mark.parametrize("exists", [True, False])
def test_another_folder_is_refused_with_advice(tmp_path, exists):
    root = tmp_path / "data"
    if exists:
        root.mkdir()
    with pytest.raises(DataMissing, match=r"recordings/[\s\S]*PROX site"):
        ProxLayout.find(root, "qualitative")


def test_lemo_name_of_the_sdf_folder(tmp_path):
    layout = ProxLayout(tmp_path)
    assert layout.sdf_folder().name == "sdf"
    (tmp_path / "scenes_sdf").mkdir()
    assert layout.sdf_folder().name == "scenes_sdf"
    (tmp_path / "sdf").mkdir()
    assert layout.sdf_folder().name == "sdf"


def test_a_folder_too_many_or_too_few_is_told(tmp_path):
    tree = tmp_path / "download" / "PROX"
    (tree / "qualitative" / "recordings" / "N3Office_00034_01").mkdir(parents=True)
    for asked, found in (
        (tree.parent, f"the tree lies a folder deeper, in {tree}"),
        (tree / "qualitative" / "recordings", f"a folder higher, in {tree / 'qualitative'}"),
        (tmp_path, "download"),
        (tree / "qualitative/recordings/N3Office_00034_01", "no folder in it"),
        (tmp_path / "nowhere", "no such folder"),
    ):
        with pytest.raises(DataMissing, match="not a PROX tree") as error:
            ProxLayout.find(asked, "qualitative")
        assert found in str(error.value)
