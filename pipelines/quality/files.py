"""Scores as files: `recordings/<recording>/quality.npz`, made once and read by the shards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipelines.artifacts import StageKey, code_version, hash_file, read_npz, run_stage, write_npz
from pipelines.errors import DataInvalid, DataMissing
from pipelines.fitting.humor import rows_of
from pipelines.fitting.result import read_fit
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.quality.error_model import model_identity, read_error_model
from pipelines.quality.evidence import RecordingEvidence, gather_evidence
from pipelines.quality.observables import observe
from pipelines.quality.score import QualityScores, score_frames
from pipelines.quality.settings import QualitySettings

SCHEMA: Final = "prox-humor-gt quality 1"
FILE_NAME: Final = "quality.npz"
_FILES = (
    "agreement",
    "contact",
    "depth",
    "error_model",
    "evidence",
    "files",
    "image",
    "motion",
    "observables",
    "score",
    "time",
)
SCORING_CODE: Final = (
    "pipelines/bodies",
    "pipelines/datasets",
    "pipelines/geometry",
    "pipelines/metrics",
    "pipelines/motion_prior",
    "pipelines/records",
    *(f"pipelines/quality/{name}" for name in _FILES),
)
"""What decides an observable or a score."""


def score_recording(job: RecordingJob, settings: QualitySettings | None = None) -> Path:
    """Bring the scores of a fitted recording up to date; returns `quality.npz`.

    Raises:
        DataMissing: the recording was not fitted, or there is no error model.
        DataInvalid: a fit does not belong to the recording, or the model not to the observables.
    """
    settings = settings or QualitySettings()
    path, key = job.folder / FILE_NAME, quality_key(job, settings)

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        scores = _score(job, settings)
        write_quality(path, scores)
        reasons, counts = np.unique([r for r in scores.reject_reason if r], return_counts=True)
        return [path], {
            "frames": len(scores.frame_names),
            "rejected": dict(zip(reasons.tolist(), counts.tolist(), strict=True)),
        }

    run_stage(job.folder, key, work)
    return path


def quality_key(job: RecordingJob, settings: QualitySettings) -> StageKey:
    """What the scores are made from; all fits must be there."""
    inputs = {row: hash_file(fit_file(job, row)) for row in rows_of(job.settings.humor)}
    inputs["error model"] = model_identity(settings.model)
    inputs |= {**job.inputs, **job.prior_inputs("motion", "pose")}
    hashes = settings.content_hash() + job.settings.prox.content_hash()
    return StageKey("quality", hashes, inputs, code_version(*SCORING_CODE))


def load_evidence(job: RecordingJob) -> RecordingEvidence:
    """What the scores of a fitted recording may look at."""
    rows = rows_of(job.settings.humor)
    fits = {row: read_fit(fit_file(job, row)) for row in rows}
    return gather_evidence(job.observations, job.scene, fits, job.files, job.priors)


def write_quality(path: Path, scores: QualityScores) -> None:
    """Write one npz; equal scores give equal bytes.

    Keys: `schema`, `recording`, `frame_names`, `expected_error_mm`, `weight`, `reject_reason`,
    `observable_names`, `observables` (frames x names; NaN where a frame has none).
    """
    names = list(scores.observables)
    write_npz(
        path,
        {
            "schema": SCHEMA,
            "recording": scores.recording,
            "frame_names": np.array(scores.frame_names, dtype=np.str_),
            "expected_error_mm": scores.expected_error_mm,
            "weight": scores.weight,
            "reject_reason": np.array(scores.reject_reason, dtype=np.str_),
            "observable_names": np.array(names, dtype=np.str_),
            "observables": np.stack([scores.observables[name] for name in names], axis=1),
        },
    )


def read_quality(path: Path) -> QualityScores:
    """Read the scores of a recording back.

    Raises:
        DataMissing: no such file.
        DataInvalid: not a file of this schema, or parts of it are missing.
    """
    if not path.is_file():
        raise DataMissing("no scores", where=path, fix="score the recording first (`make shards` does)")
    arrays = read_npz(path)
    found = str(arrays.get("schema", "no schema"))
    if found != SCHEMA:
        raise DataInvalid("not a quality file", where=path, expected=SCHEMA, found=found)
    try:
        values = arrays["observables"]
        names = [str(name) for name in arrays["observable_names"]]
        scores = QualityScores(
            recording=str(arrays["recording"]),
            frame_names=tuple(str(name) for name in arrays["frame_names"]),
            expected_error_mm=arrays["expected_error_mm"],
            weight=arrays["weight"],
            reject_reason=tuple(str(reason) for reason in arrays["reject_reason"]),
            observables={name: values[:, column] for column, name in enumerate(names)},
        )
    except (KeyError, IndexError) as error:
        raise DataInvalid(
            f"quality file is incomplete: {error}", where=path, fix="delete the file and run again"
        ) from None
    frames = {len(scores.frame_names), len(scores.weight), len(values), len(scores.reject_reason)}
    if len(frames) > 1:
        raise DataInvalid(
            "columns of a quality file differ in length",
            where=path,
            found=sorted(frames),
            fix="delete the file and run again",
        )
    return scores


def _score(job: RecordingJob, settings: QualitySettings) -> QualityScores:
    model = read_error_model(settings.model, settings.observables)
    evidence = load_evidence(job)
    observables = observe(evidence, settings.observables)
    result = evidence.result
    return score_frames(job.recording, result.frame_names, result.status, observables, model, settings)


def fit_file(job: RecordingJob, row: str) -> Path:
    """The npz of one row of a fitted recording.

    Raises:
        DataMissing: the recording was not fitted.
    """
    path = job.fit_path(row)
    if not path.is_file():
        raise DataMissing(
            f"recording {job.recording} has no fit to score",
            where=path,
            fix="run `make pseudo-gt` first",
        )
    return path
