"""The baseline is a fit run to convergence: twice the iterations change its row of the table by little."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.bodies.parts import HEAD_PART, head_vertices_smplx, read_contact_parts
from pipelines.bodies.track import pose_track, truth_track
from pipelines.config import load_settings
from pipelines.fitting.prox_style.baseline import fit_prox_style
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.metrics.anatomy import load_anatomy
from pipelines.metrics.evaluate import evaluate_recording
from pipelines.metrics.summary import MetricsTable, summarise
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence
from pipelines.synthetic.truth import read_truth

pytestmark = pytest.mark.slow
ROW = ("pen_pooled_v1", "reproj_pooled_v1", "reproj_truth_v1", "v2v_v1", "accel_error_v1")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> RecordingJob:
    """A short embedded recording."""
    folder = tmp_path_factory.mktemp("runs")
    settings = load_settings(PseudoGtSettings, None, ["preset=tiny", f"out_dir={folder}"])
    data = data_source(settings)
    (recording,) = list_recordings(settings, data)
    prepare_recording(settings, data, recording)
    return RecordingJob(settings, data, recording)


def _fit(job: RecordingJob, settings: ProxStyleSettings) -> FittedSequence:
    segments = job.dataset.body_segments()
    parts = {**read_contact_parts(segments), HEAD_PART: head_vertices_smplx(segments)}
    return fit_prox_style(job.observations, job.scene, job.files, parts, job.priors.pose, settings)


def _doubled(settings: ProxStyleSettings) -> ProxStyleSettings:
    """Twice the steps and rounds, and tolerances that let them be taken."""
    solver = settings.solver
    changes = {
        "iterations": 2 * solver.iterations,
        "rounds": 2 * solver.rounds,
        "last_rounds": 2 * solver.last_rounds,
        "tolerance": solver.tolerance / 10,
        "last_tolerance": solver.last_tolerance / 10,
    }
    return settings.model_copy(update={"solver": solver.model_copy(update=changes)})


def _measure(job: RecordingJob, fit: FittedSequence) -> MetricsTable:
    truth = read_truth(job.data.truth_root or Path(), job.recording)
    metrics = evaluate_recording(
        {"prox_style": pose_track(fit, job.files)},
        {"prox_style": fit},
        job.observations,
        job.scene,
        truth,
        truth_track(truth, job.files),
        job.settings.metrics,
        load_anatomy(job.files),
    )
    return summarise([metrics], preset="tiny", settings=job.settings.metrics)


@pytest.mark.xfail(
    strict=True,
    reason="measured: energy -0.26 %, penetration +0.05 %, but reprojection -5.8 % and V2V +7.6 %: one frame "
    "of twelve sits in a wrong minimum (72-87 mm), moves between two of them and decides the row",
)
def test_twice_the_iterations_change_the_row_by_less_than_two_per_cent(job: RecordingJob) -> None:
    settings = ProxStyleSettings()
    fits = [_fit(job, chosen) for chosen in (settings, _doubled(settings))]
    evaluations = [fit.energies["num_evaluations"].sum() for fit in fits]
    assert evaluations[1] > 1.5 * evaluations[0]
    totals = [fit.energies["total"].sum() for fit in fits]
    assert totals[1] == pytest.approx(totals[0], rel=0.02)
    tables = [_measure(job, fit) for fit in fits]
    for name in ROW:
        before, after = (table.cell("prox_style", name) for table in tables)
        assert before is not None
        assert after is not None
        assert after.value == pytest.approx(before.value, rel=0.02), name
