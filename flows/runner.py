"""How the tasks of a flow are run (on threads or in processes of their own), and waited for."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from tqdm import tqdm

from flows.environment import configure_logging, set_environment
from pipelines.pseudo_gt.settings import RunnerSettings

_log = logging.getLogger(__name__)


def build_task_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """The Prefect task runner of these settings."""
    if settings.kind == "thread":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    return ProcessPoolTaskRunner(max_workers=settings.workers, initializer=_start_worker)


def _start_worker() -> None:
    set_environment()
    configure_logging()


def collect(futures: dict[PrefectFuture[Path], str], what: str) -> dict[str, str]:
    """Wait for all, under a bar; one that fails is reported and does not stop the others.

    Returns:
        Why each that failed did, by name.
    """
    failures = {}
    bar = tqdm(total=len(futures), desc=what, unit="", disable=not sys.stderr.isatty())
    with bar:
        for future in as_completed(list(futures)):
            name = futures[future]
            try:
                future.result()
            except Exception as error:
                failures[name] = f"{type(error).__name__}: {error}"
                _log.error("%s failed: %s", name, failures[name])
            bar.update()
    return failures
