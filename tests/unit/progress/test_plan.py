from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.artifacts import StageKey, write_marker, write_text
from pipelines.config import load_settings, settings_yaml
from pipelines.errors import DataMissing
from pipelines.metrics.settings import MetricSettings
from pipelines.progress import plan as module
from pipelines.progress.events import append_event
from pipelines.progress.plan import Plan, PlannedStage, plan_run
from pipelines.progress.plan_text import print_plan
from pipelines.progress.settings import PlanRates
from pipelines.pseudo_gt.data import DataSource
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings, RunnerSettings
from pipelines.synthetic.presets import synthetic_preset


def key(stage: str, settings: str = "s", code: str = "c", **inputs: str) -> StageKey:
    return StageKey(stage, settings, inputs, code)


@pytest.fixture
def job(tmp_path: Path) -> RecordingJob:
    """A recording whose four stages are done."""
    made = RecordingJob(
        PseudoGtSettings(out_dir=tmp_path), DataSource(tmp_path, None, None), "Room_1_01"
    )
    for stage in module._KEYS:
        write_text(made.folder / f"{stage}.txt", stage)
        write_marker(made.folder, key(stage, scene="1"), [made.folder / f"{stage}.txt"])
    return made


def reasons(
    job: RecordingJob, monkeypatch: pytest.MonkeyPatch, **changed: StageKey
) -> dict[str, str | None]:
    """Why stages run when some of their keys are other ones now."""
    now = {stage: changed.get(stage, key(stage, scene="1")) for stage in module._KEYS}
    keys = {
        stage: (lambda job, stage=stage: now[stage], needs) for stage, (_, needs) in module._KEYS.items()
    }
    monkeypatch.setattr(module, "_KEYS", keys)
    return dict(module._reasons(job))


def test_what_is_done_is_not_planned(job: RecordingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(reasons(job, monkeypatch).values()) == {None}


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (key("baseline", "other", scene="1"), "settings changed"),
        (key("baseline", code="other", scene="1"), "code changed"),
        (key("baseline", scene="2"), "input scene changed"),
    ],
)
def test_the_plan_says_what_changed(
    job: RecordingJob, monkeypatch: pytest.MonkeyPatch, now: StageKey, why: str
) -> None:
    assert reasons(job, monkeypatch, baseline=now) == {
        "baseline": why,
        "humor": None,
        "export": None,
        "metrics": "after baseline",
    }


def test_what_reads_a_stage_runs_after_it(job: RecordingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    (job.folder / "humor.txt").unlink()
    found = reasons(job, monkeypatch)
    assert found["humor"] == "humor.txt is missing"
    assert (found["export"], found["metrics"]) == ("after humor", "after humor")


def test_what_would_fail_is_told_beforehand(job: RecordingJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job: object) -> StageKey:
        raise DataMissing("no body model")

    monkeypatch.setattr(module, "_KEYS", {"baseline": (broken, ())})
    assert dict(module._reasons(job)) == {"baseline": "will fail: no body model"}


def test_a_run_that_was_not_begun_is_estimated_from_the_preset(tmp_path: Path) -> None:
    settings = PseudoGtSettings(out_dir=tmp_path, preset="first-run")
    rates = PlanRates()
    plan = plan_run(settings, rates)
    frames = sum(spec.num_frames for spec in synthetic_preset("first-run", 0).recordings)
    assert all(stage.why is not None for stage in plan.stages)
    each = [getattr(rates, name) for name in PlanRates.model_fields if "cpu_s" in name]
    assert plan.cpu_s == pytest.approx(frames * sum(each))
    assert plan.disk_mb == pytest.approx(
        frames * (rates.synthetic_mb_per_frame + rates.result_mb_per_frame)
    )
    assert plan.wall_s >= plan.cpu_s / 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "data_s", "fit_s", "metrics_s"),
    [("benchmark", 301.6, 4600.0, 87.3), ("first-run", 38.1, 455.7, 12.7)],
)
def test_the_estimate_is_near_what_runs_took(
    preset: str, data_s: float, fit_s: float, metrics_s: float, tmp_path: Path
) -> None:
    """CPU seconds that the events of two whole runs tell."""
    plan = plan_run(load_settings(PseudoGtSettings, None, [f"preset={preset}", f"out_dir={tmp_path}"]))
    assert plan.cpu_s == pytest.approx(data_s + fit_s + metrics_s, rel=0.1)


def test_own_times_replace_the_measured_rates(tmp_path: Path) -> None:
    settings = PseudoGtSettings(out_dir=tmp_path, preset="first-run")
    before = plan_run(settings).cpu_s
    place = settings.run_dir / "recordings" / "R"
    write_marker(place, key("export"), [], {"frames": 100})
    rates = PlanRates()
    fit = rates.baseline_cpu_s_per_frame + rates.humor_cpu_s_per_frame + rates.export_cpu_s_per_frame
    stages = ["baseline", "export", "humor"]
    append_event(settings.run_dir, "finished", "fit", "R", cpu_s=3 * fit * 100, stages=stages)
    append_event(settings.run_dir, "finished", "fit", "R", cpu_s=0.1, stages=[])  # found it done
    plan = plan_run(settings)
    assert plan.cpu_s == pytest.approx(3 * before)
    assert plan.measured_on == "measured on 1 recording(s) of this run"


def test_changed_settings_are_named(tmp_path: Path) -> None:
    old = PseudoGtSettings(out_dir=tmp_path)
    assert plan_run(old).changed_settings == ()
    write_text(old.run_dir / "settings.yaml", settings_yaml(old))
    metrics = MetricSettings(smell_test_px=150.0)
    new = old.model_copy(update={"metrics": metrics, "runner": RunnerSettings(workers=7)})
    assert plan_run(new).changed_settings == ("metrics.smell_test_px: 200.0 -> 150.0",)


def test_a_plan_is_told_in_full() -> None:
    stages = (
        PlannedStage("Room_1", "baseline", None, 10, 0.0, 0.0),
        PlannedStage("Room_1", "humor", "code changed", 10, 7200.0, 5000.0),
    )
    stream = io.StringIO()
    print_plan(Plan(stages, 2, 2.6, 100.0, "guessed"), Console(file=stream, width=140))
    text = stream.getvalue()
    assert "code changed" in text
    assert "1 of 2 stages will run: 2 h 00 min CPU time" in text
    assert "5.0 GB of disk (100 MB free)" in text
    assert "the disk is too small" in text
    assert "Done and up to date: baseline 1" in text
