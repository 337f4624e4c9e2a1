"""Which files belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.capture.frames import frame_names, list_captured, match_names
from pipelines.capture.settings import CaptureSettings
from pipelines.datasets.layout import FrameName
from pipelines.errors import DataInvalid, DataMissing


def paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_equal_names_belong_together() -> None:
    found = match_names(paths("a1.png", "a2.png", "a3.png"), paths("a2.png", "a3.png"))
    assert {key.name: value.name for key, value in found.items()} == {
        "a2.png": "a2.png",
        "a3.png": "a3.png",
    }


def test_keypoints_carry_openpose_suffix() -> None:
    found = match_names(paths("00_12.jpg"), paths("00_12_keypoints.json"))
    assert len(found) == 1


def test_numbers_belong_together_when_names_do_not() -> None:
    found = match_names(paths("color_009.png", "color_010.png"), paths("depth_10.png", "depth_11.png"))
    assert {key.name: value.name for key, value in found.items()} == {"color_010.png": "depth_10.png"}


def test_timestamps_may_be_off_by_less_than_half_a_frame() -> None:
    colors = paths("c_1000.png", "c_1033.png", "c_1067.png")
    found = match_names(colors, paths("d_1010.png", "d_1051.png", "d_1070.png"))
    assert {key.name: value.name for key, value in found.items()} == {
        "c_1000.png": "d_1010.png",
        "c_1067.png": "d_1070.png",
    }


def test_a_gap_in_the_numbers_is_a_gap_in_time() -> None:
    names = frame_names(paths("c_1000.png", "c_1033.png", "c_1067.png", "c_1167.png"), 30.0)
    times = [frame.timestamp_s for frame in map(FrameName.parse, names) if frame is not None]
    assert times == pytest.approx([0.033, 0.067, 0.1, 0.2], abs=0.001)


def test_names_without_numbers_are_evenly_spaced() -> None:
    assert frame_names(paths("a.png", "b.png"), 10.0)[1].endswith("00.00.00.200")


def test_folders_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for name in ("color/a.png", "depth/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    settings = CaptureSettings(
        folder=tmp_path,
        color=Path("color"),
        depth=Path("depth"),
        color_camera=Path("x"),
        scan=Path("x"),
        camera_pose=Path("x"),
    )
    with pytest.raises(DataInvalid, match="no depth image belongs to a colour image"):
        list_captured(settings)
    with pytest.raises(DataMissing, match="folder of depth images not found"):
        list_captured(settings.model_copy(update={"depth": Path("other")}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataMissing, match="no colour images"):
        list_captured(settings.model_copy(update={"color": Path("empty")}))
