"""Task runners that reach other machines: Dask, and Ray for those who have it already."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

from prefect.task_runners import TaskRunner

from flows.errors import ServiceMissing
from flows.runner import start_worker
from pipelines.errors import BackendMissing
from pipelines.pseudo_gt.settings import RunnerSettings

_log = logging.getLogger(__name__)
_CONNECT_S: Final = 10
_LOCAL_DASK: Final[Mapping[str, Any]] = {
    "processes": True,
    "threads_per_worker": 1,
    "dashboard_address": None,
    "preload": [__name__],
}


def dask_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """Tasks go to the workers of the scheduler at the address, or to worker processes started here."""
    _require("dask", "distributed", "prefect_dask")
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.address is None:
        return DaskTaskRunner(cluster_kwargs={**_LOCAL_DASK, "n_workers": settings.workers})
    if _dask_workers(settings.address) == 0:
        _log.warning("no Dask worker is connected to %s yet; waiting for one", settings.address)
    return DaskTaskRunner(address=settings.address)


def ray_runner(settings: RunnerSettings) -> TaskRunner[Any]:
    """Tasks go to the Ray cluster at the address, or to one started here."""
    _require("ray", "ray", "prefect_ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from prefect_ray.task_runners import RayTaskRunner

    setup: dict[str, Any] = {"runtime_env": {"worker_process_setup_hook": start_worker}}
    if settings.address is None:
        setup |= {"num_cpus": settings.workers, "include_dashboard": False}
    return RayTaskRunner(address=settings.address, init_kwargs=setup)


def dask_setup(worker: object) -> None:
    """Called by Dask in every worker that is started with `--preload flows.clusters`."""
    start_worker()


def _dask_workers(address: str) -> int:
    from distributed import Client

    try:
        with Client(address, timeout=_CONNECT_S, set_as_default=False) as client:
            return len(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, ValueError) as error:
        raise ServiceMissing(
            "no Dask scheduler answers",
            where=address,
            found=str(error).partition("\n")[0],
            fix="start one with `dask scheduler --host <name> --port 8786` and give its tcp:// address as "
            "runner.address, or leave that empty to start workers on this machine",
        ) from None


def _require(extra: str, *packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise BackendMissing(
            f"runner.kind={extra} needs packages that are not installed",
            found=f"no {', '.join(missing)}",
            fix=f'pip install -e ".[{extra}]" -c constraints.txt, or choose runner.kind=process',
        )
