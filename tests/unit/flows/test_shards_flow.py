"""The shards flow: a run that is not there is told at once; one failed shard does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli import EXIT_USAGE, run
from flows.environment import set_environment
from pipelines.errors import DataInvalid, ProductionFailed
from pipelines.pseudo_gt.settings import RunnerSettings
from pipelines.shards.plan import PlannedShard
from pipelines.shards.produce import Production
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.splits import SplitDecision


def test_without_a_run_the_user_is_told_which_command_makes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["shards", f"run={tmp_path / 'first-run'}"]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert "no finished pseudo-gt run" in message
    assert "make pseudo-gt" in message


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    set_environment()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.mark.slow
def test_one_failed_shard_is_named_and_the_others_finish(
    prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.shards as module

    settings = ShardsSettings(out_dir=tmp_path, runner=RunnerSettings(kind="thread"))
    planned = tuple(PlannedShard(f"train-0000{number}", "train", ()) for number in range(3))
    plan = Production(settings, planned, SplitDecision("train-only", {}, None), {})
    done: list[str] = []
    described: list[list[str]] = []
    scored: list[str] = []

    def write(settings: ShardsSettings, shard: PlannedShard) -> Path:
        if shard.name.endswith("1"):
            raise DataInvalid("scan is broken", where="Lab_00034_01")
        done.append(shard.name)
        return tmp_path

    monkeypatch.setattr(module, "plan_production", lambda settings: plan)
    monkeypatch.setattr(module, "recordings_to_score", lambda production: ("Lab_00034_01",))
    monkeypatch.setattr(module, "score_frames_of", lambda settings, name: scored.append(name))
    monkeypatch.setattr(module, "write_planned_shard", write)
    monkeypatch.setattr(
        module, "describe_shards", lambda plan, finished: described.append([s.name for s in finished])
    )
    monkeypatch.setattr(module, "publish", lambda *_: None)
    with pytest.raises(ProductionFailed, match="1 of 3 shards failed") as failure:
        module.shards(settings)
    assert "train-00001: DataInvalid: scan is broken" in str(failure.value)
    assert scored == ["Lab_00034_01"]
    assert sorted(done) == ["train-00000", "train-00002"]
    assert described == [["train-00000", "train-00002"]]
