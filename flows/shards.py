"""Training shards as a Prefect flow: one task per file, failures reported by name at the end."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish
from flows.runner import collect, run_flow, tasks_on
from pipelines.artifacts import require_writable
from pipelines.errors import ProductionFailed
from pipelines.progress.events import watched
from pipelines.shards.describe import describe_shards
from pipelines.shards.plan import PlannedShard
from pipelines.shards.produce import (
    plan_production,
    recordings_to_score,
    score_frames_of,
    write_planned_shard,
)
from pipelines.shards.settings import ShardsSettings

_log = logging.getLogger(__name__)


# What is done is decided by the shards' own manifests, so Prefect's cache stays out of it.
@task(name="write-shard", task_run_name="write {shard.name}", cache_policy=NO_CACHE)
def write_one(settings: ShardsSettings, shard: PlannedShard) -> Path:
    """One file and its manifest."""
    with watched(settings.folder, "shard", shard.name, settings.folder):
        return write_planned_shard(settings, shard)


@task(name="score-recording", task_run_name="score {recording}", cache_policy=NO_CACHE)
def score_one(settings: ShardsSettings, recording: str) -> Path:
    """Expected error, weight and reject reason of every frame of a fit."""
    with watched(settings.folder, "score", recording, settings.run / "recordings" / recording):
        return score_frames_of(settings, recording)


@flow(name="shards")
def shards(settings: ShardsSettings) -> Path:
    """Write every shard, then index, splits, statistics and card; returns the folder.

    Raises:
        ProductionFailed: shards failed; raised when all others are finished, naming each.
    """
    with watched(settings.folder, "run"):
        return _write_all(settings)


def _write_all(settings: ShardsSettings) -> Path:
    production = plan_production(settings)
    with tasks_on(settings.runner):
        # A recording without scores fails below, in the shards it is in.
        scored = {score_one.submit(settings, name): name for name in recordings_to_score(production)}
        collect(scored, "scores")
        written = {write_one.submit(settings, shard): shard.name for shard in production.shards}
        failures = collect(written, "shards")
    finished = [shard for shard in production.shards if shard.name not in failures]
    if finished:
        describe_shards(production, finished)
        publish("shards", settings.folder / "README.md")
    if failures:
        raise ProductionFailed(
            f"{len(failures)} of {len(production.shards)} shards failed",
            found="; ".join(f"{name}: {why}" for name, why in failures.items()),
            fix="mend the cause and run again; finished shards are not written again",
        )
    return settings.folder


def run_shards(settings: ShardsSettings) -> bool:
    """Run the flow with the runner of the settings; False if a shard failed.

    Raises:
        DataMissing: there is nothing to make shards of.
    """
    plan_production(settings)  # so that this is told before a Prefect server is started
    require_writable(settings.folder)
    try:
        folder = run_flow(shards, settings)
    except ProductionFailed as error:
        _log.error("%s", error)
        return False
    sys.stdout.write(f"{folder}\n")
    return True
