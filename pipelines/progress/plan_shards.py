"""What `shards` will do: frames to score, files to write, and why."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.artifacts import why_not_done
from pipelines.errors import PipelineError
from pipelines.progress.plan import Plan, PlannedStage, make_plan, planned
from pipelines.progress.settings import ShardRates
from pipelines.quality.files import quality_key
from pipelines.shards.fit_source import FitSource
from pipelines.shards.produce import (
    Production,
    ShardWork,
    open_source,
    plan_production,
    recordings_to_score,
)
from pipelines.shards.settings import ShardsSettings

SCORE, SHARD = "score", "shard"
_MEASURED_ON = "measured on the benchmark preset"


def plan_shards_run(settings: ShardsSettings, rates: ShardRates | None = None) -> Plan:
    """Look at every recording and file of a set of shards.

    Raises:
        DataMissing: there is nothing to make shards of.
    """
    rates = rates or ShardRates()
    production = plan_production(settings)
    scores = list(_scores(production, rates))
    waiting = {stage.unit for stage in scores if stage.why is not None}
    return make_plan(
        [*scores, *_shards(production, waiting, rates)],
        settings.runner.workers,
        settings.folder,
        rates.memory_gb_per_worker,
        _MEASURED_ON,
    )


def _scores(production: Production, rates: ShardRates) -> Iterator[PlannedStage]:
    settings = production.settings
    names = recordings_to_score(production)
    if not names:
        return
    source = FitSource.open(settings)
    frames = {c.member.recording: c.num_frames for c in source.candidates()}
    for name in names:
        job = source.job(name)
        why = why_not_done(job.folder, quality_key(job, settings.quality))
        yield planned(name, SCORE, why, frames[name], rates.score_cpu_s_per_frame, 0.0)


def _shards(production: Production, waiting: set[str], rates: ShardRates) -> Iterator[PlannedStage]:
    settings, source = production.settings, open_source(production.settings)
    fitted = settings.source == "fit"
    cost = (
        (rates.shard_cpu_s_per_sample, rates.shard_mb_per_sample)
        if fitted
        else (rates.true_shard_cpu_s_per_sample, rates.true_shard_mb_per_sample)
    )
    for shard in production.shards:
        unscored = sorted({part.recording for part in shard.parts} & waiting)
        work = ShardWork(settings, source, shard)
        if unscored:
            why: str | None = f"after {SCORE} of {', '.join(unscored)}"
        else:
            try:
                why = why_not_done(settings.folder, work.made_from().key)
            except PipelineError as error:
                why = f"will fail: {error.what}"
        yield planned(shard.name, SHARD, why, work.num_frames, *cost)


def reckon_shards(settings: ShardsSettings, frames: int, rates: ShardRates | None = None) -> Plan:
    """The same for fits that are not there yet."""
    rates = rates or ShardRates()
    why = "after pseudo-gt"
    cost = (rates.shard_cpu_s_per_sample, rates.shard_mb_per_sample)
    stages = [planned("all", SHARD, why, len(range(0, frames, settings.stride)), *cost)]
    if settings.scored:
        stages.insert(0, planned("all", SCORE, why, frames, rates.score_cpu_s_per_frame, 0.0))
    return make_plan(
        stages, settings.runner.workers, settings.folder, rates.memory_gb_per_worker, _MEASURED_ON
    )
