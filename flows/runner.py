"""How the tasks of a flow are run: in this process, on threads, or in processes."""

from __future__ import annotations

from typing import Any, Literal

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from flows.environment import configure_logging, set_environment
from pipelines.config import Settings


class RunnerSettings(Settings):
    """Where recordings are fitted."""

    kind: Literal["thread", "process"] = Field(
        default="process", description="Fits are Python-heavy: processes scale, threads share one lock."
    )
    workers: int = Field(default=2, ge=1, description="Recordings fitted at the same time.")


def build_task_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """The Prefect task runner of these settings."""
    if settings.kind == "thread":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    return ProcessPoolTaskRunner(max_workers=settings.workers, initializer=_start_worker)


def _start_worker() -> None:
    set_environment()
    configure_logging()
