"""All stages as one Prefect flow: each is the flow it also is alone, on what the one before has left."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow
from pydantic import ValidationError, model_validator

from flows.evaluate import evaluation
from flows.pseudo_gt import pseudo_gt
from flows.report import report
from flows.runner import run_flow
from flows.shards import shards
from flows.train import train
from pipelines.artifacts import require_writable
from pipelines.config import Settings
from pipelines.errors import FittingFailed, ProductionFailed
from pipelines.metrics.summary import read_table
from pipelines.metrics.tables import print_table
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.settings import ReportSettings
from pipelines.shards.settings import ShardsSettings
from sahmr.evaluation.report import console_text
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.table import Evaluation
from sahmr.training.presets import merged
from sahmr.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
S = TypeVar("S", bound=Settings)


class AllSettings(Settings):
    """Everything `all` does. A stage reads what the one before writes, unless its own path is given."""

    pseudo_gt: PseudoGtSettings = PseudoGtSettings()
    shards: ShardsSettings = ShardsSettings()
    train: TrainingSettings = TrainingSettings()
    evaluate: EvaluationSettings = EvaluationSettings()
    report: ReportSettings = ReportSettings()

    @model_validator(mode="before")
    @classmethod
    def _connect(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        try:
            return {**values, **_connected(values)}
        except ValidationError:  # each field tells its own mistakes, with its name before them
            return {**{name: {} for name in cls.model_fields}, **values}


def _connected(values: Mapping[str, Any]) -> dict[str, Settings]:
    fits = _below({}, values.get("pseudo_gt"), PseudoGtSettings)
    files = _below({"run": fits.run_dir}, values.get("shards"), ShardsSettings)
    networks = _below({"data": {"shards": files.folder}}, values.get("train"), TrainingSettings)
    trained = {"train": networks.run_dir, "runs": fits.out_dir}
    return {
        "pseudo_gt": fits,
        "shards": files,
        "train": networks,
        "evaluate": _below(trained, values.get("evaluate"), EvaluationSettings),
        "report": _below({"run": fits.run_dir}, values.get("report"), ReportSettings),
    }


def _below(defaults: Mapping[str, Any], given: Any, record: type[S]) -> S:
    """Settings of a stage: what is given, and below it where the stage before has left its results."""
    if isinstance(given, record):
        return given
    return record.model_validate(merged(defaults, given or {}))


@dataclass(frozen=True, slots=True, eq=False)
class AllResults:
    """What a reader wants first."""

    evaluation: Evaluation
    """The networks' table."""
    page: Path
    """The report about the fits."""


@flow(name="all")
def all_stages(settings: AllSettings) -> AllResults:
    """Fits, shards, networks, their table, and the page about the fits.

    Raises:
        FittingFailed: recordings or networks failed; what needs them is not begun.
        ProductionFailed: shards or parts of the report failed.
    """
    run_flow(pseudo_gt, settings.pseudo_gt)
    run_flow(shards, settings.shards)
    run_flow(train, settings.train)
    measured = evaluation(settings.evaluate)
    return AllResults(measured, run_flow(report, settings.report))


def run_all(settings: AllSettings) -> bool:
    """Run every stage, print both tables and where the page is; False if a part failed.

    Raises:
        OutputFailed: results could not be written.
    """
    for folder in _folders(settings):
        require_writable(folder)
    try:
        results = all_stages(settings)
    except (FittingFailed, ProductionFailed) as error:
        _log.error("%s", error)
        return False
    print_table(read_table(settings.pseudo_gt.run_dir / "metrics.json"))
    sys.stdout.write(console_text(results.evaluation))
    for folder in _folders(settings):
        _log.info("results: %s", folder)
    sys.stdout.write(f"{results.page}\n")
    return True


def _folders(settings: AllSettings) -> tuple[Path, ...]:
    return (
        settings.pseudo_gt.run_dir,
        settings.shards.folder,
        settings.train.run_dir,
        settings.evaluate.folder,
        settings.report.folder,
    )
