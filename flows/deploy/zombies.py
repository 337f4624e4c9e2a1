"""Runs that the server believes to be under way although their process is gone.

A killed process tells the server nothing. Every flow run gives a sign of life every 30 s
(`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`); one that has been silent for much longer is dead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.states import Crashed

_log = logging.getLogger(__name__)
UNDER_WAY: Final = [StateType.RUNNING, StateType.CANCELLING]
_HEARTBEAT: Final = "prefect.flow-run.heartbeat"
_PAGE: Final = 200
_LOOK_EVERY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Zombie:
    """A run that was closed."""

    name: str
    flow_run_id: UUID
    silent_s: float
    """Since its last sign of life."""
    num_tasks: int
    """Task runs of it that were closed with it."""

    def to_text(self) -> str:
        """One line."""
        return f"{self.name}: no sign of life for {self.silent_s:.0f} s; closed with {self.num_tasks} task(s)"


def close_zombies(silent_after_s: float) -> list[Zombie]:
    """Mark as crashed every run under way that has been silent for longer, with its tasks."""
    now = datetime.now(UTC)
    closed = []
    with get_client(sync_client=True) as client:
        running = _flow_runs_under_way(client)
        alive = _last_signs_of_life(client, running)
        for run in running:
            silent_s = (now - alive[run.id]).total_seconds()
            if silent_s > silent_after_s:
                closed.append(_close(client, run, silent_s))
    for zombie in closed:
        _log.warning("%s", zombie.to_text())
    return closed


def close_zombies_of_before(silent_after_s: float) -> list[Zombie]:
    """The same for runs that were killed a moment ago, too.

    Waits until every run under way has given a sign of life since this was called, or is closed. A worker
    that is stopped takes its run with it; started again, it would find a run of which nobody can tell yet.
    """
    called = datetime.now(UTC)
    closed = close_zombies(silent_after_s)
    waiting = _silent_since(called)
    if waiting:
        _log.info("waiting for a sign of life of %s", ", ".join(run.name for run in waiting))
    while waiting:
        time.sleep(_LOOK_EVERY_S)
        closed += close_zombies(silent_after_s)
        waiting = _silent_since(called)
    return closed


def _silent_since(moment: datetime) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        running = _flow_runs_under_way(client)
        alive = _last_signs_of_life(client, running)
    return [run for run in running if alive[run.id] < moment]


def _began(run: FlowRun) -> datetime:
    """When it was last seen to change state; a run resumed after a pause began anew then."""
    state_time = run.state.timestamp if run.state is not None else None
    return state_time or run.start_time or datetime.min.replace(tzinfo=UTC)


def _flow_runs_under_way(client: SyncPrefectClient) -> list[FlowRun]:
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)))
    found: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=len(found)):
        found += page
    return found


def _last_signs_of_life(client: SyncPrefectClient, runs: Iterable[FlowRun]) -> dict[UUID, datetime]:
    last = {}
    for run in runs:
        last[run.id] = _began(run)
        wanted = EventFilter(
            event=EventNameFilter(name=[_HEARTBEAT]),
            occurred=EventOccurredFilter(since=_began(run)),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
        )
        events = client.read_events(filter=wanted, limit=1).events  # the newest first
        if events:
            last[run.id] = max(last[run.id], events[0].occurred)
    return last


def _close(client: SyncPrefectClient, run: FlowRun, silent_s: float) -> Zombie:
    message = f"no sign of life for {silent_s:.0f} s: its process was killed or its machine is gone"
    tasks = client.read_task_runs(
        task_run_filter=TaskRunFilter(
            flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]),
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.PENDING, *UNDER_WAY])),
        ),
        limit=_PAGE,
    )
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message=message), force=True)
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    return Zombie(run.name, run.id, silent_s, len(tasks))
