"""What a run will do before it does it: each stage of each recording, and why it is not done yet.

The keys compared are the very ones the run compares, so that plan and run cannot disagree. Nothing is
written and nothing is fitted; input files are listed (or read, with `inputs=content`) as a run does.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pipelines.artifacts import StageKey, read_marker, why_not_done
from pipelines.errors import PipelineError
from pipelines.progress.events import FINISHED, read_events
from pipelines.progress.settings import PlanRates
from pipelines.pseudo_gt.data import DataSource, data_source, list_recordings
from pipelines.pseudo_gt.fit import RecordingJob, baseline_key, baseline_name, export_key, humor_key
from pipelines.pseudo_gt.measure import metrics_key
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.synthetic.presets import synthetic_preset

_OF_THE_MACHINE = ("out_dir", "runner.")
DATA, BASELINE, HUMOR, EXPORT, METRICS = "data", "baseline", "humor", "export", "metrics"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """One stage of one unit: a recording, a shard, a network."""

    unit: str
    stage: str
    why: str | None
    """Why it will run; None when it is done."""
    amount: int
    """How many frames, samples, steps or images it works on."""
    cpu_s: float | None
    """Estimated; 0 when done, None where no rate was measured."""
    disk_mb: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages in the order they run, and what they will take."""

    stages: tuple[PlannedStage, ...]
    workers: int
    memory_gb: float
    free_disk_mb: float
    measured_on: str
    """Where the CPU rates come from."""
    changed_settings: tuple[str, ...] = ()
    """Settings that differ from those the run was last finished with, old and new value."""
    counted: str = "frames"
    """What the amounts of the stages count."""
    chain_s: float = 0.0
    """CPU time of the longest chain of units that wait for each other, where some do."""

    @property
    def open(self) -> list[PlannedStage]:
        """Stages that will run."""
        return [stage for stage in self.stages if stage.why is not None]

    @property
    def cpu_s(self) -> float:
        """All open stages whose time is known."""
        return math.fsum(stage.cpu_s or 0.0 for stage in self.stages)

    @property
    def unknown(self) -> list[str]:
        """Open stages without a measured rate."""
        return [f"{stage.unit} {stage.stage}" for stage in self.open if stage.cpu_s is None]

    @property
    def disk_mb(self) -> float:
        """New files of all open stages."""
        return math.fsum(stage.disk_mb for stage in self.stages)

    @property
    def wall_s(self) -> float:
        """With as many workers as there are cores and units; a unit is not split."""
        by_unit: dict[str, float] = {}
        for stage in self.stages:
            by_unit[stage.unit] = by_unit.get(stage.unit, 0.0) + (stage.cpu_s or 0.0)
        longest = max(by_unit.values(), default=0.0)
        return max(longest, self.chain_s, self.cpu_s / max(min(self.workers, os.cpu_count() or 1), 1))


def plan_run(settings: PseudoGtSettings, rates: PlanRates | None = None) -> Plan:
    """Look at every recording of a run.

    Raises:
        DataMissing: there is no recording to work on.
    """
    rates, measured_on = _own_rates(settings, rates or PlanRates())
    data = data_source(settings)
    recordings = list_recordings(settings, data)
    stages = [s for name in recordings for s in _plan_recording(settings, data, name, rates)]
    return make_plan(
        stages,
        settings.runner.workers,
        settings.run_dir,
        rates.memory_gb_per_worker,
        measured_on,
        changed_settings=_changed_settings(settings),
    )


def make_plan(
    stages: Sequence[PlannedStage],
    workers: int,
    folder: Path,
    memory_gb_per_worker: float,
    measured_on: str,
    counted: str = "frames",
    changed_settings: tuple[str, ...] = (),
) -> Plan:
    """What the stages take together where results go to `folder`; more workers than units stay idle."""
    workers = min(workers, len({stage.unit for stage in stages if stage.why is not None}))
    free_mb = shutil.disk_usage(_existing(folder)).free / 1e6
    memory_gb = workers * memory_gb_per_worker
    return Plan(tuple(stages), workers, memory_gb, free_mb, measured_on, changed_settings, counted)


def planned(
    unit: str, stage: str, why: str | None, amount: int, cpu_s_each: float | None, mb_each: float
) -> PlannedStage:
    """A stage and what it takes; nothing when it is done."""
    left = amount if why is not None else 0
    cpu_s = None if cpu_s_each is None and left else (cpu_s_each or 0.0) * left
    return PlannedStage(unit, stage, why, amount, cpu_s, mb_each * left)


def _plan_recording(
    settings: PseudoGtSettings, data: DataSource, recording: str, rates: PlanRates
) -> list[PlannedStage]:
    job = RecordingJob(settings, data, recording)
    missing = None if data.truth_root is None else _data_missing(data, recording)
    frames = _num_frames(settings, job, missing is None)
    stages: list[PlannedStage] = []
    if data.truth_root is not None:
        cost = (rates.synthesise_cpu_s_per_frame, rates.synthetic_mb_per_frame)
        stages.append(planned(recording, DATA, missing, frames, *cost))
    reasons = dict.fromkeys(_KEYS, "after data") if missing is not None else dict(_reasons(job))
    released = missing is None and baseline_name(job) == "proxd"  # read, not fitted
    for stage, why in reasons.items():
        cpu_s = getattr(rates, f"{stage}_cpu_s_per_frame") if stage != BASELINE or not released else 0.0
        disk_mb = rates.result_mb_per_frame / len(_KEYS)
        stages.append(planned(recording, stage, why, frames, cpu_s, disk_mb))
    return stages


def _reasons(job: RecordingJob) -> Iterator[tuple[str, str | None]]:
    """Why each stage will run; one that reads another's files is decided by what that one makes."""
    will_run: list[str] = []
    for stage, (make_key, needs) in _KEYS.items():
        waiting = [name for name in needs if name in will_run]
        why = f"after {' and '.join(waiting)}" if waiting else _why(job, make_key)
        if why is not None:
            will_run.append(stage)
        yield stage, why


def _why(job: RecordingJob, make_key: Callable[[RecordingJob], StageKey]) -> str | None:
    try:
        return why_not_done(job.folder, make_key(job))
    except PipelineError as error:
        return f"will fail: {error.what}"


def _data_missing(data: DataSource, recording: str) -> str | None:
    """Why a synthetic recording will be written.

    Whether it was written by the present generator only the run itself can tell.
    """
    roots = (data.prox_root, data.truth_root)
    markers = [read_marker(root, f"synthetic-{recording}") for root in roots if root is not None]
    return "no result yet" if any(marker is None for marker in markers) else None


def _num_frames(settings: PseudoGtSettings, job: RecordingJob, is_there: bool) -> int:
    if is_there:
        try:
            return len(job.dataset.frame_names(job.recording))
        except PipelineError:
            return 0
    specs = synthetic_preset(settings.preset, settings.synthetic_seed).recordings
    return next((spec.num_frames for spec in specs if spec.name == job.recording), 0)


def _changed_settings(settings: PseudoGtSettings) -> tuple[str, ...]:
    path = settings.run_dir / "settings.yaml"
    if not path.is_file():
        return ()
    old = _flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    new = _flat(settings.model_dump(mode="json"))
    names = [n for n in sorted({*old, *new}) if not n.startswith(_OF_THE_MACHINE)]
    pairs = [(name, old.get(name, "not there"), new.get(name, "not there")) for name in names]
    return tuple(f"{name}: {before} -> {after}" for name, before, after in pairs if before != after)


def _flat(tree: object, name: str = "") -> dict[str, object]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`; lists of groups by their place."""
    if isinstance(tree, Mapping):
        children: list[tuple[str, object]] = [(str(key), child) for key, child in tree.items()]
    elif isinstance(tree, list) and any(isinstance(child, Mapping) for child in tree):
        children = [(str(place), child) for place, child in enumerate(tree)]
    else:
        return {name: tree}
    flat: dict[str, object] = {}
    for key, child in children:
        flat |= _flat(child, f"{name}.{key}" if name else key)
    return flat


def _own_rates(settings: PseudoGtSettings, rates: PlanRates) -> tuple[PlanRates, str]:
    """The rates, by the times of recordings that this run has fitted from start to end."""
    cpu_s, frames, recordings = 0.0, 0, 0
    for event in read_events(settings.run_dir):
        stages = event.details.get("stages", ())
        if event.kind != FINISHED or event.what != "fit" or not {BASELINE, HUMOR} <= set(stages):
            continue
        marker = read_marker(settings.run_dir / "recordings" / event.unit, EXPORT)
        if marker is None or "frames" not in marker.summary:
            continue
        cpu_s, frames = cpu_s + float(event.details["cpu_s"]), frames + int(marker.summary["frames"])
        recordings += 1
    if frames == 0:
        return rates, "measured on the benchmark preset"
    known = rates.baseline_cpu_s_per_frame + rates.humor_cpu_s_per_frame + rates.export_cpu_s_per_frame
    factor = cpu_s / frames / known
    scaled = {name: getattr(rates, name) * factor for name in PlanRates.model_fields if "cpu_s" in name}
    return rates.model_copy(update=scaled), f"measured on {recordings} recording(s) of this run"


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


_KEYS: dict[str, tuple[Callable[[RecordingJob], StageKey], Sequence[str]]] = {
    BASELINE: (baseline_key, ()),
    HUMOR: (humor_key, ()),
    EXPORT: (export_key, (HUMOR,)),
    METRICS: (metrics_key, (BASELINE, HUMOR)),
}
"""Stage -> its key, and the stages whose files it reads."""
