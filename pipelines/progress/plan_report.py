"""What `report` will do: recordings to measure and draw, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.artifacts import why_not_done
from pipelines.progress.plan import Plan, PlannedStage, make_plan, planned
from pipelines.progress.settings import ReportRates
from pipelines.report.produce import report_key
from pipelines.report.run import FinishedRun
from pipelines.report.settings import ReportSettings

REPORT, PAGE = "report", "page"


def plan_report_run(settings: ReportSettings, rates: ReportRates | None = None) -> Plan:
    """Look at every recording of a report; the page over them is written each time.

    Raises:
        DataMissing: no such run, or nothing measured in it.
    """
    rates = rates or ReportRates()
    run = FinishedRun.open(settings.run, settings.recordings)
    stages, frames = [], 0
    for name in run.recordings:
        count = len(run.metrics[name].frames.names)
        why = why_not_done(settings.folder / name, report_key(settings, run, name))
        stages.append(_recording(name, why, count, rates))
        frames += count
    return _plan(settings, [*stages, _page("written each time", frames, rates)], rates)


def reckon_report(settings: ReportSettings, frames: int, rates: ReportRates | None = None) -> Plan:
    """The same for fits that are not there yet."""
    rates, why = rates or ReportRates(), "after pseudo-gt"
    return _plan(settings, [_recording("all", why, frames, rates), _page(why, frames, rates)], rates)


def _recording(name: str, why: str | None, frames: int, rates: ReportRates) -> PlannedStage:
    each = rates.report_cpu_s_per_frame, rates.report_mb_per_frame
    return planned(name, REPORT, why, frames, *each)


def _page(why: str, frames: int, rates: ReportRates) -> PlannedStage:
    return planned("all", PAGE, why, frames, rates.page_cpu_s_per_frame, rates.page_mb_per_frame)


def _plan(settings: ReportSettings, stages: Sequence[PlannedStage], rates: ReportRates) -> Plan:
    return make_plan(
        stages,
        settings.runner.workers,
        settings.folder,
        rates.memory_gb_per_worker,
        "measured on the benchmark preset",
    )
