"""Fits of PROX quantitative against its marker capture: PJE, V2V and their Procrustes-aligned forms.

Source: PROX and POSA (table 5), as told in the metrics page, section 3. Differs from PROX: bodies are
compared on the 6890 vertices and 22 joints that all methods here share, not on SMPL-X's 10475; the joints
that PROX took are not stated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.track import pose_track
from pipelines.errors import DataInvalid
from pipelines.metrics.truth import similarity_align
from pipelines.records import BodyTrack, FittedSequence

_PELVIS = 0
_MM = 1e3


@dataclass(frozen=True, slots=True)
class MarkerErrors:
    """Millimetres, mean over frames; NaN where no frame counts."""

    pje_mm: float
    """Joints, once the pelvis of the fit is put on the true one."""
    v2v_mm: float
    """Vertices, with the same shift."""
    p_pje_mm: float
    """Joints, after the best similarity of the joints."""
    p_v2v_mm: float
    """Vertices, after the best similarity of the vertices."""
    global_v2v_mm: float
    """Vertices as they are, in the camera; PROX does not tell it."""
    frames: int
    """Frames that count."""
    left_out: dict[str, int]
    """Why others do not: of the fit, or of the truth (`truth_` before the reason)."""


def compare_with_markers(
    fitted: FittedSequence, truth: FittedSequence, files: BodyFiles
) -> MarkerErrors:
    """Errors of one method on one recording; frames that either lacks are left out and counted.

    Raises:
        DataInvalid: fit and truth have other frames.
    """
    if fitted.frame_names != truth.frame_names:
        raise DataInvalid(
            "fit and truth have different frames",
            where=fitted.recording,
            expected=f"{len(truth.frame_names)} frames from {truth.frame_names[:1]}",
            found=f"{len(fitted.frame_names)} frames from {fitted.frame_names[:1]}",
        )
    reasons = [
        own or (f"truth_{true}" if true else "")
        for own, true in zip(fitted.status, truth.status, strict=True)
    ]
    left_out = dict(sorted(Counter(reason for reason in reasons if reason).items()))
    counted = np.array([reason == "" for reason in reasons], dtype=bool)
    return track_errors(pose_track(fitted, files), pose_track(truth, files), counted, left_out)


def track_errors(
    track: BodyTrack,
    truth: BodyTrack,
    counted: Bool[np.ndarray, " frames"],
    left_out: dict[str, int] | None = None,
) -> MarkerErrors:
    """Errors of posed bodies over the counted frames."""
    rows = [
        _frame_errors(
            track.joints_camera[frame].astype(np.float64),
            track.vertices_camera[frame].astype(np.float64),
            truth.joints_camera[frame].astype(np.float64),
            truth.vertices_camera[frame].astype(np.float64),
        )
        for frame in np.flatnonzero(counted)
    ]
    names = [field.name for field in fields(MarkerErrors)][:5]
    means = np.mean(rows, axis=0) * _MM if rows else np.full(len(names), np.nan)
    values = dict(zip(names, means.tolist(), strict=True))
    return MarkerErrors(**values, frames=len(rows), left_out=left_out or {})


def _frame_errors(
    joints: Float[np.ndarray, "joints 3"],
    vertices: Float[np.ndarray, "verts 3"],
    true_joints: Float[np.ndarray, "joints 3"],
    true_vertices: Float[np.ndarray, "verts 3"],
) -> tuple[float, ...]:
    shift = true_joints[_PELVIS] - joints[_PELVIS]
    return (
        _mean_distance(joints + shift, true_joints),
        _mean_distance(vertices + shift, true_vertices),
        _mean_distance(similarity_align(joints, true_joints), true_joints),
        _mean_distance(similarity_align(vertices, true_vertices), true_vertices),
        _mean_distance(vertices, true_vertices),
    )


def _mean_distance(first: Float[np.ndarray, "n 3"], second: Float[np.ndarray, "n 3"]) -> float:
    return float(np.linalg.norm(first - second, axis=1).mean())
