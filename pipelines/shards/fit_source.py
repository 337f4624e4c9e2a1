"""Recordings of a finished pseudo-gt run as a source of samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from pipelines.artifacts import hash_content, hash_file, read_marker
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.datasets.layout import RecordingName
from pipelines.datasets.prox import ProxDataset
from pipelines.datasets.scenes import read_grid_box, read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.pseudo_gt.data import (
    DataSource,
    body_files,
    data_source,
    list_recordings,
    open_dataset,
    recording_inputs,
)
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.pseudo_gt.result import read_result
from pipelines.pseudo_gt.settings import RUN_FIRST, PseudoGtSettings, read_run
from pipelines.quality.files import FILE_NAME, read_quality, score_recording
from pipelines.records import FRAME_OK, Gender, SmplhParameters
from pipelines.shards.scene_cloud import scene_cloud
from pipelines.shards.schema import ShardKind, ShardScene
from pipelines.shards.settings import ShardsSettings
from pipelines.shards.source import Candidate, SourceRecording, SourceScene, stored_bodies
from pipelines.shards.splits import Membership

RESULT: Final = "pseudo_gt.npz"


@dataclass(frozen=True)
class FitSource:
    """The fits of one run folder, and the PROX tree they were made from."""

    settings: ShardsSettings
    run: PseudoGtSettings
    """As the run itself stored them."""
    kind: ShardKind = "fit"
    code: tuple[str, ...] = ("pipelines/datasets", "pipelines/shards/fit_source")

    @staticmethod
    def open(settings: ShardsSettings) -> FitSource:
        """Find the run.

        Raises:
            DataMissing: no such run, or it is not finished.
            DataInvalid: the folder was renamed.
        """
        return FitSource(settings, read_run(settings.run))

    @cached_property
    def data(self) -> DataSource:
        """The tree."""
        return data_source(self.run)

    @cached_property
    def dataset(self) -> ProxDataset:
        """Its reader."""
        return open_dataset(self.run, self.data)

    @cached_property
    def files(self) -> BodyFiles:
        """Body models."""
        return body_files(self.run)

    def candidates(self) -> tuple[Candidate, ...]:
        """Every recording of the run.

        Raises:
            DataMissing: recordings are not finished, and `skip_unfitted` is not set.
        """
        names = sorted(list_recordings(self.run, self.data))
        unfinished = [name for name in names if not self._is_finished(name)]
        if unfinished and (not self.settings.skip_unfitted or len(unfinished) == len(names)):
            raise DataMissing(
                f"{len(unfinished)} of {len(names)} recordings of the run are not finished",
                where=self.settings.run,
                found=", ".join(unfinished[:5]),
                fix=RUN_FIRST + ("" if len(unfinished) == len(names) else ", or set skip_unfitted=true"),
            )
        return tuple(self.candidate(name) for name in names if name not in unfinished)

    def job(self, name: str) -> RecordingJob:
        """A recording of the run."""
        return RecordingJob(self.run, self.data, name)

    def score(self, name: str) -> Path:
        """Bring the scores of a recording up to date; they lie beside its fits."""
        return score_recording(self.job(name), self.settings.quality)

    def recording(self, name: str) -> SourceRecording:
        """Bodies of the result file, with their scores; images are read when asked for."""
        result = self._result(name)
        frame_names = tuple(str(frame) for frame in result["frame_names"])
        expected_error_mm, weight, reject_reason = self._scores(name, frame_names)
        bodies = stored_bodies(
            SmplhParameters(**{f.name: result[f"smplh_{f.name}"] for f in fields(SmplhParameters)})
        )

        def image(row: int) -> UInt8[np.ndarray, "height width 3"]:
            return self.dataset.color_image(name, frame_names[row])

        return SourceRecording(
            recording=name,
            scene=self.dataset.scene_name(name),
            subject=_subject(name),
            gender=_gender(result),
            K=np.asarray(self.dataset.calibration.color.K, np.float64),
            image_size_px=self.run.prox.color_size_px,
            T_world_from_camera=np.asarray(result["T_world_from_camera"], np.float64),
            frame_names=frame_names,
            bodies=bodies,
            status=_status(result, bodies),
            expected_error_mm=expected_error_mm,
            weight=weight,
            reject_reason=reject_reason,
            image=image,
            provenance=json.dumps(self._provenance(name), sort_keys=True),
        )

    def scene(self, recording: str) -> SourceScene:
        """Cloud of the scan, and where its distance grid lies if it has one."""
        layout, name = self.dataset.layout, self.dataset.scene_name(recording)
        mesh = read_scan_mesh(layout.scan(name))
        pitch_m = self.settings.sample.pitch_m
        points = scene_cloud(mesh, pitch_m).astype(np.float32)
        description, values, _ = layout.sdf_files(name)
        has_grid = description.is_file() and values.is_file()
        low, high = read_grid_box(description)[:2] if has_grid else self._reach(points)
        stored = ShardScene(
            scene=name,
            points_world=points,
            pitch_m=np.float32(pitch_m),
            sdf_name=values.name if has_grid else "",
            sdf_sha256=hash_file(values) if has_grid else "",
        )
        return SourceScene(stored, low, high)

    def category_of_vertex(self) -> Int[np.ndarray, "6890"]:
        """Parts beside the body models, else those of the tree."""
        return contact_labels_smplh(self.files, self._segments)

    def inputs(self, recording: str) -> dict[str, str]:
        """The result, and everything in the tree that its fit was made from."""
        gender = self.dataset.gender(recording)
        tree = recording_inputs(self.run, self.data, recording, gender)
        return {
            **tree,
            "quality": self._quality_hash(recording),
            "pseudo_gt": hash_file(self._path(recording)),
            "contact parts": hash_content(self._segments),
        }

    @cached_property
    def _segments(self) -> Path:
        try:
            return self.files.segments
        except DataMissing:
            return self.dataset.body_segments()

    def _reach(
        self, points: Float[np.ndarray, "points 3"]
    ) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        margin = self.settings.sample.scene_margin_m
        return points.min(axis=0).astype(float) - margin, points.max(axis=0).astype(float) + margin

    def candidate(self, name: str) -> Candidate:
        """A finished recording; frames without a fit are left out, and counted."""
        result = self._result(name)
        status, stride = [str(reason) for reason in result["status"]], self.settings.stride
        chosen = range(0, len(status), stride)
        left_out = Counter(status[row] for row in chosen if status[row] != FRAME_OK)
        left_out["frame_stride"] = len(status) - len(chosen)
        return Candidate(
            member=Membership(name, self.dataset.scene_name(name), (_subject(name),)),
            num_frames=len(status),
            rows=tuple(row for row in chosen if status[row] == FRAME_OK),
            left_out={reason: count for reason, count in sorted(left_out.items()) if count},
        )

    def _scores(
        self, recording: str, frame_names: tuple[str, ...]
    ) -> tuple[Float32[np.ndarray, " frames"], Float32[np.ndarray, " frames"], tuple[str, ...]]:
        """Expected error, weight and reject reason of every frame."""
        frames = len(frame_names)
        if not self.settings.scored:
            unknown = np.full(frames, np.nan, np.float32)
            return unknown, np.ones(frames, np.float32), ("",) * frames
        path = self._quality_path(recording)
        scores = read_quality(path)
        if scores.frame_names != frame_names:
            raise DataInvalid(
                "scores are of other frames than the fit",
                where=path,
                expected=f"the {frames} frames of {RESULT} beside it",
                found=len(scores.frame_names),
                fix="delete the file and run again",
            )
        error, weight = (np.asarray(a, np.float32) for a in (scores.expected_error_mm, scores.weight))
        return error, weight, scores.reject_reason

    def _quality_hash(self, recording: str) -> str:
        path = self._quality_path(recording)
        if not self.settings.scored:
            return ""
        if not path.is_file():
            raise DataMissing(
                "no scores of a recording",
                where=path,
                fix="see why it was not scored, or set scored=false",
            )
        return hash_file(path)

    def _quality_path(self, recording: str) -> Path:
        return self.settings.run / "recordings" / recording / FILE_NAME

    def _path(self, recording: str) -> Path:
        return self.settings.run / "recordings" / recording / RESULT

    def _is_finished(self, recording: str) -> bool:
        path = self._path(recording)
        marker = read_marker(path.parent, "export")
        return path.is_file() and marker is not None

    def _result(self, recording: str) -> dict[str, Any]:
        """The result file, which must be the one its run wrote.

        Raises:
            DataInvalid: it was altered since, or is not of this schema.
        """
        path = self._path(recording)
        marker = read_marker(path.parent, "export")
        if marker is None or marker.files.get(RESULT) != hash_file(path):
            raise DataInvalid(
                "a fit was altered after its run",
                where=path,
                expected="the hash in export.done.json beside it",
                fix="run `make pseudo-gt` again",
            )
        return read_result(path)

    def _provenance(self, recording: str) -> dict[str, Any]:
        folder = self._path(recording).parent
        fitted = read_marker(folder, "humor")
        made_from: Mapping[str, str] = fitted.key.inputs if fitted is not None else {}
        return {
            "kind": self.kind,
            "pseudo_gt": hash_file(self._path(recording)),
            "quality": self._quality_hash(recording),
            "fit_settings": fitted.key.settings_hash if fitted is not None else "",
            "fit_code": fitted.key.code if fitted is not None else "",
            "weights": {name: value for name, value in made_from.items() if name.startswith("prior ")},
            "bodies": "stand-in" if self.files.is_standin else "licensed",
            "sample_settings": self.settings.sample.content_hash(),
        }


def _subject(recording: str) -> str:
    parsed = RecordingName.parse(recording)
    if parsed is None:
        raise DataInvalid("not the name of a PROX recording", found=recording)
    return f"{parsed.subject:05d}"


def _gender(result: Mapping[str, Any]) -> Gender:
    gender: Gender = str(result["gender"])  # type: ignore[assignment]
    return gender


def _status(result: Mapping[str, Any], bodies: SmplhParameters) -> tuple[str, ...]:
    """The fit's own verdict, and a look at the numbers."""
    finite = np.ones(len(bodies.transl), bool)
    for f in fields(SmplhParameters):
        finite &= np.isfinite(getattr(bodies, f.name)).all(axis=1)
    return tuple(
        str(reason) or (FRAME_OK if good else "fit_not_finite")
        for reason, good in zip(result["status"], finite, strict=True)
    )
