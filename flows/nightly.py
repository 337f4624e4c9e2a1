"""The night's work: what changed is fitted and measured again, then the page about the run is written."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.pseudo_gt import pseudo_gt
from flows.report import report
from flows.runner import run_flow
from pipelines.config import Settings
from pipelines.errors import DataMissing, FittingFailed
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.settings import ReportSettings


class NightlySettings(Settings):
    """The fits to keep up to date, and their page."""

    pseudo_gt: PseudoGtSettings = PseudoGtSettings()
    report: ReportSettings = ReportSettings()
    """Its `run` is always that of `pseudo_gt`."""


@flow(name="nightly")
def nightly(settings: NightlySettings) -> Path:
    """Fit recordings whose data, settings or code changed, measure them, and write the page.

    Recordings that fail do not keep the page over the others from being written.

    Raises:
        FittingFailed: recordings failed; raised when the page is written.
        ProductionFailed: the page lacks recordings.
    """
    failed: FittingFailed | None = None
    try:
        run_flow(pseudo_gt, settings.pseudo_gt)
    except FittingFailed as error:
        failed = error
    try:
        page = run_flow(report, settings.report.model_copy(update={"run": settings.pseudo_gt.run_dir}))
    except DataMissing:  # nothing to tell of: then why each recording failed is what counts
        if failed is None:
            raise
    if failed is not None:
        raise failed
    return page
