"""The flow under a real (temporary) Prefect server: one failure does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.pseudo_gt as module
from flows.environment import set_environment
from pipelines.errors import DataInvalid, FittingFailed
from pipelines.pseudo_gt.data import DataSource
from pipelines.pseudo_gt.settings import PseudoGtSettings, RunnerSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    set_environment()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def test_one_failed_recording_is_named_and_the_others_finish(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    tables: list[list[str]] = []

    def fit(settings: PseudoGtSettings, data: DataSource, recording: str) -> Path:
        if recording == "bad":
            raise DataInvalid("keypoints are mirrored", where=recording)
        done.append(recording)
        return tmp_path

    monkeypatch.setattr(module, "list_recordings", lambda settings, data: ("a", "bad", "c"))
    monkeypatch.setattr(module, "prepare_recording", lambda *_: None)
    monkeypatch.setattr(module, "fit_recording", fit)
    monkeypatch.setattr(module, "measure_recording", lambda *_: tmp_path)
    monkeypatch.setattr(module, "write_table", lambda settings, data, names: tables.append(list(names)))
    monkeypatch.setattr(module, "publish", lambda *_: None)
    settings = PseudoGtSettings(out_dir=tmp_path, runner=RunnerSettings(kind="thread"))

    with pytest.raises(FittingFailed, match="1 of 3 recordings failed") as failure:
        module.pseudo_gt(settings)

    assert "bad: DataInvalid: keypoints are mirrored" in str(failure.value)
    assert sorted(done) == ["a", "c"]
    assert tables == [["a", "c"]]
