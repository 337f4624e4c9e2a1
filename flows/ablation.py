"""The ablation as a Prefect flow."""

from __future__ import annotations

import logging
import sys

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from sahmr.ablation import AblationSettings, require_shards, run_ablation
from sahmr.evaluation.report import console_text
from sahmr.evaluation.table import Evaluation

_log = logging.getLogger(__name__)

# What is trained is decided by the trainings' own markers.
train_and_measure = task(name="ablation", cache_policy=NO_CACHE)(run_ablation)


@flow(name="ablation")
def ablation(settings: AblationSettings) -> Evaluation:
    """Train and measure every variant."""
    return train_and_measure(settings)


def run_ablation_flow(settings: AblationSettings) -> bool:
    """Run it, print the table, say where everything lies."""
    require_shards(settings)  # so that this is told before a Prefect server is started
    result = ablation(settings)
    sys.stdout.write(console_text(result))
    _log.info("results: %s", settings.out_dir)
    return True
