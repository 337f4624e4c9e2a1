"""Deployments and schedules on the server, made to be exactly those of the settings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType
from pydantic import ValidationError

from flows.deploy.registry import FLOWS
from flows.deploy.settings import DailySettings
from pipelines.config import validate_settings
from pipelines.errors import SettingsInvalid

_log = logging.getLogger(__name__)
TAG: Final = "prox-humor-gt"
"""Of every deployment made here; others on the server are left alone."""


def deploy(settings: DailySettings) -> list[str]:
    """Make, change and remove deployments; returns a line about each.

    Raises:
        SettingsInvalid: a schedule or the settings of a flow are wrong; nothing is deployed then.
    """
    wanted = {name: _deployment(settings, name) for name in settings.deployments}
    with get_client(sync_client=True) as client:
        make_pool(client, settings.pool)
        for deployment in wanted.values():
            deployment.apply()
        gone = _remove_others(client, set(wanted))
    lines = [
        f"{name}: {one.cron} ({settings.timezone})" if one.cron else f"{name}: on request"
        for name, one in settings.deployments.items()
    ]
    return [*lines, *(f"{name}: removed" for name in gone)]


def make_pool(client: SyncPrefectClient, name: str) -> None:
    """The work pool, where the server does not have it yet."""
    try:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        _log.debug("work pool %s is there", name)


def as_deployment(
    flow: Flow[Any, Any],
    name: str,
    pool: str,
    parameters: Mapping[str, Any],
    schedule: Schedule | None,
) -> RunnerDeployment:
    """A deployment that runs in the present folder, from the installed package, once at a time."""
    return RunnerDeployment.from_flow(
        flow,
        name,
        schedule=schedule,
        parameters=dict(parameters),
        tags=[TAG],
        work_pool_name=pool,
        concurrency_limit=1,
        job_variables={"working_dir": str(Path.cwd())},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _deployment(settings: DailySettings, name: str) -> RunnerDeployment:
    wanted = settings.deployments[name]
    known = FLOWS[wanted.flow]
    source = f"deployments.{name}.settings"
    settings_of_flow = validate_settings(known.settings, wanted.settings, source=source)
    # In full: the run form sends every value back, and would else send defaults where a preset has its own.
    parameters = {"settings": settings_of_flow.model_dump(mode="json")}
    schedule = _schedule(settings, name, wanted.cron)
    return as_deployment(known.flow, name, settings.pool, parameters, schedule)


def _schedule(settings: DailySettings, name: str, cron: str | None) -> Schedule | None:
    if cron is None:
        return None
    try:
        return Cron(cron, timezone=settings.timezone)
    except (ValueError, ValidationError):
        raise SettingsInvalid(
            "not a cron schedule",
            where=f"deployments.{name}.cron",
            expected="minute hour day-of-month month day-of-week, e.g. 0 2 * * * (every night at 2)",
            found=cron,
        ) from None


def _remove_others(client: SyncPrefectClient, wanted: set[str]) -> list[str]:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    others = [one for one in client.read_deployments(deployment_filter=ours) if one.name not in wanted]
    for deployment in others:
        client.delete_deployment(deployment.id)
    return [deployment.name for deployment in others]
