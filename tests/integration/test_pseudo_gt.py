"""The whole main job on the smallest synthetic tree: generate, read, fit, export, measure, resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.artifacts import hash_file, read_marker
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplx
from pipelines.config import load_settings
from pipelines.datasets.proxd import read_proxd
from pipelines.metrics.summary import MetricsTable
from pipelines.progress.plan import plan_run
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob, fit_recording
from pipelines.pseudo_gt.measure import measure_recording, write_table
from pipelines.pseudo_gt.result import read_result
from pipelines.pseudo_gt.settings import PseudoGtSettings

ROWS = ("prox_style", "vposer_t", "humor", "prox_humor")


def run(settings: PseudoGtSettings) -> MetricsTable:
    """What the flow does, without Prefect."""
    data = data_source(settings)
    recordings = list_recordings(settings, data)
    for recording in recordings:
        prepare_recording(settings, data, recording)
        fit_recording(settings, data, recording)
        measure_recording(settings, data, recording)
    return write_table(settings, data, recordings)


def tiny(out_dir: Path, *overrides: str) -> PseudoGtSettings:
    return load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={out_dir}", *overrides])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> PseudoGtSettings:
    return tiny(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def table(settings: PseudoGtSettings) -> MetricsTable:
    return run(settings)


@pytest.fixture(scope="module")
def job(settings: PseudoGtSettings, table: MetricsTable) -> RecordingJob:
    data = data_source(settings)
    return RecordingJob(settings, data, list_recordings(settings, data)[0])


def test_the_table_has_every_row_and_every_frame(table: MetricsTable) -> None:
    assert set(ROWS) <= set(table.methods)
    assert table.data.num_frames == 12
    for row in ROWS:
        assert table.accounting[row]["share"] == 1.0
    penetration = table.cell("prox_humor", "pen_pooled_v1")
    assert penetration is not None
    assert penetration.count > 0
    assert np.isfinite(penetration.value)


def test_fits_are_near_the_truth_and_smoother_than_the_baseline(table: MetricsTable) -> None:
    error = {row: table.cell(row, "v2v_v1") for row in ROWS}
    for row in ("prox_style", "prox_humor"):
        cell = error[row]
        assert cell is not None
        assert cell.unit == "mm"
        assert 1 < cell.value < 150
    rough = table.cell("prox_style", "accel_error_v1")
    smooth = table.cell("prox_humor", "accel_error_v1")
    assert rough is not None
    assert smooth is not None
    assert smooth.value < 0.5 * rough.value


def test_a_second_run_changes_nothing(settings: PseudoGtSettings, table: MetricsTable) -> None:
    before = {path: path.stat().st_mtime_ns for path in settings.run_dir.rglob("*.npz")}
    written = (settings.run_dir / "metrics.json").read_bytes()
    assert before
    run(settings)
    assert {path: path.stat().st_mtime_ns for path in settings.run_dir.rglob("*.npz")} == before
    assert (settings.run_dir / "metrics.json").read_bytes() == written


def test_the_plan_agrees_with_the_run(settings: PseudoGtSettings, table: MetricsTable) -> None:
    assert plan_run(settings).open == []

    def why(override: str) -> dict[str, str | None]:
        stages = plan_run(tiny(settings.out_dir, override)).open
        return {stage.stage: stage.why for stage in stages}

    assert why("metrics.smell_test_px=199") == {"metrics": "settings changed"}
    assert why("export.smplx=false") == {"export": "settings changed"}


def test_a_damaged_result_is_made_again(job: RecordingJob) -> None:
    path = job.folder / "pseudo_gt.npz"
    expected = hash_file(path)
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\xff")
    fit_recording(job.settings, job.data, job.recording)
    assert hash_file(path) == expected


def test_changed_metric_settings_leave_the_fits_alone(job: RecordingJob) -> None:
    stamp = job.fit_path("prox_humor").stat().st_mtime_ns
    changed = tiny(
        job.settings.out_dir, "metrics.confidence_threshold=0.5", "pictures.frames_per_recording=0"
    )
    measure_recording(changed, job.data, job.recording)
    assert job.fit_path("prox_humor").stat().st_mtime_ns == stamp
    marker = read_marker(job.folder, "metrics")
    assert marker is not None
    measure_recording(job.settings, job.data, job.recording)


def test_the_result_holds_both_models_in_both_frames(job: RecordingJob) -> None:
    result = read_result(job.folder / "pseudo_gt.npz")
    assert result["valid"].all()
    assert not any(result["status"])
    assert result["smplh_body_pose"].shape == (12, 63)
    assert result["smplx_conversion_v2v_m"].max() < 0.01
    names = {key for key in result if key.startswith("energy_")}
    assert {"energy_3c.points3d", "energy_3c.joints2d", "energy_3c.prox_penetration"} <= names
    vertices = posed_smplx(result, "smplx")
    world = posed_smplx(result, "smplx_world")
    T = torch.as_tensor(result["T_world_from_camera"], dtype=torch.float32)
    assert torch.allclose(vertices @ T[:3, :3].T + T[:3, 3], world, atol=2e-4)


def test_the_pickles_hold_the_same_bodies(job: RecordingJob) -> None:
    result = read_result(job.folder / "pseudo_gt.npz")
    folder = job.settings.run_dir / "PROXD" / job.recording / "results"
    for frame, name in enumerate(result["frame_names"]):
        stored = read_proxd(folder / str(name) / "000.pkl")
        np.testing.assert_allclose(
            stored["body_pose"].ravel(), result["smplx_body_pose"][frame], atol=1e-6
        )
        np.testing.assert_allclose(stored["transl"].ravel(), result["smplx_transl"][frame], atol=1e-6)


def test_no_result_names_a_path_of_this_machine(job: RecordingJob) -> None:
    for path in job.settings.run_dir.rglob("*.npz"):
        assert str(job.settings.out_dir).encode() not in path.read_bytes(), path
    for path in job.settings.run_dir.rglob("*.json"):
        assert str(job.settings.out_dir) not in path.read_text(), path


def posed_smplx(result: Mapping[str, np.ndarray], prefix: str) -> torch.Tensor:
    body = load_smplx(resolve_body_files(None), str(result["gender"]))  # type: ignore[arg-type]
    names = (
        "betas", "expression", "global_orient", "body_pose", "jaw_pose", "leye_pose", "reye_pose",
        "left_hand_pose", "right_hand_pose", "transl",
    )  # fmt: skip
    tensors = {n: torch.as_tensor(result[f"{prefix}_{n}"], dtype=torch.float32) for n in names}
    return body(**tensors).vertices


@pytest.mark.slow
def test_without_truth_the_same_tree_is_measured_as_real_data(job: RecordingJob, tmp_path: Path) -> None:
    """The tree as a user would own it: released PROXD fits inside, no truth beside."""
    root = tmp_path / "MyProx"
    shutil.copytree(job.data.prox_root, root)
    shutil.copytree(job.settings.run_dir / "baseline" / "PROXD", root / "qualitative" / "PROXD")
    table = run(tiny(tmp_path / "out", f"prox.root={root}"))
    assert table.data.kind == "real"
    assert table.baseline == "proxd"
    assert table.cell("prox_humor", "v2v_v1") is None
    assert table.cell("proxd", "pen_pooled_v1") is not None
