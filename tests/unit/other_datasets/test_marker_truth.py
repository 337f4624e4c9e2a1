"""PJE and V2V: facts by hand, and a fit of the fixture against its MoSH bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flows.cli import run
from pipelines.artifacts import write_text
from pipelines.bodies.files import BodyFiles
from pipelines.config import load_settings, settings_yaml
from pipelines.errors import DataInvalid, DataMissing, SettingsInvalid
from pipelines.fitting.result import write_fit
from pipelines.marker_report import MarkerErrorSettings, measure_marker_errors, pool_errors
from pipelines.marker_truth import MarkerErrors, compare_with_markers, track_errors
from pipelines.other_datasets.prox_quantitative import ProxQuantitative
from pipelines.pseudo_gt.data import data_source, recording_inputs
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import BodyTrack


def track(joints: np.ndarray, vertices: np.ndarray) -> BodyTrack:
    """One frame; joints and vertices repeated to the sizes of a body."""
    return BodyTrack(
        method="test",
        vertices_camera=np.resize(vertices, (1, 6890, 3)).astype(np.float32),
        joints_camera=np.resize(joints, (1, 22, 3)).astype(np.float32),
        keypoint_joints_camera=np.zeros((1, 25, 3), np.float32),
        valid=np.ones(1, dtype=bool),
    )


def test_the_values_of_the_metrics_page() -> None:
    true, found = np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([[0.3, 0, 0], [0.3, 0, 1.1]])
    errors = track_errors(track(found, found), track(true, true), np.ones(1, dtype=bool))
    assert errors.global_v2v_mm == pytest.approx(308.1139, rel=1e-4)
    assert errors.pje_mm == pytest.approx(50.0, rel=1e-4)
    assert errors.v2v_mm == pytest.approx(50.0, rel=1e-4)
    assert errors.p_v2v_mm == pytest.approx(0.0, abs=1e-3)  # a scale


def test_procrustes_hides_turn_scale_and_shift_and_the_pelvis_only_the_shift() -> None:
    points = np.random.default_rng(0).standard_normal((22 * 5, 3))
    turn = cv2.Rodrigues(np.array([0.0, 0.4, 0.0]))[0]
    moved, turned = points + np.array([1.0, -2, 3]), 2 * points @ turn + 1
    true = track(points[:22], points)
    for found, aligned in ((moved, True), (turned, False)):
        errors = track_errors(track(found[:22], found), true, np.ones(1, dtype=bool))
        assert errors.p_pje_mm < 1e-3
        assert errors.p_v2v_mm < 1e-3
        assert (errors.pje_mm < 1e-3) is aligned
        assert (errors.v2v_mm < 1e-3) is aligned


def test_a_shifted_fit_of_the_fixture(quantitative: Any, files: BodyFiles) -> None:
    truth = ProxQuantitative(quantitative.root, files).truth("vicon_03301_01")
    moved = truth.parameters.transl + np.array([0.03, 0, 0.04], np.float32)
    shifted = replace(truth.parameters, transl=moved)
    status = ("no_person", *truth.status[1:])
    fitted = replace(truth, method="test", parameters=shifted, status=status)
    errors = compare_with_markers(fitted, replace(truth, status=("",) * 8 + ("fit_missing",)), files)
    assert errors.global_v2v_mm == pytest.approx(50.0, rel=1e-3)
    assert errors.pje_mm == pytest.approx(0.0, abs=0.01)
    assert errors.frames == 5
    assert errors.left_out == {
        "fit_missing": 1,
        "fit_not_finite": 1,
        "no_person": 1,
        "truth_fit_missing": 1,
    }
    with pytest.raises(DataInvalid, match="different frames"):
        compare_with_markers(replace(fitted, frame_names=fitted.frame_names[::-1]), truth, files)


def test_no_frame_gives_no_number() -> None:
    one = track(np.ones((1, 3)), np.ones((1, 3)))
    errors = track_errors(one, one, np.zeros(1, dtype=bool))
    assert np.isnan(errors.pje_mm)
    assert errors.frames == 0


def errors_of(mm: float, frames: int, **left_out: int) -> MarkerErrors:
    return MarkerErrors(mm, mm, mm, mm, mm, frames, left_out)


def test_recordings_are_pooled_by_frames() -> None:
    pooled = pool_errors(
        [
            {"a": errors_of(10.0, 1, no_person=1), "b": errors_of(20.0, 1)},
            {"a": errors_of(40.0, 3, no_person=2), "b": errors_of(float("nan"), 0, fit_missing=3)},
        ]
    )
    assert pooled["a"] == errors_of(32.5, 4, no_person=3)
    assert pooled["b"].v2v_mm == 20.0
    assert pooled["b"].left_out == {"fit_missing": 3}


def quantitative_run(root: Path, out: Path) -> Path:
    """A run's folder with its settings, fitted by nobody."""
    given = [f"prox.root={root}", "prox.split=quantitative", "prox.frame_rate_hz=5", f"out_dir={out}"]
    settings = load_settings(PseudoGtSettings, None, given)
    write_text(settings.run_dir / "settings.yaml", settings_yaml(settings))
    return settings.run_dir


def test_the_verb_measures_every_row_on_common_frames(
    quantitative: Any, files: BodyFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows made from the truth itself: moved by 50 mm, and with a frame missing."""
    run_dir = quantitative_run(quantitative.root, tmp_path)
    folder = run_dir / "recordings/vicon_03301_01/fits"
    truth = ProxQuantitative(quantitative.root, files).truth("vicon_03301_01")
    moved = truth.parameters.transl + np.array([0.03, 0, 0.04], np.float32)
    shifted = replace(truth, method="moved", parameters=replace(truth.parameters, transl=moved))
    lacking = replace(truth, method="lacking", status=("no_person", *truth.status[1:]))
    for row in ("prox_style", "vposer_t", "humor", "prox_humor", "refined"):
        write_fit(folder / f"{row}.npz", lacking if row == "humor" else shifted)
    assert run(["marker-errors", f"run={run_dir}"]) == 0
    told = capsys.readouterr().out
    assert "| *PROX, published* | *167.08* | *166.51* | *71.97* | *61.14* |" in told
    assert "nothing in common" in told
    rows = json.loads((run_dir / "marker_errors.json").read_text())["rows"]
    # Of nine frames two have no marker body and one is missing in one row.
    assert {row["frames"] for row in rows.values()} == {6}
    assert rows["refined"]["global_v2v_mm"] == pytest.approx(50.0, rel=1e-3)
    assert rows["refined"]["v2v_mm"] == pytest.approx(0.0, abs=0.01)
    assert rows["humor"]["global_v2v_mm"] == pytest.approx(0.0, abs=1e-3)
    assert rows["humor"]["left_out"]["no_person"] == 1


def test_a_truth_from_a_file_is_compared_with_its_own_recording_only(
    quantitative: Any, files: BodyFiles, tmp_path: Path
) -> None:
    run_dir = quantitative_run(quantitative.root, tmp_path / "run")
    truth = ProxQuantitative(quantitative.root, files).truth("vicon_03301_01")
    for row in ("prox_style", "vposer_t", "humor", "prox_humor", "refined"):
        write_fit(run_dir / f"recordings/vicon_03301_01/fits/{row}.npz", replace(truth, method=row))
    given = MarkerErrorSettings(run=run_dir, truth=write_fit(tmp_path / "truth.npz", truth))
    told = measure_marker_errors(given)
    assert "# Fits against the data set's own bodies" in told
    assert "published" not in told.split("Millimetres")[0]
    assert json.loads((run_dir / "marker_errors.json").read_text())["published"] == {}
    write_fit(tmp_path / "truth.npz", replace(truth, recording="vicon_09999_01"))
    with pytest.raises(DataInvalid, match=r"of no recording of the run[\s\S]*vicon_09999_01"):
        measure_marker_errors(given)


def test_a_recording_that_is_not_fitted_is_told(
    quantitative: Any, files: BodyFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = quantitative_run(quantitative.root, tmp_path)
    truth = ProxQuantitative(quantitative.root, files).truth("vicon_03301_01")
    for row in ("prox_style", "vposer_t", "humor", "prox_humor", "refined"):
        write_fit(run_dir / f"recordings/vicon_03301_01/fits/{row}.npz", replace(truth, method=row))
    names = ["vicon_03301_01", "vicon_03301_02"]
    monkeypatch.setattr("pipelines.marker_report.list_recordings", lambda *_: names)
    told = measure_marker_errors(MarkerErrorSettings(run=run_dir))
    assert "Recordings that are not fitted: vicon_03301_02." in told
    stored = json.loads((run_dir / "marker_errors.json").read_text())
    assert (list(stored["recordings"]), stored["not_fitted"]) == (names[:1], names[1:])


def test_runs_without_fits_or_markers_are_refused(quantitative: Any, tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no finished pseudo-gt run"):
        measure_marker_errors(MarkerErrorSettings(run=tmp_path))
    empty = quantitative_run(quantitative.root, tmp_path)
    with pytest.raises(DataMissing, match="no recording of the run is fitted"):
        measure_marker_errors(MarkerErrorSettings(run=empty))
    embedded = load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={tmp_path}"])
    write_text(embedded.run_dir / "settings.yaml", settings_yaml(embedded))
    with pytest.raises(SettingsInvalid, match=r"no marker capture[\s\S]*embedded data[\s\S]*truth="):
        measure_marker_errors(MarkerErrorSettings(run=embedded.run_dir))


def test_a_changed_file_of_the_quantitative_half_is_noticed(quantitative: Any, files: BodyFiles) -> None:
    """Whichever of the two folders the root is."""
    for root in (quantitative.root, quantitative.root / "quantitative"):
        given = [f"prox.root={root}", "prox.split=quantitative"]
        settings = load_settings(PseudoGtSettings, None, given)
        hashes = recording_inputs(settings, data_source(settings), "vicon_03301_01", "male")
        told = [hashes[name] for name in ("recording", "keypoints", "calibration", "scene")]
        assert len(set(told)) == 4  # of an empty list they would all be equal
