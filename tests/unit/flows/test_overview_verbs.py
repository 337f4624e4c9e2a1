"""`report`, `plan` and `status` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from pipelines.progress.events import append_event


def test_a_plan_names_every_stage_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "preset=tiny", f"out_dir={tmp_path}"]) == EXIT_OK
    text = capsys.readouterr().out
    assert all(stage in text for stage in ("data", "baseline", "humor", "export", "metrics"))
    assert "5 of 5 stages will run" in text
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_never_begun_has_no_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "preset=tiny", f"out_dir={tmp_path}"]) == EXIT_USAGE
    assert "no run folder" in capsys.readouterr().err


def test_a_failed_recording_shows_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_event(tmp_path / "tiny", "failed", "fit", "TinyRoom_00034_01", reason="no keypoints")
    assert run(["status", "preset=tiny", f"out_dir={tmp_path}"]) == EXIT_FAILED
    assert "FAILED TinyRoom_00034_01: no keypoints" in capsys.readouterr().out


def test_a_run_whose_data_is_gone_still_has_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_event(tmp_path / "prox", "finished", "fit", "Room_00034_01")
    assert run(["status", f"prox.root={tmp_path / 'away' / 'prox'}", f"out_dir={tmp_path}"]) == EXIT_OK
    assert "Room_00034_01" in capsys.readouterr().out


def test_a_report_needs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", f"run={tmp_path / 'nothing'}"]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert "no finished pseudo-gt run" in message
    assert "make pseudo-gt" in message
