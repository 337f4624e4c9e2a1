"""A Dask worker is killed in the middle of a run over recordings: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from pipelines.artifacts import hash_file
from pipelines.bodies.files import resolve_body_files
from pipelines.config import load_settings
from pipelines.progress.events import FINISHED, STARTED, Event, read_events
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import fit_recording
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.synthetic.presets import RecordingSpec, SyntheticSettings
from pipelines.synthetic.prox_tree import write_prox_tree

pytestmark = pytest.mark.slow
pytest.importorskip("prefect_dask", reason='pip install -e ".[dask]" -c constraints.txt')

T = TypeVar("T")
PATIENCE_S = 900
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
OF_THE_RUN = ("settings.yaml", "events.jsonl")
"""Name the output folder, and what happened when; all other files must be equal."""


@pytest.fixture(scope="module")
def prox_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small recordings as a user would own them."""
    folder = tmp_path_factory.mktemp("data")
    specs = [("Lounge", 34, "sofa_rise"), ("Hallway", 159, "walk")]
    recordings = tuple(
        RecordingSpec(scene=scene, subject=subject, family=family, num_frames=6, seed=3, clutter=1)
        for scene, subject, family in specs
    )
    settings = SyntheticSettings(preset="own", recordings=recordings, sdf_size=48, scan_edge_m=0.06)
    write_prox_tree(folder / "prox", folder / "truth", settings, resolve_body_files(None))
    return folder / "prox"


def overrides(prox_root: Path, out_dir: Path) -> list[str]:
    quick = ["baseline.solver.iterations=8", "pictures.frames_per_recording=1"]
    return [f"prox.root={prox_root}", f"out_dir={out_dir}", *quick]


@pytest.fixture(scope="module")
def undisturbed(prox_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the flow's tasks write when one process does all of them."""
    out_dir = tmp_path_factory.mktemp("undisturbed")
    settings = load_settings(PseudoGtSettings, None, overrides(prox_root, out_dir))
    data = data_source(settings)
    recordings = list_recordings(settings, data)
    for recording in recordings:
        prepare_recording(settings, data, recording)
        fit_recording(settings, data, recording)
        measure_recording(settings, data, recording)
    write_table(settings, data, recordings)
    return hashes(settings.run_dir)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: hash_file(path) for name, path in named.items() if name not in OF_THE_RUN}


@contextmanager
def running(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own, ended with the test; what it says goes to a file."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=ENVIRONMENT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_for(what: str, ask: Callable[[], T | None]) -> T:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = ask()
        if found is not None:
            return found
        time.sleep(0.2)
    raise TimeoutError(what)


def in_the_middle(run_dir: Path, pids: set[int]) -> Event | None:
    """A fit by one of these processes whose first stage is done and whose last is not."""
    for event in read_events(run_dir):
        folder = run_dir / "recordings" / event.unit
        begun = event.kind == STARTED and event.what == "fit" and event.details["pid"] in pids
        half_done = (folder / "baseline.done.json").is_file() and not (
            folder / "export.done.json"
        ).is_file()
        if begun and half_done:
            return event
    return None


def listens(port: int) -> bool | None:
    with socket.socket() as probe:
        return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None


def test_after_a_killed_worker_the_same_files_are_there(
    prox_root: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    # Without the nanny, which would start a killed worker anew.
    worker = ["dask", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    worker += ["--preload", "flows.clusters", "--local-directory", str(tmp_path / "dask")]
    runner = ["runner.kind=dask", f"runner.address={address}"]
    command = ["flows", "pseudo-gt", *overrides(prox_root, tmp_path / "out"), *runner]
    run_dir = tmp_path / "out" / "prox"
    with (
        running(tmp_path, "scheduler", *scheduler) as scheduling,
        running(tmp_path, "first", *worker) as first,
        running(tmp_path, "second", *worker) as second,
    ):
        wait_for("scheduler", lambda: listens(port))
        with running(tmp_path, "flow", *command) as flow:
            workers = {process.pid: process for process in (first, second)}

            def ready() -> Event | None:
                assert flow.poll() is None, (tmp_path / "flow.log").read_text()
                return in_the_middle(run_dir, set(workers))

            killed = wait_for("a fit in the middle", ready)
            os.kill(killed.details["pid"], signal.SIGKILL)
            assert flow.wait(PATIENCE_S) == 0, (tmp_path / "flow.log").read_text()
        assert scheduling.poll() is None
        assert workers[killed.details["pid"]].wait(10) == -signal.SIGKILL

    fits = [event for event in read_events(run_dir) if event.what == "fit"]
    finished = sorted(event.unit for event in fits if event.kind == FINISHED)
    assert finished == ["Hallway_00159_01", "Lounge_00034_01"]
    again = [event for event in fits if event.kind == STARTED and event.unit == killed.unit]
    assert len(again) == 2
    assert again[0].details["pid"] != again[1].details["pid"]
    stages = [e.details["stages"] for e in fits if e.kind == FINISHED and e.unit == killed.unit]
    assert "baseline" not in stages[0]  # what the killed worker had finished was kept
    assert hashes(run_dir) == undisturbed
    assert json.loads((run_dir / "metrics.json").read_text())["data"]["recordings"] == finished
