"""A real server and a real worker: a scheduled run is executed, runs of killed processes are closed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 300
SILENT_S = 65
SLEEPER = """
from flows.environment import set_environment
set_environment()
import sys, time
from prefect import flow, task
@task
def sleep():
    time.sleep(600)
@flow(name=sys.argv[1])
def sleeping():
    sleep()
sleeping()
"""


@dataclass(frozen=True)
class Daily:
    """A server of its own."""

    folder: Path
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        own = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PREFECT_HOME": str(self.folder / "home")}
        return {**os.environ, **own, "PREFECT_API_URL": self.api}

    def verb(self, *arguments: str) -> list[str]:
        place = [f"server.port={self.port}", f"server.home={self.folder / 'home'}"]
        return [sys.executable, "-m", "flows", *arguments, *place]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.verb(*arguments), env=self.environment, capture_output=True, text=True, check=False
        )

    @contextmanager
    def running(self, name: str, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Flow runs of this flow, as the server tells them."""
        question = {"flows": {"name": {"any_": [flow]}}}
        request = urllib.request.Request(
            f"{self.api}/flow_runs/filter",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            found: list[dict[str, Any]] = json.load(response)
            return found

    def wait_for_state(self, flow: str, state: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if [run["state_type"] for run in self.runs(flow)] == [state]:
                return
            time.sleep(1)
        raise TimeoutError(f"{flow} is not {state}: {self.runs(flow)}")


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daily]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = Daily(tmp_path_factory.mktemp("daily"), port)
    with own.running("server", own.verb("server")):
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"{own.api}/health", timeout=5)
                break
            except OSError:
                time.sleep(1)
        yield own


def test_a_scheduled_run_is_executed_by_a_worker(daily: Daily) -> None:
    nothing = daily.run("schedule-check")
    assert nothing.returncode == 2
    assert "make deploy" in nothing.stderr
    deployed = daily.run("deploy")
    assert deployed.returncode == 0, deployed.stderr
    assert "nightly: 0 2 * * * (UTC)" in deployed.stdout
    lonely = daily.run("schedule-check")
    assert lonely.returncode == 2
    assert "no worker takes runs" in lonely.stderr
    assert "make worker" in lonely.stderr
    with daily.running("worker", daily.verb("worker")):
        until = time.monotonic() + PATIENCE_S
        checked = daily.run("schedule-check")
        while "no worker takes runs" in checked.stderr and time.monotonic() < until:
            checked = daily.run("schedule-check")
    assert checked.returncode == 0, checked.stderr
    assert "nightly: next run" in checked.stdout
    assert "was executed" in checked.stdout
    executed = [run for run in daily.runs("schedule-check") if run["state_type"] == "COMPLETED"]
    assert executed
    assert all(run["auto_scheduled"] and run["work_pool_name"] == "prox" for run in executed)


def test_deployments_no_longer_wanted_are_removed(daily: Daily) -> None:
    assert daily.run("deploy").returncode == 0
    fewer = daily.run("deploy", "deployments={only: {flow: report, cron: 0 5 * * 1}}")
    assert fewer.returncode == 0, fewer.stderr
    assert "only: 0 5 * * 1 (UTC)" in fewer.stdout
    assert "nightly: removed" in fewer.stdout


def test_the_run_of_a_killed_process_is_closed_and_a_living_one_is_not(daily: Daily) -> None:
    sleeper = [sys.executable, "-c", SLEEPER]
    with (
        daily.running("killed", [*sleeper, "killed"]) as killed,
        daily.running("living", [*sleeper, "living"]),
    ):
        daily.wait_for_state("killed", "RUNNING")
        daily.wait_for_state("living", "RUNNING")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert daily.run("close-zombies", f"silent_after_s={SILENT_S}").stdout == "0 run(s) closed\n"
        assert [run["state_type"] for run in daily.runs("killed")] == ["RUNNING"]  # a zombie
        time.sleep(SILENT_S + 5)
        closed = daily.run("close-zombies", f"silent_after_s={SILENT_S}")
        assert closed.stdout == "1 run(s) closed\n"
        assert "closed with 1 task(s)" in closed.stderr
        assert [run["state_type"] for run in daily.runs("killed")] == ["CRASHED"]
        assert [run["state_type"] for run in daily.runs("living")] == ["RUNNING"]
