"""`plan`, `status` and `settings` of every command, and how `all` connects its stages."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.all_stages import AllSettings
from flows.cli import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from flows.commands import COMMANDS, demo_settings
from pipelines.artifacts import StageKey, write_marker, write_text
from pipelines.config import load_settings
from pipelines.progress.events import append_event

STAGES = ("pseudo-gt", "shards", "train", "evaluate", "report")


def test_each_stage_of_all_reads_what_the_one_before_writes(tmp_path: Path) -> None:
    names = [f"{name}.out_dir={tmp_path / name}" for name in ("pseudo_gt", "shards", "train")]
    settings = load_settings(AllSettings, None, [*names, "pseudo_gt.preset=tiny", "train.name=short"])
    assert settings.shards.run == tmp_path / "pseudo_gt" / "tiny"
    assert settings.train.data.shards == tmp_path / "shards" / "tiny" / "shards-fit"
    assert settings.evaluate.train == tmp_path / "train" / "short"
    assert settings.evaluate.runs == tmp_path / "pseudo_gt"
    assert settings.report.run == tmp_path / "pseudo_gt" / "tiny"


def test_a_path_that_is_given_stays(tmp_path: Path) -> None:
    settings = load_settings(AllSettings, None, [f"train.data.shards={tmp_path}"])
    assert settings.train.data.shards == tmp_path
    assert AllSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_wrong_settings_of_a_stage_are_named_with_their_place(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["plan", "all", "shards.samples_per_shart=3"]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert "shards.samples_per_shart" in message
    assert "did you mean 'samples_per_shard'?" in message


def test_a_plan_of_everything_reckons_what_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [f"{n}.out_dir={tmp_path / n}" for n in ("pseudo_gt", "shards", "train", "evaluate")]
    assert run(["plan", "all", "pseudo_gt.preset=tiny", *folders]) == EXIT_OK
    text = capsys.readouterr().out
    assert all(name in text for name in STAGES)
    assert all(f"after {name}" in text for name in ("pseudo-gt", "shards", "train"))
    assert "5 of 5 stages will run" in text
    assert "Together:" in text
    assert list(tmp_path.iterdir()) == []


def test_the_demo_plans_less_than_twenty_minutes() -> None:
    plans = COMMANDS["all"].plan(demo_settings(None, ["pseudo_gt.out_dir=/tmp/not-there"]))
    assert sum(plan.wall_s for plan in plans.values()) < 15 * 60


@pytest.mark.parametrize("name", ["shards", "train", "evaluate", "report"])
def test_a_plan_without_input_says_what_to_run_first(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"shards": "run", "train": "data.shards", "evaluate": "train", "report": "run"}[name]
    assert run(["plan", name, f"{where}={tmp_path / 'nothing'}"]) == EXIT_USAGE
    assert "make " in capsys.readouterr().err


def test_an_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "shart"]) == EXIT_USAGE
    assert "no such command" in capsys.readouterr().err


def test_settings_of_every_command_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["settings"]) == EXIT_OK
    text = capsys.readouterr().out
    assert len(list(yaml.safe_load_all(text))) == len(STAGES)
    assert all(f"settings {name}" in text for name in STAGES)


@pytest.mark.parametrize("name", [*STAGES, "all", "demo"])
def test_settings_of_a_command_can_be_given_back(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["settings", name]) == EXIT_OK
    first = capsys.readouterr().out
    path = tmp_path / "again.yaml"
    path.write_text(first)
    assert run(["settings", name, "--config", str(path)]) == EXIT_OK
    assert capsys.readouterr().out == first


def test_the_status_of_any_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("start", "rcnet"):
        write_text(tmp_path / stage / "log.jsonl", '{"step": 40}\n{"step": 60}\n{"st')
    write_marker(tmp_path / "start", StageKey("start", "s", {}, "c"), [tmp_path / "start" / "log.jsonl"])
    append_event(tmp_path, "started", "train", "rcnet")
    append_event(tmp_path, "failed", "train", "rcnet", reason="OutputFailed: no room left on the disk")
    assert run(["status", str(tmp_path)]) == EXIT_FAILED
    text = capsys.readouterr().out
    assert "step 60" in text
    assert "1 of 2 are finished" in text
    assert "FAILED rcnet: OutputFailed: no room left on the disk" in text


def test_a_killed_run_is_told_from_one_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    from pipelines.artifacts import HOST

    append_event(tmp_path, "started", "shard", "train-00000", pid=os.getpid(), host=HOST)
    append_event(tmp_path, "started", "shard", "train-00001", pid=2**22 + 1, host=HOST)
    append_event(tmp_path, "started", "shard", "train-00002", pid=2**22 + 1, host="another")
    assert run(["status", str(tmp_path)]) == EXIT_OK
    rows = [line for line in capsys.readouterr().out.splitlines() if "shard" in line]
    assert ["killed" in row for row in rows] == [False, True, False]
