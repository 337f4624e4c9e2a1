"""Every stage killed, starved of disk and cut off at random moments; the next run ends in the same bytes.

Stages run in forked children that have everything imported, so that the moments lie in the work itself.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines import artifacts
from pipelines.artifacts import hash_file, require_writable
from pipelines.config import validate_settings
from pipelines.errors import OutputFailed
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import fit_recording
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.page import write_report
from pipelines.report.produce import report_recording
from pipelines.report.run import FinishedRun
from pipelines.report.settings import ReportSettings
from pipelines.shards.describe import describe_shards
from pipelines.shards.produce import (
    plan_production,
    recordings_to_score,
    score_frames_of,
    write_planned_shard,
)
from pipelines.shards.settings import ShardsSettings
from sahmr.evaluation.evaluate import evaluate
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.training.settings import TrainingSettings
from sahmr.training.stages import stages_to_train, train_stage

pytestmark = pytest.mark.slow
FORK = multiprocessing.get_context("fork")
HOLDS_TIMES = {
    "events.jsonl": "when what was done",
    "log.jsonl": "seconds of every part of a training step",
    "last.state.pt": "seconds trained so far; the temporary name it was written under",
    "model_card.md": "seconds of the training",
    "*.done.json": "hashes of the files above, and of the times of the data's files",
}
"""Files that a run that was interrupted may leave otherwise than one that was not, and why."""


def run_pseudo_gt(settings: PseudoGtSettings) -> None:
    data = data_source(settings)
    recordings = list_recordings(settings, data)
    for recording in recordings:
        prepare_recording(settings, data, recording)
        fit_recording(settings, data, recording)
        measure_recording(settings, data, recording)
    write_table(settings, data, recordings)


def run_shards(settings: ShardsSettings) -> None:
    production = plan_production(settings)
    for recording in recordings_to_score(production):
        score_frames_of(settings, recording)
    for shard in production.shards:
        write_planned_shard(settings, shard)
    describe_shards(production, production.shards)


def run_train(settings: TrainingSettings) -> None:
    for stage in stages_to_train(settings):
        train_stage(settings, stage)


def run_report(settings: ReportSettings) -> None:
    recordings = FinishedRun.open(settings.run).recordings
    for recording in recordings:
        report_recording(settings, recording)
    write_report(settings, recordings)


@dataclass(frozen=True)
class Stage:
    """A stage without Prefect, its folder, and how often it is killed."""

    run: Callable[[Any], object]
    settings: Any
    folder: Path
    kills: int


PACE = {"steps": 4, "batch_size": 4, "save_every": 1, "validate_every": 2, "warm_up_steps": 0}


def stages(root: Path) -> dict[str, Stage]:
    """All five, each on the results of the one before."""
    fit = validate_settings(PseudoGtSettings, {"preset": "tiny", "out_dir": root / "pseudo-gt"})
    shards = ShardsSettings(run=fit.run_dir, out_dir=root / "shards", samples_per_shard=4)
    training = {
        "out_dir": root / "train",
        "data": {"shards": shards.folder, "workers": 0, "validate_on": "train", "validation_limit": 4},
        "tensorboard": False,
        **dict.fromkeys(("start", "rcnet", "mesh", "metro"), PACE),
    }
    train = validate_settings(TrainingSettings, training)
    measure = EvaluationSettings(
        train=train.run_dir,
        split="all",
        limit=6,
        pictures=1,
        runs=fit.out_dir,
        out_dir=root / "evaluate",
    )
    report = ReportSettings(run=fit.run_dir, out_dir=root / "report")
    return {
        "pseudo-gt": Stage(run_pseudo_gt, fit, fit.run_dir, 3),
        "shards": Stage(run_shards, shards, shards.folder, 6),
        # After the shards, for it tells of the scores that they leave in the run.
        "report": Stage(run_report, report, report.folder, 6),
        "train": Stage(run_train, train, train.run_dir, 6),
        "evaluate": Stage(evaluate, measure, measure.folder, 6),
    }


def work(stage: Stage) -> None:
    torch.set_num_threads(1)  # several on busy cores take several times as long
    stage.run(stage.settings)


def start(stage: Stage) -> Any:
    child = FORK.Process(target=work, args=(stage,))
    child.start()
    return child


def finish(stage: Stage) -> None:
    child = start(stage)
    child.join()
    assert child.exitcode == 0


def content(folder: Path) -> dict[str, str]:
    """Every file that must be the same again, whoever was killed while writing it."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(fnmatchcase(path.name, pattern) for pattern in HOLDS_TIMES)
    }


@pytest.fixture(scope="module")
def chain(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Stage, dict[str, str], float]]:
    """A stage that has run undisturbed after those before it: what it wrote, and its seconds."""
    made = stages(tmp_path_factory.mktemp("chain"))
    known: dict[str, tuple[Stage, dict[str, str], float]] = {}

    def undisturbed(name: str) -> tuple[Stage, dict[str, str], float]:
        for each, stage in made.items():
            if each not in known:
                started = time.monotonic()
                finish(stage)
                known[each] = stage, content(stage.folder), time.monotonic() - started
            if each == name:
                return known[name]
        raise KeyError(name)

    return undisturbed


@pytest.fixture
def disturbed(
    chain: Callable[[str], tuple[Stage, dict[str, str], float]], request: pytest.FixtureRequest
) -> Any:
    """The stage with its results put aside; they come back for the stages after it."""
    stage, expected, whole_s = chain(request.param)
    aside = stage.folder.with_name(f"{stage.folder.name}-undisturbed")
    stage.folder.rename(aside)
    yield stage, expected, whole_s
    shutil.rmtree(stage.folder, ignore_errors=True)
    aside.rename(stage.folder)


EVERY_STAGE = pytest.mark.parametrize(
    "disturbed", ["pseudo-gt", "shards", "report", "train", "evaluate"], indirect=True
)


@EVERY_STAGE
def test_killed_at_random_moments_a_rerun_ends_in_the_same_bytes(disturbed: Any) -> None:
    stage, expected, whole_s = disturbed
    moments, killed, attempts = random.Random(stage.folder.name), 0, 0
    while killed < stage.kills:
        attempts += 1
        assert attempts < 10 * stage.kills
        child = start(stage)
        child.join(timeout=moments.uniform(0, whole_s))
        if child.is_alive():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            killed += 1
        child.join()
        if child.exitcode == 0:  # all was there before the moment came
            shutil.rmtree(stage.folder)
    finish(stage)
    assert content(stage.folder) == expected
    assert not list(stage.folder.rglob("*.tmp"))


def fail_at(write: int, number: int, away: Path | None, stage: Stage, told: Path) -> None:
    """Run the stage until so many files were written; then the disk fails, for good."""
    own, done = artifacts._fsync, [0]

    def failing(path: Path) -> None:
        done[0] += 1
        if done[0] < write:
            own(path)
        elif away is None:
            raise OSError(number, os.strerror(number), str(path))
        else:
            if stage.folder.exists() and not away.exists():
                stage.folder.rename(away)
            own(path)

    artifacts._fsync = failing
    try:
        require_writable(stage.folder)
        work(stage)
    except OutputFailed as error:
        told.write_text(str(error))


@EVERY_STAGE
def test_a_failing_disk_is_told_and_the_rerun_ends_in_the_same_bytes(
    disturbed: Any, tmp_path: Path
) -> None:
    stage, expected, _ = disturbed
    moments = random.Random(stage.folder.name)
    told, away = tmp_path / "told.txt", stage.folder.with_name("disconnected")
    for number, place, words in (
        (errno.ENOSPC, None, "no room left on the disk"),
        (errno.EROFS, None, "may not be written to"),
        (0, away, "cannot be reached any more"),
    ):
        told.unlink(missing_ok=True)
        child = FORK.Process(target=fail_at, args=(moments.randint(1, 12), number, place, stage, told))
        child.start()
        child.join()
        if place is not None and place.exists():  # the folder is connected again
            shutil.rmtree(stage.folder, ignore_errors=True)
            place.rename(stage.folder)
        assert words in told.read_text(), stage.folder
        assert "run the same command again; what was finished is kept" in told.read_text()
    finish(stage)
    assert content(stage.folder) == expected
