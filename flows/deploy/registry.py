"""The flows that can be deployed, and the settings records that their run forms show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from prefect import Flow

from flows.all_stages import AllSettings, all_stages
from flows.deploy.settings import FlowName
from flows.evaluate import evaluation
from flows.nightly import NightlySettings, nightly
from flows.pseudo_gt import pseudo_gt
from flows.report import report
from flows.shards import shards
from flows.train import train
from pipelines.config import Settings
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.report.settings import ReportSettings
from pipelines.shards.settings import ShardsSettings
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class DeployableFlow:
    """A flow whose one parameter, `settings`, is such a record."""

    flow: Flow[Any, Any]
    settings: type[Settings]


FLOWS: Final[Mapping[FlowName, DeployableFlow]] = {
    "pseudo-gt": DeployableFlow(pseudo_gt, PseudoGtSettings),
    "shards": DeployableFlow(shards, ShardsSettings),
    "train": DeployableFlow(train, TrainingSettings),
    "evaluate": DeployableFlow(evaluation, EvaluationSettings),
    "report": DeployableFlow(report, ReportSettings),
    "all": DeployableFlow(all_stages, AllSettings),
    "nightly": DeployableFlow(nightly, NightlySettings),
}
