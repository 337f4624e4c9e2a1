"""The main job as a Prefect flow: one task per recording, failures reported by name at the end."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish
from flows.runner import collect, run_flow, tasks_on
from pipelines.artifacts import require_writable
from pipelines.errors import FittingFailed
from pipelines.metrics.summary import read_table
from pipelines.metrics.tables import print_table
from pipelines.progress.events import watched
from pipelines.pseudo_gt.data import DataSource, data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import fit_recording
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.settings import PseudoGtSettings

_log = logging.getLogger(__name__)


# What is done is decided by the stages' own markers, so Prefect's cache stays out of it.
@task(name="fit-recording", task_run_name="fit {recording}", cache_policy=NO_CACHE)
def fit_and_measure(settings: PseudoGtSettings, data: DataSource, recording: str) -> Path:
    """All rows of the table for one recording, then their metrics and pictures."""
    log = partial(watched, settings.run_dir, unit=recording)
    results = settings.run_dir / "recordings" / recording
    with log("data"):
        prepare_recording(settings, data, recording)
    with log("fit", results=results):
        fit_recording(settings, data, recording)
    with log("metrics", results=results):
        return measure_recording(settings, data, recording)


@flow(name="pseudo-gt")
def pseudo_gt(settings: PseudoGtSettings) -> list[str]:
    """Fit and measure every recording and write the table; returns the recordings in it.

    Raises:
        FittingFailed: recordings failed; raised when all others are finished, naming each.
    """
    with watched(settings.run_dir, "run"):
        return _fit_all(settings)


def _fit_all(settings: PseudoGtSettings) -> list[str]:
    data = data_source(settings)
    recordings = list_recordings(settings, data)
    with tasks_on(settings.runner):
        futures = {fit_and_measure.submit(settings, data, name): name for name in recordings}
        failures = collect(futures, "recordings")
    finished = [name for name in recordings if name not in failures]
    if finished:
        write_table(settings, data, finished)
        publish("pseudo-gt", settings.run_dir / "metrics.md", settings.run_dir / "metrics.png")
    if failures:
        raise FittingFailed(
            f"{len(failures)} of {len(recordings)} recordings failed",
            found="; ".join(f"{name}: {why}" for name, why in failures.items()),
            fix="mend the cause and run again; finished recordings are not fitted again",
        )
    return finished


def run_pseudo_gt(settings: PseudoGtSettings) -> bool:
    """Run the flow with the runner of the settings and print the table; False if a recording failed."""
    require_writable(settings.run_dir)
    table_path = settings.run_dir / "metrics.json"
    table_path.unlink(missing_ok=True)  # so that what is printed was made by this run
    failure = None
    try:
        run_flow(pseudo_gt, settings)
    except FittingFailed as error:
        failure = error
    if table_path.is_file():
        print_table(read_table(table_path))
        _log.info("results: %s", settings.run_dir)
    if failure is not None:
        _log.error("%s", failure)
    return failure is None
