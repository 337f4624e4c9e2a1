from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.artifacts import StageKey, write_marker, write_text
from pipelines.errors import DataMissing
from pipelines.progress.events import append_event
from pipelines.progress.status import run_status
from pipelines.progress.status_text import print_status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recording finished, one damaged, one failed half way, one not begun."""
    for name in ("done", "damaged"):
        place = tmp_path / "recordings" / name
        for stage in ("baseline", "humor", "export", "metrics"):
            write_text(place / f"{stage}.txt", stage)
            summary = {"frames": 12, "valid": 11} if stage == "export" else {}
            write_marker(place, StageKey(stage, "s", {}, "c"), [place / f"{stage}.txt"], summary)
    (tmp_path / "recordings/damaged/humor.txt").unlink()
    write_text(tmp_path / "recordings/half/checkpoints/humor-1/window.npz", "")
    append_event(tmp_path, "failed", "fit", "done", reason="long ago")
    append_event(tmp_path, "finished", "fit", "done")
    append_event(tmp_path, "started", "fit", "half")
    append_event(tmp_path, "failed", "fit", "half", reason="DataInvalid: keypoints are mirrored")
    return tmp_path


def test_every_recording_is_told(folder: Path) -> None:
    status = {s.unit: s for s in run_status(folder, ["later"]).units}
    assert set(status) == {"done", "damaged", "half", "later"}
    assert status["done"].done == ("baseline", "humor", "export", "metrics")
    assert (status["done"].note, status["done"].failure) == ("11 of 12 frames valid", "")
    assert status["damaged"].damaged == ("humor",)
    assert status["half"].done == ()
    assert status["half"].note == "1 checkpoint files of an unfinished fit"
    assert status["half"].failure == "DataInvalid: keypoints are mirrored"
    assert status["later"].last is None


def test_only_the_last_try_counts_as_failed(folder: Path) -> None:
    assert [s.unit for s in run_status(folder).failed] == ["half"]
    append_event(folder, "started", "fit", "half")
    assert [s.unit for s in run_status(folder).failed] == ["half"]
    append_event(folder, "finished", "fit", "half")
    assert run_status(folder).failed == []


def test_the_text_names_failures_and_counts(folder: Path) -> None:
    stream = io.StringIO()
    print_status(run_status(folder, ["later"]), Console(file=stream, width=140))
    text = stream.getvalue()
    assert "FAILED half: DataInvalid: keypoints are mirrored" in text
    assert "2 of 4 are finished" in text
    assert "files missing of humor" in text
    assert "1 checkpoint files of an unfinished fit" in text


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no run folder"):
        run_status(tmp_path / "nothing")
