"""The report of a run as a Prefect flow: one task per recording, then one page over all."""

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
from pipelines.report.page import HEADLINE, MARKDOWN, PAGE, write_report
from pipelines.report.produce import report_recording
from pipelines.report.rerun_export import require_rerun
from pipelines.report.run import FinishedRun
from pipelines.report.settings import ReportSettings

_log = logging.getLogger(__name__)


# What is done is decided by the recordings' own markers, so Prefect's cache stays out of it.
@task(name="report-recording", task_run_name="report {recording}", cache_policy=NO_CACHE)
def report_one(settings: ReportSettings, recording: str) -> Path:
    """Figures, pictures and bodies of one recording."""
    with watched(settings.folder, "report", recording, settings.folder / recording):
        return report_recording(settings, recording)


@flow(name="report")
def report(settings: ReportSettings) -> Path:
    """Write the page over every recording that could be reported on; returns it.

    The tables and the headline chart also become Prefect artifacts.

    Raises:
        ProductionFailed: recordings failed; raised when the page over the others is written.
    """
    with watched(settings.folder, "run"):
        return _report_all(settings)


def _report_all(settings: ReportSettings) -> Path:
    recordings = FinishedRun.open(settings.run, settings.recordings).recordings
    with tasks_on(settings.runner):
        failures = collect(
            {report_one.submit(settings, name): name for name in recordings}, "recordings"
        )
    finished = [name for name in recordings if name not in failures]
    page = settings.folder / PAGE
    if finished:
        page = write_report(settings, finished)
        publish("report", settings.folder / MARKDOWN, settings.folder / HEADLINE)
    if failures:
        raise ProductionFailed(
            f"{len(failures)} of {len(recordings)} recordings could not be reported on",
            found="; ".join(f"{name}: {why}" for name, why in failures.items()),
            fix="mend the cause and run again; the other recordings are not measured again",
        )
    return page


def run_report(settings: ReportSettings) -> bool:
    """Run the flow with the runner of the settings and print where the page is; False if parts failed.

    Raises:
        BackendMissing: rerun is asked for but not installed.
        DataMissing: no such run, or nothing measured in it.
    """
    # Told before a Prefect server is started.
    if settings.rerun:
        require_rerun()
    FinishedRun.open(settings.run, settings.recordings)
    require_writable(settings.folder)
    try:
        page = run_flow(report, settings)
    except ProductionFailed as error:
        _log.error("%s", error)
        return False
    sys.stdout.write(f"{page}\n")
    return True
