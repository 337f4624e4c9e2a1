"""Fit one recording: baseline, HuMoR without and with scene terms, export. Each stage only if needed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import StageKey, code_version, hash_file, run_stage
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.parts import HEAD_PART, head_vertices_smplx, read_contact_parts
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.proxd import write_proxd_recording
from pipelines.errors import DataInvalid
from pipelines.fitting.humor import fit_humor, rows_of
from pipelines.fitting.prox_style.baseline import fit_prox_style
from pipelines.fitting.result import read_fit, write_fit
from pipelines.motion_prior.checkpoint import Priors, load_priors
from pipelines.pseudo_gt.data import DataSource, body_files, open_dataset, recording_inputs
from pipelines.pseudo_gt.result import build_result, write_result
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.records import FittedSequence, SceneScan, SequenceObservations

_log = logging.getLogger(__name__)

_SHARED_CODE = ("pipelines/bodies", "pipelines/datasets", "pipelines/geometry", "pipelines/records")
_BASELINE_CODE = (*_SHARED_CODE, "pipelines/fitting/prox_style", "pipelines/motion_prior/pose_prior")
HUMOR_CODE = (*_SHARED_CODE, "pipelines/fitting", "pipelines/motion_prior")
"""What decides the rows of HuMoR."""


@dataclass(frozen=True)
class RecordingJob:
    """One recording of a run: where its files are and, loaded when first asked for, what they hold."""

    settings: PseudoGtSettings
    data: DataSource
    recording: str

    @property
    def folder(self) -> Path:
        """Where the results of this recording go."""
        return self.settings.run_dir / "recordings" / self.recording

    def fit_path(self, row: str) -> Path:
        """The npz of one row of the table."""
        return self.folder / "fits" / f"{row}.npz"

    @cached_property
    def dataset(self) -> ProxDataset:
        """The reader."""
        return open_dataset(self.settings, self.data)

    @cached_property
    def observations(self) -> SequenceObservations:
        """What the camera saw."""
        return self.dataset.observations(self.recording)

    @cached_property
    def scene(self) -> SceneScan:
        """The scanned room."""
        return self.dataset.scene(self.recording)

    @cached_property
    def files(self) -> BodyFiles:
        """Body models."""
        return body_files(self.settings)

    @cached_property
    def priors(self) -> Priors:
        """Motion, pose and initial-state priors."""
        return load_priors(self.settings.priors)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Hashes of everything read but the priors."""
        gender = self.dataset.gender(self.recording)
        return recording_inputs(self.settings, self.data, self.recording, gender)

    def prior_inputs(self, *names: str) -> dict[str, str]:
        """Hashes of some of the priors."""
        return {f"prior {name}": self.priors.provenance[name] for name in names}

    def key(self, stage: str, settings_hash: str, code: Sequence[str], **inputs: str) -> StageKey:
        """The done-key of a stage of this recording."""
        return StageKey(stage, settings_hash, {**self.inputs, **inputs}, code_version(*code))


def fit_recording(settings: PseudoGtSettings, data: DataSource, recording: str) -> Path:
    """Bring all fits and exports of one recording up to date; returns its folder."""
    job = RecordingJob(settings, data, recording)
    _log.info("%s: started", recording)
    ran = [_run_baseline(job), run_humor(job), _run_export(job)]
    _log.info("%s: %s", recording, "fitted" if any(ran) else "nothing to do, all up to date")
    return job.folder


def baseline_name(job: RecordingJob) -> str:
    """Row of the baseline: released PROXD fits where the tree has them, else our own fit."""
    return "proxd" if job.dataset.has_released_fit(job.recording) else "prox_style"


def baseline_key(job: RecordingJob) -> StageKey:
    """What the baseline is made from."""
    reader = job.settings.prox.content_hash()
    if baseline_name(job) == "proxd":
        return job.key("baseline", reader, _SHARED_CODE)
    hashes = job.settings.baseline.content_hash() + reader
    return job.key("baseline", hashes, _BASELINE_CODE, **job.prior_inputs("pose"))


def humor_key(job: RecordingJob) -> StageKey:
    """What the HuMoR fits are made from."""
    hashes = job.settings.humor.content_hash() + job.settings.prox.content_hash()
    return job.key("humor", hashes, HUMOR_CODE, **job.prior_inputs(*job.priors.provenance))


def export_key(job: RecordingJob) -> StageKey:
    """What the exports are made from; the HuMoR fits must be there."""
    source = job.fit_path(rows_of(job.settings.humor)[-1])
    inputs = {"fit": hash_file(source), **{k: v for k, v in job.inputs.items() if k.startswith("SMPL")}}
    code = code_version(*_SHARED_CODE, "pipelines/pseudo_gt/fit", "pipelines/pseudo_gt/result")
    return StageKey("export", job.settings.export.content_hash(), inputs, code)


def _run_baseline(job: RecordingJob) -> bool:
    key = baseline_key(job)
    if baseline_name(job) == "proxd":
        return run_stage(job.folder, key, lambda: _read_released(job))
    return run_stage(job.folder, key, lambda: _fit_baseline(job, key))


def _read_released(job: RecordingJob) -> tuple[list[Path], Mapping[str, Any]]:
    fitted = job.dataset.released_fit(job.recording)
    if fitted is None:
        raise DataInvalid("released fits vanished while reading", where=job.recording)
    return [write_fit(job.fit_path("proxd"), fitted)], _counts(fitted)


def _fit_baseline(job: RecordingJob, key: StageKey) -> tuple[list[Path], Mapping[str, Any]]:
    checkpoint = job.folder / "checkpoints" / f"baseline-{key.content_hash()[:16]}"
    segments = job.dataset.body_segments()
    fitted = fit_prox_style(
        job.observations,
        job.scene,
        job.files,
        {**read_contact_parts(segments), HEAD_PART: head_vertices_smplx(segments)},
        job.priors.pose,
        job.settings.baseline,
        checkpoint=checkpoint,
    )
    files = [write_fit(job.fit_path("prox_style"), fitted)]
    files += write_proxd_recording(job.settings.run_dir / "baseline" / "PROXD", fitted)
    shutil.rmtree(checkpoint, ignore_errors=True)
    return files, _counts(fitted)


def run_humor(job: RecordingJob) -> bool:
    """Bring the rows of HuMoR up to date; the baseline takes no part. Tells whether anything was fitted."""
    settings, key = job.settings, humor_key(job)

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        checkpoints = job.folder / "checkpoints" / f"humor-{key.content_hash()[:16]}"
        fits = fit_humor(job.observations, job.scene, job.files, job.priors, settings.humor, checkpoints)
        files = [write_fit(job.fit_path(row), fits[row]) for row in fits]
        shutil.rmtree(checkpoints, ignore_errors=True)
        return files, {row: _counts(fits[row]) for row in fits}

    return run_stage(job.folder, key, work)


def _run_export(job: RecordingJob) -> bool:
    source, key = job.fit_path(rows_of(job.settings.humor)[-1]), export_key(job)

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        fitted = read_fit(source)
        provenance = {"settings": job.settings.humor.model_dump(mode="json"), "made_from": key.inputs}
        result = build_result(fitted, job.files, provenance, with_smplx=job.settings.export.smplx)
        files = [write_result(job.folder / "pseudo_gt.npz", result)]
        if result.smplx is not None:
            pickled = replace(fitted, parameters=result.smplx)
            files += write_proxd_recording(job.settings.run_dir / "PROXD", pickled)
        return files, result.summary()

    return run_stage(job.folder, key, work)


def _counts(fitted: FittedSequence) -> dict[str, Any]:
    reasons, counts = np.unique([s for s in fitted.status if s], return_counts=True)
    return {
        "frames": len(fitted.status),
        "valid": int(fitted.valid.sum()),
        "invalid": dict(zip(reasons.tolist(), counts.tolist(), strict=True)),
    }
