"""A recording of a tree on disk is scored without its truth, once, and again when something changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import read_marker
from pipelines.bodies.files import resolve_body_files
from pipelines.errors import DataMissing
from pipelines.fitting.humor import rows_of
from pipelines.fitting.result import read_fit, write_fit
from pipelines.pseudo_gt.data import DataSource
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.quality.files import read_quality, score_recording
from pipelines.quality.settings import QualitySettings, RejectSettings
from pipelines.records import FittedSequence, SmplhParameters
from pipelines.synthetic.presets import synthetic_preset
from pipelines.synthetic.prox_tree import write_prox_tree
from pipelines.synthetic.truth import read_truth

FRAMES = 5


def _job(root: Path) -> RecordingJob:
    tree = root / "tree"
    settings = PseudoGtSettings.model_validate(
        {"out_dir": root / "runs", "prox": {"root": tree, "keypoints_frame": "flipped"}}
    )
    return RecordingJob(settings, DataSource(tree, root / "truth", None), "TinyRoom_00034_01")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> RecordingJob:
    """A tiny recording with fits a few centimetres from the truth."""
    job = _job(tmp_path_factory.mktemp("quality"))
    tiny = synthetic_preset("tiny")
    spec = tiny.recordings[0].model_copy(update={"num_frames": FRAMES})
    settings = tiny.model_copy(update={"recordings": (spec,), "sdf_size": 32})
    write_prox_tree(job.data.prox_root, job.data.truth_root, settings, resolve_body_files(None))
    truth = read_truth(job.data.truth_root, job.recording).parameters
    rng = np.random.default_rng(0)
    for row in rows_of(job.settings.humor):
        noise = rng.normal(0, 0.01, 3)
        parameters = SmplhParameters(
            truth.betas, truth.global_orient, truth.body_pose, truth.transl + noise
        )
        write_fit(job.fit_path(row), _fit(job, row, parameters))
    return job


def _fit(job: RecordingJob, row: str, parameters: SmplhParameters) -> FittedSequence:
    observations = job.observations
    return FittedSequence(
        method=row,
        recording=job.recording,
        gender=observations.gender,
        frame_names=observations.frame_names,
        parameters=parameters,
        status=observations.status,
        window_id=np.zeros(FRAMES, np.int64),
        T_world_from_camera=observations.T_world_from_camera,
        floor_camera=observations.floor_camera,
        contacts=np.full((FRAMES, 22), 0.7),
    )


def test_scores_need_no_truth(fitted: RecordingJob, tmp_path: Path) -> None:
    root = fitted.data.prox_root.parent
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    with_truth = score_recording(fitted).read_bytes()
    shutil.rmtree(tmp_path / "truth")
    assert not (tmp_path / "truth").exists()
    assert score_recording(_job(tmp_path)).read_bytes() == with_truth


def test_every_frame_has_its_row(fitted: RecordingJob) -> None:
    scores = read_quality(score_recording(fitted))
    assert scores.frame_names == fitted.observations.frame_names
    assert np.isfinite(scores.expected_error_mm).all()
    assert ((scores.weight >= 0) & (scores.weight <= 1)).all()
    assert not set(np.flatnonzero([bool(r) for r in scores.reject_reason])) & set(
        np.flatnonzero(scores.weight)
    )


def test_a_second_call_does_nothing_and_a_changed_fit_is_scored_again(fitted: RecordingJob) -> None:
    path = score_recording(fitted)
    before = path.stat().st_mtime_ns
    assert score_recording(fitted).stat().st_mtime_ns == before
    good = read_quality(path).expected_error_mm
    result = read_fit(fitted.fit_path("refined"))
    shifted = replace(result.parameters, transl=result.parameters.transl + np.array([0.25, 0, 0]))
    write_fit(fitted.fit_path("refined"), replace(result, parameters=shifted))
    bad = read_quality(score_recording(fitted)).expected_error_mm
    write_fit(fitted.fit_path("refined"), result)
    assert (bad > good).all()
    np.testing.assert_array_equal(read_quality(score_recording(fitted)).expected_error_mm, good)


def test_thresholds_are_settings_and_the_marker_counts_the_rejected(fitted: RecordingJob) -> None:
    strict = QualitySettings(reject=RejectSettings(expected_error_mm=0.1))
    scores = read_quality(score_recording(fitted, strict))
    assert set(scores.reject_reason) == {"expected_error"}
    assert scores.weight.max() == 0
    marker = read_marker(fitted.folder, "quality")
    assert marker is not None
    assert marker.summary == {"frames": FRAMES, "rejected": {"expected_error": FRAMES}}


def test_a_recording_without_fit_is_told_so(fitted: RecordingJob, tmp_path: Path) -> None:
    settings = fitted.settings.model_copy(update={"out_dir": tmp_path})
    with pytest.raises(DataMissing, match=r"no fit to score(.|\n)*make pseudo-gt"):
        score_recording(replace(fitted, settings=settings))
