"""Settings of `make server`, `make worker`, `make deploy` and `make schedule-check`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from pipelines.config import Settings

FlowName = Literal["pseudo-gt", "shards", "train", "evaluate", "report", "all", "nightly"]


class ServerSettings(Settings):
    """Where the Prefect server is, and where it keeps what it knows."""

    home: Path = Path("outputs/prefect")
    """Its database (SQLite) and results go there."""
    host: str = "127.0.0.1"
    """Address it listens on. Workers on other machines need one that they can reach; whoever can reach it
    can run the flows, so never one that is open to the internet."""
    port: int = Field(4200, ge=1, le=65535)

    @property
    def address(self) -> str:
        """Of the user interface."""
        return f"http://{self.host}:{self.port}"

    @property
    def api(self) -> str:
        """Of the interface for programs."""
        return f"{self.address}/api"


class DeploymentSettings(Settings):
    """A flow that the server can start: from its run form, and by the clock."""

    flow: FlowName
    cron: str | None = None
    """Minute, hour, day of month, month, day of week; empty: only when asked for."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Those of the flow that differ from its defaults; the run form starts from them."""


def _defaults() -> dict[str, DeploymentSettings]:
    names: tuple[FlowName, ...] = ("pseudo-gt", "shards", "train", "evaluate", "report", "all")
    on_request: dict[str, DeploymentSettings] = {name: DeploymentSettings(flow=name) for name in names}
    return {**on_request, "nightly": DeploymentSettings(flow="nightly", cron="0 2 * * *")}


class DailySettings(Settings):
    """Everything about running the flows day by day."""

    server: ServerSettings = ServerSettings()
    pool: str = Field("prox", pattern=r"^[a-z0-9-]+$")
    """Work pool: what deployments hand their runs to and workers take them from."""
    runs_at_once: int = Field(1, ge=1)
    """Flow runs a worker has under way at the same time; each brings its own task workers."""
    timezone: str = "UTC"
    """Of the schedules, e.g. Europe/Zurich."""
    deployments: dict[str, DeploymentSettings] = Field(default_factory=_defaults)
    """By name; given ones replace all of the defaults."""
    silent_after_s: float = Field(150, ge=60)
    """A run counts as dead when it gave no sign of life for so long; runs give one every 30 s."""
    check_timeout_s: float = Field(240, gt=0)
    """`schedule-check` waits so long for a scheduled run to be executed."""

    @field_validator("timezone")
    @classmethod
    def _is_a_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("not a time zone of the IANA data base, such as Europe/Zurich") from None
        return name
