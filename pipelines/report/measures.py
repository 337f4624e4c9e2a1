"""Figures of every frame and method: what distributions, worst frames and time lines are drawn from.

The same distances, projections and vertices as in `pipelines.metrics`, but kept per frame instead of
summed. Frames without a usable body are NaN, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.artifacts import read_npz, write_npz
from pipelines.errors import DataInvalid
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.metrics.frames import finite_frames
from pipelines.metrics.penetration import signed_distances
from pipelines.metrics.reprojection import project_joints
from pipelines.metrics.settings import MetricSettings
from pipelines.records import BodyTrack, SceneScan, SequenceObservations, SyntheticTruth

SCHEMA: Final = "prox-humor-gt frame measures 1"
V2V_MM, REPROJECTION_PX = "v2v_mm", "reprojection_px"
DEPTH_MEAN_CM, DEPTH_MAX_CM, INSIDE_PERCENT = "depth_mean_cm", "depth_max_cm", "inside_percent"
CONTACT_PERCENT, STEP_MM = "contact_percent", "step_mm"
TITLES: Final = {
    V2V_MM: "Distance to the true body (V2V), mm",
    REPROJECTION_PX: "Reprojection, px",
    DEPTH_MEAN_CM: "Mean depth of the vertices inside the scene, cm",
    DEPTH_MAX_CM: "Depth of the deepest vertex, cm",
    INSIDE_PERCENT: "Vertices inside the scene, %",
    CONTACT_PERCENT: "Vertices touching the scene, %",
    STEP_MM: "Mean joint step from the frame before, mm",
}
"""Name of a measure -> what it is, with its unit."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameMeasures:
    """One recording; every array has a row for each frame."""

    recording: str
    frame_names: tuple[str, ...]
    time_s: Float[np.ndarray, " frames"]
    """Since the first frame."""
    methods: Mapping[str, Mapping[str, Float[np.ndarray, " frames"]]]
    """Method -> measure -> value; NaN where the method has no valid body or the measure no observation."""
    conditions: Mapping[str, Float[np.ndarray, " frames"]]
    """What made a frame hard: `hidden_percent` (truth only), `confident_keypoints`, `depth_points`."""
    window_id: Int[np.ndarray, " frames"]
    """Of the result."""
    segment_id: Int[np.ndarray, " frames"]

    @property
    def seams(self) -> Bool[np.ndarray, " frames"]:
        """True for the first frame of a new window inside a segment."""
        new = np.zeros(len(self.frame_names), dtype=bool)
        same = self.segment_id[1:] == self.segment_id[:-1]
        new[1:] = same & (self.window_id[1:] != self.window_id[:-1])
        return new


def measure_frames(
    tracks: Mapping[str, BodyTrack],
    observations: SequenceObservations,
    scene: SceneScan,
    truth: SyntheticTruth | None,
    truth_track: BodyTrack | None,
    window_id: Int[np.ndarray, " frames"],
    options: MetricSettings,
    contact_m: float,
) -> FrameMeasures:
    """Measure every frame of every method.

    Args:
        tracks: bodies by method, camera frame.
        observations: keypoints, intrinsics, camera pose.
        scene: its signed distance grid.
        truth: with data whose truth is known.
        truth_track: its bodies.
        window_id: of the result.
        options: confidence threshold and joint set.
        contact_m: a vertex outside the scene touches it when nearer than this.
    """
    sdf = SdfGrid.from_scene(scene)
    rows = {}
    for method, track in tracks.items():
        usable = track.valid & finite_frames(track)
        row = _scene_row(track, usable, observations, sdf, contact_m)
        row[REPROJECTION_PX] = _reprojection(track, usable, observations, options)
        row[STEP_MM] = _steps(track, usable, observations.segment_id)
        if truth_track is not None:
            present = usable & truth_track.valid & finite_frames(truth_track)
            row[V2V_MM] = _v2v(track, truth_track, present)
        rows[method] = row
    return FrameMeasures(
        observations.recording,
        observations.frame_names,
        observations.timestamps_s - observations.timestamps_s[:1].sum(),
        rows,
        _conditions(observations, truth, options),
        np.asarray(window_id),
        observations.segment_id,
    )


def write_measures(path: Path, measures: FrameMeasures) -> Path:
    """Write one npz."""
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "recording": measures.recording,
        "frame_names": np.array(measures.frame_names, dtype=np.str_),
        "time_s": measures.time_s,
        "window_id": measures.window_id,
        "segment_id": measures.segment_id,
    }
    for method, row in measures.methods.items():
        arrays |= {f"method/{method}/{name}": np.float32(values) for name, values in row.items()}
    arrays |= {f"condition/{name}": np.float32(v) for name, v in measures.conditions.items()}
    write_npz(path, arrays)
    return path


def read_measures(path: Path) -> FrameMeasures:
    """Read what `write_measures` wrote.

    Raises:
        DataInvalid: not such a file.
    """
    arrays = read_npz(path)
    if str(arrays.get("schema", "")) != SCHEMA:
        raise DataInvalid(
            "not a file of frame measures", where=path, expected=SCHEMA, fix="delete it and run again"
        )
    methods: dict[str, dict[str, Any]] = {}
    for key, values in arrays.items():
        if key.startswith("method/"):
            _, method, name = key.split("/")
            methods.setdefault(method, {})[name] = values
    return FrameMeasures(
        str(arrays["recording"]),
        tuple(str(name) for name in arrays["frame_names"]),
        arrays["time_s"],
        methods,
        {k.split("/")[1]: v for k, v in arrays.items() if k.startswith("condition/")},
        arrays["window_id"],
        arrays["segment_id"],
    )


def _scene_row(
    track: BodyTrack,
    usable: Bool[np.ndarray, " frames"],
    observations: SequenceObservations,
    sdf: SdfGrid,
    contact_m: float,
) -> dict[str, Float[np.ndarray, " frames"]]:
    names = (DEPTH_MEAN_CM, DEPTH_MAX_CM, INSIDE_PERCENT, CONTACT_PERCENT)
    row = {name: np.full(len(usable), np.nan) for name in names}
    for frame in np.flatnonzero(usable):
        vertices = track.vertices_camera[frame : frame + 1]
        d = signed_distances(vertices, observations.T_world_from_camera, sdf)[0]
        inside = d < 0
        if inside.any():  # like the pooled metric, a frame without penetration has no mean depth
            row[DEPTH_MEAN_CM][frame] = -100 * d[inside].mean()
        row[DEPTH_MAX_CM][frame] = 100 * max(0.0, float(-d.min()))
        row[INSIDE_PERCENT][frame] = 100 * inside.mean()
        row[CONTACT_PERCENT][frame] = 100 * ((d >= 0) & (d < contact_m)).mean()
    return row


def _reprojection(
    track: BodyTrack,
    usable: Bool[np.ndarray, " frames"],
    observations: SequenceObservations,
    options: MetricSettings,
) -> Float[np.ndarray, " frames"]:
    chosen = list(options.joint_indices)
    pixels = project_joints(track.keypoint_joints_camera[:, chosen], observations.K)
    error = np.linalg.norm(pixels - observations.keypoints_px[:, chosen], axis=-1)
    confident = observations.keypoints_confidence[:, chosen] > options.confidence_threshold
    counted = confident & np.isfinite(error) & usable[:, None]
    total, number = np.where(counted, error, 0).sum(axis=1), counted.sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _steps(
    track: BodyTrack, usable: Bool[np.ndarray, " frames"], segment_id: Int[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    steps = np.full(len(usable), np.nan)
    size = np.linalg.norm(np.diff(track.joints_camera.astype(np.float64), axis=0), axis=-1).mean(axis=1)
    joined = usable[1:] & usable[:-1] & (segment_id[1:] == segment_id[:-1])
    steps[1:] = np.where(joined, 1000 * size, np.nan)
    return steps


def _v2v(
    track: BodyTrack, truth: BodyTrack, usable: Bool[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    error = np.full(len(usable), np.nan)
    for frame in np.flatnonzero(usable):
        difference = track.vertices_camera[frame].astype(np.float64) - truth.vertices_camera[frame]
        error[frame] = 1000 * np.linalg.norm(difference, axis=-1).mean()
    return error


def _conditions(
    observations: SequenceObservations, truth: SyntheticTruth | None, options: MetricSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    chosen = list(options.joint_indices)
    confident = observations.keypoints_confidence[:, chosen] > options.confidence_threshold
    conditions = {
        "confident_keypoints": confident.sum(axis=1).astype(np.float64),
        "depth_points": observations.num_points.astype(np.float64),
    }
    if truth is not None:
        conditions["hidden_percent"] = 100 * truth.joint_hidden.mean(axis=1)
    return conditions
