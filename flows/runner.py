"""How the tasks of a flow are run (threads, processes, other machines), and waited for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner
from tqdm import tqdm

from flows.environment import configure_logging, set_environment
from flows.failures import end_with_parent, is_lost_worker, reason_of, require_no_lost_worker
from pipelines.config import Settings
from pipelines.errors import WorkerLost
from pipelines.progress.remaining import Remaining
from pipelines.pseudo_gt.settings import RunnerSettings

_log = logging.getLogger(__name__)
R = TypeVar("R")


@contextmanager
def tasks_on(settings: RunnerSettings) -> Iterator[None]:
    """Within, the present flow run submits its tasks to the runner of these settings.

    Prefect fixes a flow's runner before its parameters are known. Set here, the runner is the one of the
    settings whoever starts the flow: a terminal, the run form or a schedule.
    """
    context = FlowRunContext.get()
    assert context is not None, "only within a flow"
    with build_task_runner(settings) as runner, context.model_copy(update={"task_runner": runner}):
        yield


def build_task_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """The Prefect task runner of these settings.

    Raises:
        BackendMissing: Dask or Ray is asked for but not installed.
        ServiceMissing: nothing answers at the cluster's address.
    """
    if settings.kind == "thread":
        return ThreadPoolTaskRunner(max_workers=settings.workers)
    if settings.kind == "process":
        return ProcessPoolTaskRunner(max_workers=settings.workers, initializer=start_worker)
    from flows import clusters  # its packages are optional

    return clusters.dask_runner(settings) if settings.kind == "dask" else clusters.ray_runner(settings)


def run_flow(flow: Flow[Any, R], settings: Settings) -> R:
    """Run a flow; after a lost worker process once more, with half the workers.

    Tasks are idempotent, so only what was not finished runs again.

    Raises:
        WorkerLost: again a worker was lost, or there was only one.
        PipelineError: as the flow.
    """
    runner = settings.runner  # type: ignore[attr-defined]
    try:
        return flow(settings)
    except WorkerLost as lost:
        if runner.workers == 1:
            raise
        fewer = runner.model_copy(update={"workers": runner.workers // 2})
        _log.warning("%s; once more with %d worker(s)", lost.what, fewer.workers)
    return flow(settings.model_copy(update={"runner": fewer}))


def start_worker() -> None:
    """What every process that runs tasks does first."""
    set_environment()
    configure_logging()
    end_with_parent()


def collect(futures: dict[PrefectFuture[Path], str], what: str) -> dict[str, str]:
    """Wait for all, telling how far it is; one that fails is reported and does not stop the others.

    Returns:
        Why each that failed did, by name.

    Raises:
        WorkerLost: worker processes were killed; the tasks that they took with them can be run again.
    """
    failures, lost = {}, []
    remaining, shown = Remaining(len(futures)), _progress_in_prefect(what)
    bar = tqdm(total=len(futures), desc=what, unit="", disable=not sys.stderr.isatty())
    with bar:
        for future in as_completed(list(futures)):
            name = futures[future]
            try:
                future.result()
            except Exception as error:
                if is_lost_worker(error):
                    lost.append(name)
                else:
                    failures[name] = reason_of(error)
                    _log.error("%s failed: %s", name, failures[name])
            bar.update()
            _log.info("%s: %s", what, remaining.one_more())
            if shown is not None:
                update_progress_artifact(shown, 100 * remaining.done / remaining.total, remaining.text())
    require_no_lost_worker(sorted(lost))
    return failures


def _progress_in_prefect(what: str) -> UUID | None:
    """A bar on the run's page; none where no flow is running."""
    if FlowRunContext.get() is None:
        return None
    found = create_progress_artifact(0.0, key=f"progress-{what}", description=f"{what} begun")
    return found if isinstance(found, UUID) else None
