"""One setting decides where tasks run; what they give does not depend on it."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow, task

from flows import clusters
from flows.environment import set_environment
from flows.errors import ServiceMissing
from flows.runner import build_task_runner, collect, tasks_on
from pipelines.errors import BackendMissing
from pipelines.pseudo_gt.settings import RunnerSettings

NEEDS = {"dask": "prefect_dask", "ray": "prefect_ray"}


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    set_environment()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thread", "process", "dask", "ray"])
def test_every_runner_does_all_tasks_and_names_those_that_fail(
    prefect_server: None, kind: str, tmp_path: Path
) -> None:
    if kind in NEEDS and importlib.util.find_spec(NEEDS[kind]) is None:
        pytest.skip(f'pip install -e ".[{kind}]" -c constraints.txt')

    @task
    def write(folder: Path, name: str) -> Path:
        if name == "bad":
            raise ValueError("no such person")
        path = folder / name
        path.write_text(str(os.getpid()))
        return path

    @flow(name=f"with-{kind}")
    def write_all(folder: Path, runner: RunnerSettings) -> dict[str, str]:
        with tasks_on(runner):
            return collect({write.submit(folder, name): name for name in ("a", "bad", "c")}, "files")

    failures = write_all(tmp_path, RunnerSettings(kind=kind, workers=2))  # type: ignore[arg-type]
    assert failures == {"bad": "ValueError: no such person"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    here = {path.read_text() for path in tmp_path.iterdir()} == {str(os.getpid())}
    assert here == (kind == "thread")


def test_a_scheduler_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prefect_dask", reason='pip install -e ".[dask]" -c constraints.txt')
    monkeypatch.setattr(clusters, "_CONNECT_S", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"  # bound, but nobody listens
        with pytest.raises(ServiceMissing, match="no Dask scheduler answers") as refusal:
            build_task_runner(RunnerSettings(kind="dask", address=address))
    assert address in str(refusal.value)
    assert "dask scheduler --host" in str(refusal.value)


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_runner_that_is_not_installed_names_its_extra(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match=f"runner.kind={kind}") as refusal:
        build_task_runner(RunnerSettings(kind=kind))  # type: ignore[arg-type]
    assert f".[{kind}]" in str(refusal.value)
