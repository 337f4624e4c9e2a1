"""Killed workers, killed starters of workers, and failed disks: one sentence each, and a second try."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from flows.environment import set_environment
from flows.failures import end_with_parent, is_lost_worker, reason_of, require_no_lost_worker
from pipelines.errors import WorkerLost
from pipelines.pseudo_gt.settings import PseudoGtSettings, RunnerSettings


def test_a_failed_disk_is_told_in_a_sentence() -> None:
    told = reason_of(OSError(28, "No space left on device", "/data/x"))
    assert told.startswith("OutputFailed: no room left on the disk")
    assert reason_of(ValueError("bad")) == "ValueError: bad"


def test_lost_workers_are_told_with_what_to_do() -> None:
    assert is_lost_worker(BrokenProcessPool())
    assert not is_lost_worker(ValueError())
    require_no_lost_worker(())
    with pytest.raises(WorkerLost, match=r"killed[\s\S]*Room_1, Room_2[\s\S]*runner.workers=1"):
        require_no_lost_worker(("Room_1", "Room_2"))


LONG_S = 300
"""More than a crowded machine takes to start a process."""


def _sleep_as_worker() -> None:
    end_with_parent()
    time.sleep(LONG_S)


def _start_a_worker(queue: multiprocessing.Queue[int]) -> None:
    worker = multiprocessing.get_context("spawn").Process(target=_sleep_as_worker)
    worker.start()
    assert worker.pid is not None
    queue.put(worker.pid)
    time.sleep(LONG_S)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    starter = context.Process(target=_start_a_worker, args=(queue,))
    starter.start()
    worker = queue.get(timeout=LONG_S)
    time.sleep(0.5)
    assert _is_running(worker)
    assert starter.pid is not None
    os.kill(starter.pid, signal.SIGKILL)
    starter.join()
    for _ in range(5 * LONG_S):  # half of what the worker would live
        if not _is_running(worker):
            break
        time.sleep(0.1)
    assert not _is_running(worker)


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    set_environment()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def die_once(out_dir: Path, name: str) -> Path:
    """A task whose process is killed the first time, as by a full memory."""
    met = out_dir / f"{name}-met"
    if name == "b" and not met.exists():
        met.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (out_dir / name).touch()
    return out_dir / name


def die_always(out_dir: Path, name: str) -> Path:
    """A task that no machine has the memory for."""
    os.kill(os.getpid(), signal.SIGKILL)
    return out_dir / name


@pytest.mark.slow
def test_after_a_killed_worker_the_flow_runs_once_more_with_fewer(
    prefect_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    from flows.runner import collect, run_flow, tasks_on

    workers: list[int] = []
    settings = PseudoGtSettings(out_dir=tmp_path, runner=RunnerSettings(workers=3))

    def make(work):  # type: ignore[no-untyped-def]
        one = task(name="one", cache_policy=NO_CACHE)(work)

        @flow(name="lose-a-worker")
        def several(settings: PseudoGtSettings) -> str:
            workers.append(settings.runner.workers)
            with tasks_on(settings.runner):
                failures = collect({one.submit(settings.out_dir, n): n for n in "abcd"}, "units")
            return f"{len(failures)} failed"

        return several

    assert run_flow(make(die_once), settings) == "0 failed"
    assert workers == [3, 1]
    assert all((tmp_path / name).exists() for name in "abcd")
    with pytest.raises(WorkerLost, match="a worker process was killed"):
        run_flow(make(die_always), settings)
    assert workers == [3, 1, 3, 1]
