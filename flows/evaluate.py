"""Evaluation of trained networks as a Prefect flow."""

from __future__ import annotations

import logging
import sys

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import publish
from pipelines.artifacts import require_writable
from pipelines.progress.events import watched
from sahmr.evaluation.evaluate import CHART, REPORT, evaluate, require_inputs
from sahmr.evaluation.report import console_text
from sahmr.evaluation.settings import EvaluationSettings
from sahmr.evaluation.table import Evaluation

_log = logging.getLogger(__name__)

# Equal inputs are measured again: networks are quick, and a stale table is worse than a slow one.
evaluate_rows = task(name="evaluate", cache_policy=NO_CACHE)(evaluate)


@flow(name="evaluate")
def evaluation(settings: EvaluationSettings) -> Evaluation:
    """Measure every trained network on the held-out side of the shards."""
    with watched(settings.folder, "run"):
        result = evaluate_rows(settings)
        publish("evaluation", settings.folder / REPORT, settings.folder / CHART)
        return result


def run_evaluation(settings: EvaluationSettings) -> bool:
    """Measure, print the table, say where everything lies."""
    require_inputs(settings)  # so that this is told before a Prefect server is started
    require_writable(settings.folder)
    result = evaluation(settings)
    sys.stdout.write(console_text(result))
    _log.info("results: %s", settings.folder)
    return True
