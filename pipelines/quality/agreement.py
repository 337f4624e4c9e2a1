"""Do the fits on the way to the result agree with it? Each weighs the same evidence differently."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipelines.quality.evidence import RecordingEvidence
from pipelines.quality.settings import ObservableSettings


def agreement_observables(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Mean vertex distance and worst joint distance of the result from every other fit, and of the shapes.

    `betas_norm` is the length of the shape vector, `betas_spread` its largest distance from another fit's.
    """
    betas = evidence.parameters.betas
    step = settings.vertex_step
    columns = {"betas_norm": np.linalg.norm(betas, axis=1)}
    spread = np.zeros(len(betas))
    for row, track in evidence.others.items():
        moved = evidence.track.vertices_camera[:, ::step] - track.vertices_camera[:, ::step]
        columns[f"row_distance_mm.{row}"] = 1e3 * np.linalg.norm(moved, axis=-1).mean(axis=1)
        joints = evidence.track.joints_camera - track.joints_camera
        columns[f"row_distance_worst_mm.{row}"] = 1e3 * np.linalg.norm(joints, axis=-1).max(axis=1)
        other = evidence.other_fits[row].parameters.betas
        shared = min(betas.shape[1], other.shape[1])
        spread = np.maximum(spread, np.linalg.norm(betas[:, :shared] - other[:, :shared], axis=1))
    return {name: np.asarray(column, np.float64) for name, column in columns.items()} | {
        "betas_spread": spread
    }
