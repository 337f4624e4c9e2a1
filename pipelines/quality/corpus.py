"""Write and fit the recordings the scores are calibrated and tested on; each step only if needed."""

from __future__ import annotations

import logging
from pathlib import Path

from pipelines.bodies.files import resolve_body_files
from pipelines.pseudo_gt.data import DataSource
from pipelines.pseudo_gt.fit import RecordingJob, run_humor
from pipelines.pseudo_gt.settings import PseudoGtSettings
from pipelines.quality.recordings import SetName, synthetic_set
from pipelines.synthetic.prox_tree import write_prox_tree

_log = logging.getLogger(__name__)


def set_job(out_dir: Path, name: SetName, recording: str) -> RecordingJob:
    """Where one recording of a set lies; its fits go below `<out_dir>/<set>/recordings/`."""
    root = out_dir / "data" / name
    settings = PseudoGtSettings.model_validate(
        {"out_dir": out_dir, "prox": {"root": root, "keypoints_frame": "flipped"}}
    )
    return RecordingJob(settings, DataSource(root, out_dir / "data" / f"{name}-truth", None), recording)


def recordings_of(name: SetName) -> tuple[str, ...]:
    """Names of the recordings of a set."""
    return tuple(spec.name for spec in synthetic_set(name).recordings)


def prepare_job(out_dir: Path, name: SetName, recording: str) -> RecordingJob:
    """Write and fit one recording, unless that is done."""
    job = set_job(out_dir, name, recording)
    assert job.data.truth_root is not None
    write_prox_tree(
        job.data.prox_root,
        job.data.truth_root,
        synthetic_set(name),
        resolve_body_files(None),
        only=recording,
    )
    ran = run_humor(job)  # the PROX-style baseline takes no part in a score
    _log.info("%s %s: %s", name, recording, "fitted" if ran else "up to date")
    return job
