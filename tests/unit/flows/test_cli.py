from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flows.cli import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from flows.environment import configure_logging


def test_a_misspelt_setting_is_named_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "humour.windows.length=30"]) == EXIT_USAGE
    assert "humour: unknown key; did you mean 'humor'?" in capsys.readouterr().err


def test_all_wrong_settings_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "presett=tiny", "runner.workers=0", "humor.window.length=3"]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert "3 problem(s)" in message
    assert "did you mean 'preset'?" in message
    assert "runner.workers" in message
    assert "did you mean 'windows'?" in message


def test_resolved_settings_can_be_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "preset=tiny", "runner.workers=3"]) == EXIT_OK
    first = capsys.readouterr().out
    path = tmp_path / "again.yaml"
    path.write_text(first)
    assert run(["settings", "--config", str(path)]) == EXIT_OK
    assert capsys.readouterr().out == first
    assert "workers: 3" in first


def test_a_missing_settings_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings", "--config", str(tmp_path / "no.yaml")]) == EXIT_USAGE
    assert "no.yaml" in capsys.readouterr().err


def test_a_folder_that_is_not_prox_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", f"prox.root={tmp_path}"]) != EXIT_OK
    captured = capsys.readouterr()
    assert str(tmp_path) in captured.out + captured.err


def test_the_doctor_reports_a_missing_prior_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "humor.pth"
    assert run(["doctor", f"prox.root={tmp_path}", f"priors.motion={missing}"]) == EXIT_FAILED
    report = capsys.readouterr().out
    assert f"where: {missing}" in report
    assert "not ready: 2 error(s)" in report


def test_logs_also_go_to_the_pages_of_a_run() -> None:
    class ToThePage(logging.Handler):
        """As Prefect's: no stream."""

    logger, sends = logging.getLogger("pipelines"), ToThePage()
    before = logger.handlers
    try:
        logger.handlers = [sends]
        configure_logging()
        configure_logging()
        assert sends in logger.handlers
        assert len(logger.handlers) == 2
    finally:
        logger.handlers = before
