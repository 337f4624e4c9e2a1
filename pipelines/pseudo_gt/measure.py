"""Metrics and pictures of one recording, and the table over all of them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.artifacts import StageKey, code_version, hash_file, run_stage, write_text
from pipelines.bodies.model import load_smplh
from pipelines.bodies.track import pose_track, truth_track
from pipelines.config import settings_yaml
from pipelines.errors import DataMissing
from pipelines.fitting.humor import rows_of
from pipelines.fitting.result import read_fit
from pipelines.metrics.anatomy import load_anatomy
from pipelines.metrics.charts import save_energy_chart, save_headline_chart
from pipelines.metrics.evaluate import RecordingMetrics, evaluate_recording
from pipelines.metrics.overlay import save_overlays
from pipelines.metrics.summary import MetricsTable, summarise
from pipelines.metrics.tables import write_markdown
from pipelines.pseudo_gt.data import DataSource
from pipelines.pseudo_gt.fit import RecordingJob, baseline_name
from pipelines.pseudo_gt.settings import STORED, PseudoGtSettings
from pipelines.records import BodyTrack, FittedSequence, SyntheticTruth
from pipelines.synthetic.truth import read_truth, truth_path

_log = logging.getLogger(__name__)

_METRICS_CODE = (
    "pipelines/bodies",
    "pipelines/geometry",
    "pipelines/metrics",
    "pipelines/pseudo_gt/measure",
    "pipelines/records",
)


def measure_recording(settings: PseudoGtSettings, data: DataSource, recording: str) -> Path:
    """Bring metrics and pictures of one fitted recording up to date; returns the metrics file."""
    job = RecordingJob(settings, data, recording)
    rows, key = _rows(job), metrics_key(job)
    run_stage(job.folder, key, lambda: _measure(job, rows))
    return job.folder / "metrics.json"


def metrics_key(job: RecordingJob) -> StageKey:
    """What the metrics are made from; all fits must be there."""
    inputs = {row: hash_file(job.fit_path(row)) for row in _rows(job)}
    if job.data.truth_root is not None:
        inputs["truth"] = hash_file(truth_path(job.data.truth_root, job.recording))
    hashes = job.settings.metrics.content_hash() + job.settings.pictures.content_hash()
    return StageKey("metrics", hashes, {**job.inputs, **inputs}, code_version(*_METRICS_CODE))


def _rows(job: RecordingJob) -> tuple[str, ...]:
    return (baseline_name(job), *rows_of(job.settings.humor))


def _measure(job: RecordingJob, rows: Sequence[str]) -> tuple[list[Path], Mapping[str, Any]]:
    fits = {row: read_fit(job.fit_path(row)) for row in rows}
    tracks = {row: pose_track(fit, job.files) for row, fit in fits.items()}
    truth = _truth(job)
    true_track = truth_track(truth, job.files) if truth is not None else None
    metrics = evaluate_recording(
        tracks,
        fits,
        job.observations,
        job.scene,
        truth,
        true_track,
        job.settings.metrics,
        load_anatomy(job.files),
    )
    path = job.folder / "metrics.json"
    metrics.write(path)
    pictures = _draw(job, fits, tracks, true_track)
    return [path, *pictures], {"frames": len(metrics.frames.names)}


def _draw(
    job: RecordingJob,
    fits: Mapping[str, FittedSequence],
    tracks: Mapping[str, BodyTrack],
    true_track: BodyTrack | None,
) -> list[Path]:
    num_frames = job.settings.pictures.frames_per_recording
    if num_frames == 0:
        return []
    folder = job.folder / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    result = fits[rows_of(job.settings.humor)[-1]]
    overlays = save_overlays(
        folder,
        tracks,
        job.observations,
        job.scene,
        load_smplh(job.files, result.gender).faces.numpy(),
        partial(job.dataset.color_image, job.recording),
        truth_track=true_track,
        num_frames=num_frames,
    )
    return [*overlays, save_energy_chart(folder / "energies.png", result)]


def _truth(job: RecordingJob) -> SyntheticTruth | None:
    if job.data.truth_root is None:
        return None
    return read_truth(job.data.truth_root, job.recording)


def write_table(settings: PseudoGtSettings, data: DataSource, recordings: Sequence[str]) -> MetricsTable:
    """Pool the recordings that have metrics into `metrics.json` and `metrics.md`.

    Raises:
        DataMissing: no recording has metrics.
    """
    found = []
    for recording in recordings:
        path = RecordingJob(settings, data, recording).folder / "metrics.json"
        if path.is_file():
            found.append(RecordingMetrics.from_json(json.loads(path.read_text(encoding="utf-8"))))
    if not found:
        raise DataMissing(
            "no recording was measured", where=settings.run_dir, fix="see the errors above"
        )
    table = summarise(found, preset=data.preset, settings=settings.metrics)
    table.write(settings.run_dir / "metrics.json")
    write_markdown(settings.run_dir / "metrics.md", table)
    save_headline_chart(settings.run_dir / "metrics.png", table)
    write_text(settings.run_dir / STORED, settings_yaml(settings))
    return table
