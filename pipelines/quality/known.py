"""Frames of synthetic recordings: their observables and, beside them, how far the fit is from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.artifacts import StageKey, code_version, hash_file, read_npz, run_stage, write_npz
from pipelines.bodies.track import truth_track
from pipelines.errors import DataInvalid
from pipelines.fitting.humor import rows_of
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.quality.files import SCORING_CODE, fit_file, load_evidence
from pipelines.quality.observables import observe
from pipelines.quality.settings import ObservableSettings
from pipelines.synthetic.truth import read_truth, truth_path

FILE_NAME: Final = "known.npz"


@dataclass(frozen=True, slots=True, eq=False)
class KnownFrames:
    """Valid frames of one or several recordings."""

    values: Mapping[str, Float[np.ndarray, " frames"]]
    group: Mapping[str, str]
    """Observable -> its group."""
    error_mm: Float[np.ndarray, " frames"]
    """Mean distance of the 6890 vertices from the true ones."""
    recording: Int[np.ndarray, " frames"]
    """Index into `recordings`."""
    recordings: tuple[str, ...]
    families: tuple[str, ...]
    """Motion family of each recording."""

    def __len__(self) -> int:
        return len(self.error_mm)

    def of_recording(self, number: int) -> Bool[np.ndarray, " frames"]:
        """Frames of one recording."""
        return np.asarray(self.recording == number)

    def select(self, mask: Bool[np.ndarray, " frames"]) -> KnownFrames:
        """Some of the frames."""
        return replace(
            self,
            values={name: column[mask] for name, column in self.values.items()},
            error_mm=self.error_mm[mask],
            recording=self.recording[mask],
        )

    def with_groups(self, groups: Sequence[str]) -> KnownFrames:
        """Only the observables of some groups."""
        kept = {name: column for name, column in self.values.items() if self.group[name] in groups}
        return replace(self, values=kept, group={name: self.group[name] for name in kept})


def measure_known(job: RecordingJob, settings: ObservableSettings) -> Path:
    """Observe a fitted synthetic recording and measure it against its truth, unless that is done.

    Raises:
        DataMissing: the recording was not fitted.
    """
    assert job.data.truth_root is not None, "the recordings of a set have their truth"
    inputs = {row: hash_file(fit_file(job, row)) for row in rows_of(job.settings.humor)}
    inputs["truth"] = hash_file(truth_path(job.data.truth_root, job.recording))
    code = code_version(*SCORING_CODE, "pipelines/quality/known")
    path = job.folder / FILE_NAME

    def work() -> tuple[list[Path], Mapping[str, Any]]:
        frames = _measure(job, settings)
        names = list(frames.values)
        write_npz(
            path,
            {
                "names": np.array(names),
                "groups": np.array([frames.group[name] for name in names]),
                "values": np.stack([frames.values[name] for name in names], axis=1),
                "error_mm": frames.error_mm,
                "recording": frames.recordings[0],
                "family": frames.families[0],
            },
        )
        return [path], {"frames": len(frames)}

    run_stage(job.folder, StageKey("known", settings.content_hash(), inputs, code), work)
    return path


def read_known(paths: Sequence[Path]) -> KnownFrames:
    """Frames of several recordings together.

    Raises:
        DataInvalid: no frame, or recordings measured differently.
    """
    parts = [read_npz(path) for path in paths]
    names = [tuple(str(name) for name in part["names"]) for part in parts]
    if not parts or not sum(len(part["error_mm"]) for part in parts):
        raise DataInvalid("no frame with known error", found=f"{len(parts)} recordings")
    if len(set(names)) > 1:
        raise DataInvalid("recordings were measured differently", where=paths[0], fix="run again")
    values = np.concatenate([part["values"] for part in parts])
    groups = [str(group) for group in parts[0]["groups"]]
    return KnownFrames(
        values={name: values[:, column] for column, name in enumerate(names[0])},
        group=dict(zip(names[0], groups, strict=True)),
        error_mm=np.concatenate([part["error_mm"] for part in parts]),
        recording=np.repeat(np.arange(len(parts)), [len(part["error_mm"]) for part in parts]),
        recordings=tuple(str(part["recording"]) for part in parts),
        families=tuple(str(part["family"]) for part in parts),
    )


def _measure(job: RecordingJob, settings: ObservableSettings) -> KnownFrames:
    evidence = load_evidence(job)
    observables = observe(evidence, settings)
    assert job.data.truth_root is not None
    truth = read_truth(job.data.truth_root, job.recording)
    true_vertices = truth_track(truth, job.files).vertices_camera
    distance = np.linalg.norm(evidence.track.vertices_camera - true_vertices, axis=-1).mean(axis=1)
    counted = observables.valid & truth.person_present
    return KnownFrames(
        values={name: column[counted] for name, column in observables.values.items()},
        group=observables.group,
        error_mm=1e3 * distance[counted].astype(np.float64),
        recording=np.zeros(int(counted.sum()), np.int64),
        recordings=(job.recording,),
        families=(truth.motion_family,),
    )
