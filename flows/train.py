"""Training as a Prefect flow: one task per network; METRO is trained beside SA-HMR's two stages."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.artifacts import publish
from flows.runner import collect, run_flow, tasks_on
from pipelines.artifacts import require_writable
from pipelines.errors import FittingFailed
from pipelines.progress.events import watched
from sahmr.training.card import CARD_FILE
from sahmr.training.ranks import joined_ranks
from sahmr.training.settings import AFTER, StageName, TrainingSettings
from sahmr.training.stages import stage_folder, stages_to_train, train_stage

_log = logging.getLogger(__name__)


# What is done is decided by the trainings' own markers and checkpoints, so Prefect's cache stays out of it.
@task(name="train-network", task_run_name="train {stage}", cache_policy=NO_CACHE)
def train_one(settings: TrainingSettings, stage: StageName) -> Path:
    """One network, from its last checkpoint to its end."""
    with watched(settings.run_dir, "train", stage, stage_folder(settings, stage)):
        return train_stage(settings, stage)


@flow(name="train")
def train(settings: TrainingSettings) -> Path:
    """Train every network of the run; returns its folder.

    Raises:
        FittingFailed: trainings failed; raised when those that do not need them are finished, naming each.
    """
    with watched(settings.run_dir, "run"):
        return _train_all(settings)


def _train_all(settings: TrainingSettings) -> Path:
    futures: dict[StageName, PrefectFuture[Path]] = {}
    with tasks_on(settings.runner):
        for stage in stages_to_train(settings):
            before = [futures[name] for name in AFTER[stage] if name in futures]
            futures[stage] = train_one.submit(settings, stage, wait_for=before, return_state=False)
        failures = collect({future: stage for stage, future in futures.items()}, "networks")
    for stage in futures:
        if stage not in failures:
            publish(f"network-{stage}", stage_folder(settings, stage) / CARD_FILE)
    if failures:
        raise FittingFailed(
            f"{len(failures)} of {len(futures)} trainings failed",
            where=settings.run_dir,
            found="; ".join(f"{stage}: {failures[stage]}" for stage in futures if stage in failures),
            fix="mend the cause and run again; trainings go on from their last checkpoints",
        )
    return settings.run_dir


def run_training(settings: TrainingSettings) -> bool:
    """Train with the runner of the settings, or stage by stage where torchrun started this process.

    Returns:
        False if a training failed.
    """
    # First of all, so that what is missing is told before a Prefect server is started.
    stages = stages_to_train(settings)
    if "WORLD_SIZE" in os.environ:
        # One group for all stages: a second one of the same torchrun would find the addresses of the first.
        with joined_ranks(settings.device):
            for stage in stages:
                train_stage(settings, stage)
    else:
        require_writable(settings.run_dir)
        try:
            run_flow(train, settings)
        except FittingFailed as error:
            _log.error("%s", error)
            return False
    sys.stdout.write(f"{settings.run_dir}\n")
    return True
