"""What `train` will do: networks to train, from which step on, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import Field

from pipelines.config import Settings
from pipelines.errors import DataMissing, PipelineError
from pipelines.progress.plan import Plan, PlannedStage, make_plan, planned
from sahmr.training.data import TrainingData, open_data
from sahmr.training.log import read_log
from sahmr.training.schedule import total_steps
from sahmr.training.settings import AFTER, StageName, TrainingSettings
from sahmr.training.stages import stage_folder, stages_to_train, why_not_trained
from sahmr.training.state import step_of

TRAIN: Final = "train"


class TrainingRates(Settings):
    """Of preset `tiny`: steps of eight samples on one thread, from the table of docs/training.md.

    A stage that has a log is estimated by the seconds in it; other presets have no rate before that.
    """

    start_s: float = Field(0.42, gt=0)
    rcnet_s: float = Field(0.55, gt=0)
    mesh_s: float = Field(0.79, gt=0)
    metro_s: float = Field(0.43, gt=0)
    samples: int = Field(8, ge=1)
    """Of the steps that were measured; others are scaled by their samples."""
    mb_per_network: float = Field(161.0, ge=0)
    """643 MB of weights and states of four networks."""
    memory_gb_per_worker: float = Field(1.2, gt=0)
    """Largest resident size seen."""


def plan_training(settings: TrainingSettings, rates: TrainingRates | None = None) -> Plan:
    """Look at every network of a training.

    Raises:
        DataMissing: there are no shards.
        SettingsInvalid: nothing to start from.
    """
    rates = rates or TrainingRates()
    names, data = stages_to_train(settings), open_data(settings.data)
    stages: list[PlannedStage] = []
    for name in names:
        waiting = [s.unit for s in stages if s.why is not None and s.unit in AFTER[name]]
        steps = planned_steps(settings, name, data.num_train)
        why = f"after {' and '.join(waiting)}" if waiting else _why(settings, name, data)
        if why is not None and not waiting:
            why, steps = _where_it_goes_on(settings, name, why, steps)
        stages.append(plan_stage(settings, name, why, steps, rates))
    return _plan(settings, stages, rates)


def reckon_training(
    settings: TrainingSettings, num_samples: int, rates: TrainingRates | None = None
) -> Plan:
    """The same for shards that are not there yet."""
    rates = rates or TrainingRates()
    lengths = {name: planned_steps(settings, name, num_samples) for name in stages_to_train(settings)}
    stages = [plan_stage(settings, name, "after shards", lengths[name], rates) for name in lengths]
    return _plan(settings, stages, rates)


def _plan(settings: TrainingSettings, stages: Sequence[PlannedStage], rates: TrainingRates) -> Plan:
    plan = make_plan(
        stages,
        settings.runner.workers,
        settings.run_dir,
        rates.memory_gb_per_worker,
        "the training's own log, else preset tiny",
        counted="steps",
    )
    cpu_s = {stage.unit: stage.cpu_s or 0.0 for stage in stages}
    ends: dict[str, float] = {}
    for name in cpu_s:
        ends[name] = cpu_s[name] + max((ends.get(b, 0.0) for b in AFTER[name]), default=0.0)
    return replace(plan, chain_s=max(ends.values(), default=0.0))


def plan_stage(
    settings: TrainingSettings, name: StageName, why: str | None, steps: int, rates: TrainingRates
) -> PlannedStage:
    """One network and what the steps that are left take."""
    cpu_s = _logged_rate(stage_folder(settings, name))
    if cpu_s is None and settings.preset == "tiny":
        samples = settings.stage(name).batch_size / rates.samples
        cpu_s = float(getattr(rates, f"{name}_s")) * samples
    return planned(name, TRAIN, why, steps, cpu_s, rates.mb_per_network / max(steps, 1))


def planned_steps(settings: TrainingSettings, name: StageName, num_samples: int) -> int:
    """How long a stage is with so many samples."""
    stage = settings.stage(name)
    return total_steps(stage, -(-num_samples // stage.batch_size))


def _why(settings: TrainingSettings, name: StageName, data: TrainingData) -> str | None:
    try:
        return why_not_trained(settings, name, data)
    except DataMissing as error:
        return f"will fail: {error.what}"


def _where_it_goes_on(
    settings: TrainingSettings, name: StageName, why: str, steps: int
) -> tuple[str, int]:
    try:
        done = step_of(stage_folder(settings, name))
    except PipelineError as error:
        return f"will fail: {error.what}", steps
    if why.endswith("changed"):
        return f"will be refused: {why}", steps
    return (f"stopped at step {done} of {steps}", steps - done) if done else (why, steps)


def _logged_rate(folder: Path) -> float | None:
    """Seconds a step, by the clock, of what was trained already."""
    rows = [row for row in read_log(folder) if row.get("kind") == "train" and row.get("seconds")]
    if not rows:
        return None
    return sum(sum(row["seconds"].values()) for row in rows) / rows[-1]["step"]
