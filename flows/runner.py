"""How the tasks of a flow are run: on threads of this process, or in processes of their own."""

from __future__ import annotations

from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from flows.environment import configure_logging, set_environment
from pipelines.pseudo_gt.settings import RunnerSettings


def build_task_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """The Prefect task runner of these settings."""
    if settings.kind == "thread":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    return ProcessPoolTaskRunner(max_workers=settings.workers, initializer=_start_worker)


def _start_worker() -> None:
    set_environment()
    configure_logging()
