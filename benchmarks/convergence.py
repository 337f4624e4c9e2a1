"""The PROX-style baseline: does its row of the table stand still when the solver may work twice as long?

Every frame is fitted on its own, so every n-th frame of a preset's recordings stands for all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from benchmarks.table import BenchmarkTable, Cell
from pipelines.bodies.parts import HEAD_PART, head_vertices_smplx, read_contact_parts
from pipelines.bodies.track import pose_track, truth_track
from pipelines.config import load_settings
from pipelines.fitting.prox_style.baseline import METHOD, fit_prox_style
from pipelines.fitting.prox_style.settings import ProxStyleSettings
from pipelines.metrics.anatomy import load_anatomy
from pipelines.metrics.evaluate import evaluate_recording
from pipelines.metrics.summary import MetricsTable, summarise
from pipelines.pseudo_gt.data import data_source, list_recordings, prepare_recording
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence, SequenceObservations
from pipelines.synthetic.truth import read_truth

DESCRIPTION = "the PROX-style baseline at its settings, with twice the limits, at finer tolerances"
ROW = {
    "pen_pooled_v1": "penetration (cm)",
    "reproj_pooled_v1": "reprojection against detections (px)",
    "reproj_truth_v1": "reprojection against truth (px)",
    "v2v_v1": "V2V (mm)",
}

CHANGES = ("twice the limits", "last tolerance a tenth", "every tolerance a tenth")


def add_options(parser: argparse._ArgumentGroup) -> None:
    """Which frames."""
    parser.add_argument("--recordings-of", default="first-run", help="synthetic preset")
    parser.add_argument("--every", type=int, default=10, help="fit every n-th frame")


def run(options: argparse.Namespace) -> BenchmarkTable:
    """Fit the chosen frames at each of the settings and compare the rows."""
    settings = load_settings(
        PseudoGtSettings, None, [f"preset={options.recordings_of}", f"out_dir={options.out / 'data'}"]
    )
    data = data_source(settings)
    once = ProxStyleSettings()
    tables, totals, limits, evaluations = [], [], [], []
    jobs = []
    for recording in list_recordings(settings, data):
        prepare_recording(settings, data, recording)
        jobs.append(RecordingJob(settings, data, recording))
    for chosen in (once, doubled(once), tightened(once), tightened(once, leading=True)):
        fits = [fit_some(job, options.every, chosen) for job in tqdm(jobs, unit="recording")]
        tables.append(measure(jobs, fits))
        totals.append(sum(float(np.nansum(fit.energies["total"])) for fit in fits))
        limits.append(sum(float(np.nansum(fit.energies["at_limit"])) for fit in fits))
        evaluations.append(sum(float(np.nansum(fit.energies["num_evaluations"])) for fit in fits))
    num_frames = sum(int(fit.valid.sum()) for fit in fits)
    rows: list[tuple[Cell, ...]] = [
        ("evaluations per frame", *_with_changes([count / num_frames for count in evaluations])),
        ("frames cut short by a limit", limits[0], *(c for n in limits[1:] for c in (n, ""))),
        ("energy", *_with_changes(totals)),
    ]
    for key, label in ROW.items():
        values = [cell.value for table in tables if (cell := table.cell(METHOD, key)) is not None]
        rows.append((label, *_with_changes(values)))
    return BenchmarkTable(
        name="convergence",
        title=f"PROX-style baseline, {num_frames} frames of {len(jobs)} recordings "
        f"({options.recordings_of})",
        columns=("", "as it is", *(cell for name in CHANGES for cell in (name, "change (%)"))),
        rows=tuple(rows),
        notes=(
            "Twice the limits: twice the steps and rounds a frame may take before it is cut short; also in "
            "the columns after it.",
            "With finer tolerances in the leading stages frames come to the last stage from elsewhere and "
            "may end in other minima, above or below.",
        ),
        conditions={"preset": options.recordings_of, "every": options.every},
    )


def doubled(settings: ProxStyleSettings) -> ProxStyleSettings:
    """Twice the steps and rounds."""
    solver = settings.solver
    changes = {
        "iterations": 2 * solver.iterations,
        "rounds": 2 * solver.rounds,
        "last_rounds": 2 * solver.last_rounds,
    }
    return settings.model_copy(update={"solver": solver.model_copy(update=changes)})


def tightened(settings: ProxStyleSettings, *, leading: bool = False) -> ProxStyleSettings:
    """Twice the steps and rounds, and a tenth of the last stage's tolerance.

    Args:
        settings: to start from.
        leading: also a tenth of the tolerance of the stages before.
    """
    solver = doubled(settings).solver
    changes = {"last_tolerance": solver.last_tolerance / 10}
    if leading:
        changes["tolerance"] = solver.tolerance / 10
    return settings.model_copy(update={"solver": solver.model_copy(update=changes)})


def fit_some(job: RecordingJob, every: int, settings: ProxStyleSettings) -> FittedSequence:
    """The baseline of every n-th frame; the others are marked as trimmed."""
    segments = job.dataset.body_segments()
    parts = {**read_contact_parts(segments), HEAD_PART: head_vertices_smplx(segments)}
    return fit_prox_style(
        _thinned(job.observations, every), job.scene, job.files, parts, job.priors.pose, settings
    )


def _thinned(observations: SequenceObservations, every: int) -> SequenceObservations:
    kept = np.arange(len(observations.status)) % every == 0
    status = [
        own if keep else own or "trimmed" for own, keep in zip(observations.status, kept, strict=True)
    ]
    return replace(observations, status=tuple(status))


def measure(jobs: Sequence[RecordingJob], fits: Sequence[FittedSequence]) -> MetricsTable:
    """The baseline's row over the frames that were fitted."""
    metrics = []
    for job, fit in zip(jobs, fits, strict=True):
        assert job.data.truth_root is not None
        truth = read_truth(job.data.truth_root, job.recording)
        metrics.append(
            evaluate_recording(
                {METHOD: pose_track(fit, job.files)},
                {METHOD: fit},
                job.observations,
                job.scene,
                truth,
                truth_track(truth, job.files),
                job.settings.metrics,
                load_anatomy(job.files),
            )
        )
    settings = jobs[0].settings
    return summarise(metrics, preset=settings.preset, settings=settings.metrics)


def _with_changes(values: Sequence[float]) -> tuple[float, ...]:
    """Each value after the first followed by how far it is from the first, per cent."""
    first, *others = values
    return (first, *(cell for value in others for cell in (value, 100 * (value / first - 1))))
