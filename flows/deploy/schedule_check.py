"""Whether scheduled runs exist, and whether one really fires: what `deploy` alone does not tell."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Interval

from flows.deploy.deployments import TAG, as_deployment
from flows.deploy.settings import DailySettings
from flows.errors import ServiceMissing

_INTERVAL_S: Final = 15
_LOOK_EVERY_S: Final = 2
_ONLINE_S: Final = 90
"""A worker says every 30 s that it is there."""
_SCHEDULER_S: Final = 75
"""The server looks for runs to schedule every minute, at new deployments every few seconds."""


@flow(name="schedule-check")
def scheduled_probe() -> str:
    """Where a scheduled run is executed: by its worker, from the installed package, in its folder."""
    host = socket.gethostname()
    place = {"machine": host, "package": str(Path(__file__).parents[2]), "folder": str(Path.cwd())}
    create_table_artifact([place], key="schedule-check", description="Where scheduled runs are executed")
    return host


def check_schedules(settings: DailySettings) -> list[str]:
    """Look at every schedule and let one run be executed by the clock; returns a line about each.

    Raises:
        ServiceMissing: nothing is deployed, a schedule has no runs, no worker is there, or a scheduled run
            was not executed in time.
    """
    with get_client(sync_client=True) as client:
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        scheduled = [one for one in client.read_deployments(deployment_filter=ours) if one.schedules]
        if not scheduled:
            raise ServiceMissing(
                "no deployment with a schedule", where=settings.server.api, fix="run `make deploy`"
            )
        lines = [
            f"{one.name}: next run {_next_run(client, one):%Y-%m-%d %H:%M} UTC" for one in scheduled
        ]
        lines.append(f"worker {_require_worker(client, settings)} is there")
        run = _fired(client, settings)
    return [*lines, f"scheduled run {run.name}, due every {_INTERVAL_S} s, was executed by it"]


def _next_run(client: SyncPrefectClient, deployment: DeploymentResponse) -> datetime:
    """When the next run of a schedule is due, waiting for the scheduler's next look."""
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    )
    until = time.monotonic() + _SCHEDULER_S
    while True:
        runs = client.read_flow_runs(flow_run_filter=due, deployment_filter=_only(deployment.id))
        times = [
            run.expected_start_time for run in runs if run.auto_scheduled and run.expected_start_time
        ]
        if times:
            return min(times).astimezone(UTC)
        if time.monotonic() > until:
            raise ServiceMissing(
                "a schedule has no runs",
                where=f"deployment {deployment.name}",
                found="the server's scheduler made none",
                fix="see the server's own log; SQLAlchemy must be 2.0.x (constraints.txt), with 2.1 it fails",
            )
        time.sleep(_LOOK_EVERY_S)


def _require_worker(client: SyncPrefectClient, settings: DailySettings) -> str:
    """Name of a worker that was heard of lately."""
    try:
        workers = client.read_workers_for_work_pool(settings.pool)
    except ObjectNotFound:
        workers = []
    since = datetime.now(UTC) - timedelta(seconds=_ONLINE_S)
    online = [w.name for w in workers if w.last_heartbeat_time and w.last_heartbeat_time > since]
    if not online:
        raise ServiceMissing(
            "no worker takes runs",
            where=f"work pool {settings.pool}",
            found=f"{len(workers)} known, none heard of in the last {_ONLINE_S} s",
            fix="start one with `make worker`, on this or another machine",
        )
    return online[0]


def _fired(client: SyncPrefectClient, settings: DailySettings) -> FlowRun:
    """A run that the clock started and a worker executed to its end."""
    runs: list[FlowRun] = []
    with _probe(settings) as deployment:
        until = time.monotonic() + settings.check_timeout_s
        while time.monotonic() < until:
            runs = client.read_flow_runs(deployment_filter=_only(deployment))
            ended = [run for run in runs if run.state is not None and run.state.is_final()]
            for run in ended:
                if run.auto_scheduled and run.state is not None and run.state.is_completed():
                    return run
            time.sleep(_LOOK_EVERY_S)
    states = sorted(run.state_name or "?" for run in runs)
    raise ServiceMissing(
        "no scheduled run was executed",
        where=f"deployment schedule-check, work pool {settings.pool}",
        expected=f"one within {settings.check_timeout_s:.0f} s",
        found=f"runs in state {', '.join(states)}" if states else "the server's scheduler made no run",
        fix="see the worker's log; a worker that is busy with runs_at_once runs takes no more",
    )


@contextmanager
def _probe(settings: DailySettings) -> Iterator[UUID]:
    """A deployment that is due every few seconds, removed afterwards."""
    schedule = Interval(timedelta(seconds=_INTERVAL_S))
    made = as_deployment(scheduled_probe, "schedule-check", settings.pool, {}, schedule).apply()
    assert isinstance(made, UUID)
    try:
        yield made
    finally:
        with get_client(sync_client=True) as client:
            client.delete_deployment(made)


def _only(deployment: UUID) -> DeploymentFilter:
    return DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
