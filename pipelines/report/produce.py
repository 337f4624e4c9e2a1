"""What one recording adds to the report: measured, drawn and packed once, kept until its fits change."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from pipelines.artifacts import StageKey, code_version, hash_file, run_stage
from pipelines.bodies.downsample import read_mesh_pyramid
from pipelines.bodies.model import load_smplh
from pipelines.bodies.track import pose_track, truth_track
from pipelines.errors import PipelineError
from pipelines.fitting.result import read_fit
from pipelines.metrics.evaluate import TRUTH
from pipelines.pseudo_gt.fit import RecordingJob
from pipelines.records import BodyTrack, FittedSequence, SyntheticTruth
from pipelines.report.measures import FrameMeasures, measure_frames, read_measures, write_measures
from pipelines.report.meshes import CoarseBody, coarse_body
from pipelines.report.pictures import PictureRoom, draw_frame, write_jpeg
from pipelines.report.run import FinishedRun
from pipelines.report.settings import ReportSettings
from pipelines.report.view import view_bodies, write_view
from pipelines.report.worst import worst_frames
from pipelines.synthetic.truth import read_truth, truth_path

_log = logging.getLogger(__name__)

STAGE = "report"
MEASURES, VIEW = "measures.npz", "view.npz"
_CODE = (
    "pipelines/bodies",
    "pipelines/geometry",
    "pipelines/metrics",
    "pipelines/records",
    *(
        f"pipelines/report/{name}"
        for name in ("measures", "meshes", "pictures", "produce", "view", "worst")
    ),
)


def report_recording(settings: ReportSettings, recording: str) -> Path:
    """Bring what the report shows of one recording up to date; returns its folder."""
    run = FinishedRun.open(settings.run)
    folder = settings.folder / recording
    job = run.job(recording)
    work = _RecordingWork(settings, run, job, folder)
    run_stage(folder, work.key(), work.do)
    return folder


def report_key(settings: ReportSettings, run: FinishedRun, recording: str) -> StageKey:
    """What the report's part on a recording is made from."""
    return _RecordingWork(settings, run, run.job(recording), settings.folder / recording).key()


@dataclass(frozen=True)
class _RecordingWork:
    settings: ReportSettings
    run: FinishedRun
    job: RecordingJob
    folder: Path

    def key(self) -> StageKey:
        """Made from the fits, the data and the settings that decide what is measured and drawn."""
        inputs = {method: hash_file(self.job.fit_path(method)) for method in self.run.methods}
        if self.run.data.truth_root is not None:
            inputs[TRUTH] = hash_file(truth_path(self.run.data.truth_root, self.job.recording))
        s = self.settings
        parts = (
            s.measure,
            s.worst,
            s.view.model_copy(update={"recordings": 0}),
            self.run.settings.metrics,
        )
        hashes = "".join(part.content_hash() for part in parts)
        return StageKey(STAGE, hashes, {**self.job.inputs, **inputs}, code_version(*_CODE))

    def do(self) -> tuple[list[Path], Mapping[str, Any]]:
        """Measure, draw, pack."""
        torch.set_num_threads(1)
        fits, tracks = self._fits, self._tracks
        measures = measure_frames(
            tracks,
            self.job.observations,
            self.job.scene,
            self._truth,
            tracks.get(TRUTH),
            fits[self.run.result].window_id,
            self.run.settings.metrics,
            self.settings.measure.contact_m,
        )
        stored = write_measures(self.folder / MEASURES, measures)
        # As stored, in single precision, so that the page finds the same worst frames.
        files = [stored, *self._draw(read_measures(stored))]
        shown = {name: tracks[name] for name in self._shown}
        view = view_bodies(
            shown, self.job.observations, self.job.scene, self._coarse, self.settings.view
        )
        files.append(write_view(self.folder / VIEW, view))
        return files, {"frames": len(measures.frame_names)}

    @cached_property
    def _fits(self) -> dict[str, FittedSequence]:
        return {method: read_fit(self.job.fit_path(method)) for method in self.run.methods}

    @cached_property
    def _truth(self) -> SyntheticTruth | None:
        root = self.run.data.truth_root
        return None if root is None else read_truth(root, self.job.recording)

    @cached_property
    def _tracks(self) -> dict[str, BodyTrack]:
        tracks = {method: pose_track(fit, self.job.files) for method, fit in self._fits.items()}
        if self._truth is not None:
            tracks[TRUTH] = truth_track(self._truth, self.job.files)
        return tracks

    @property
    def _shown(self) -> list[str]:
        """Result, baseline, truth: what a reader wants side by side."""
        wanted = (self.run.result, self.run.table.baseline, TRUTH)
        return [name for name in wanted if name is not None and name in self._tracks]

    @cached_property
    def _coarse(self) -> CoarseBody:
        files, gender = self.job.files, self._fits[self.run.result].gender
        model = load_smplh(files, gender)
        zeros = {
            "betas": torch.zeros(1, model.num_betas),
            "global_orient": torch.zeros(1, 3),
            "body_pose": torch.zeros(1, 63),
            "transl": torch.zeros(1, 3),
        }
        rest = model(**zeros).vertices[0].detach().numpy().astype(np.float64)
        pyramid = read_mesh_pyramid(files.downsampling)
        return coarse_body(pyramid, model.faces.numpy(), rest, self.settings.view.body_vertices)

    def _draw(self, measures: FrameMeasures) -> list[Path]:
        chosen = worst_frames(measures, self.run.result, self.settings.worst)
        for stale in self.folder.glob("worst-*.jpg"):
            stale.unlink()
        if not chosen:
            return []
        job, s = self.job, self.settings
        faces = load_smplh(job.files, self._fits[self.run.result].gender).faces.numpy()
        room = PictureRoom.of(job.scene, job.observations, faces, s.measure.contact_m, s.worst.panel_px)
        paths = []
        for frame in chosen:
            name = measures.frame_names[frame]
            bodies = [(m, self._tracks[m].vertices_camera[frame]) for m in self._shown]
            bodies = [(m, v) for m, v in bodies if self._tracks[m].valid[frame]]
            picture = draw_frame(room, self._image(name), bodies)
            path = self.folder / f"worst-{name}.jpg"
            paths.append(write_jpeg(path, picture, s.worst.jpeg_quality))
        return paths

    def _image(self, frame_name: str) -> UInt8[np.ndarray, "height width 3"]:
        """The colour image, or grey where it cannot be read: a report must not fail on it."""
        try:
            return self.job.dataset.color_image(self.job.recording, frame_name)
        except PipelineError as error:
            _log.warning("%s: no colour image behind the picture: %s", frame_name, error.what)
            width, height = self.job.observations.image_size_px
            return np.full((height, width, 3), 128, np.uint8)
