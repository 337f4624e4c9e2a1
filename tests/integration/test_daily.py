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
from typing import Any, Literal

import pytest

pytestmark = pytest.mark.slow
PATIENCE_S = 300
KINDS: tuple[Literal["flow", "task"], ...] = ("flow", "task")
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

    def runs(self, flow: str, kind: Literal["flow", "task"] = "flow") -> list[dict[str, Any]]:
        """Runs of this flow, or of its tasks, as the server tells them."""
        question = {"flows": {"name": {"any_": [flow]}}}
        request = urllib.request.Request(
            f"{self.api}/{kind}_runs/filter",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            found: list[dict[str, Any]] = json.load(response)
            return found

    def wait_for_log(self, name: str, words: str) -> None:
        log, until = self.folder / f"{name}.log", time.monotonic() + PATIENCE_S
        while words not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(1)

    def wait_until_running(self, flow: str) -> None:
        """Until the server knows that its task runs, too."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = [run["state_type"] for kind in KINDS for run in self.runs(flow, kind)]
            if found == ["RUNNING", "RUNNING"]:
                return
            time.sleep(1)
        raise TimeoutError(f"{flow} does not run: {self.runs(flow)}")


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
    in_background = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *daily.verb("worker")]
    with daily.running("worker", in_background):
        until = time.monotonic() + PATIENCE_S
        checked = daily.run("schedule-check")
        while "no worker takes runs" in checked.stderr and time.monotonic() < until:
            checked = daily.run("schedule-check")
    assert "stopped!" in (daily.folder / "worker.log").read_text()  # not killed
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
        daily.wait_until_running("killed")
        daily.wait_until_running("living")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert daily.run("close-zombies", f"silent_after_s={SILENT_S}").stdout == "0 run(s) closed\n"
        assert [run["state_type"] for run in daily.runs("killed")] == ["RUNNING"]  # a zombie
        # A worker that is started now waits until it is clear which of them lives.
        with daily.running("next", daily.verb("worker", f"silent_after_s={SILENT_S}")):
            daily.wait_for_log("next", "started!")
        told = (daily.folder / "next.log").read_text()
        assert told.count("closed with 1 task(s)") == 1
        assert [run["state_type"] for run in daily.runs("killed")] == ["CRASHED"]
        assert [run["state_type"] for run in daily.runs("killed", "task")] == ["CRASHED"]
        assert [run["state_type"] for run in daily.runs("living")] == ["RUNNING"]
