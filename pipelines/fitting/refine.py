"""From stage 3's motion to poses that are free of the roll-out: start, reference, runs of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pipelines.fitting.prediction import FitModels, predict_poses
from pipelines.fitting.window_data import ReferenceMotion, WindowData
from pipelines.fitting.windows import Window, frame_rows
from pipelines.records import FittedSequence, SmplhParameters


def pose_variables(
    fitted: FittedSequence, windows: Sequence[Window], dtype: torch.dtype
) -> dict[str, Tensor]:
    """The stitched motion cut into runs; betas are the mean over a run's frames."""
    parameters = fitted.parameters
    assert isinstance(parameters, SmplhParameters)
    rows = frame_rows(windows)
    inside = np.arange(rows.shape[1]) < np.array([[window.length] for window in windows])
    share = (inside & _usable(fitted)[rows]).astype(float)
    share /= share.sum(1, keepdims=True).clip(min=1)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=dtype)

    return {
        "trans": tensor(parameters.transl[rows]),
        "root_orient": tensor(parameters.global_orient[rows]),
        "body_pose": tensor(parameters.body_pose[rows]),
        "betas": tensor((parameters.betas[rows] * share[..., None]).sum(1)),
    }


def pose_data(
    models: FitModels,
    data: WindowData,
    fitted: FittedSequence,
    variables: dict[str, Tensor],
    windows: Sequence[Window],
) -> WindowData:
    """The runs' observations with the motion as reference; frames without a motion do not count."""
    with torch.no_grad():
        start = predict_poses(models, variables, mesh=False)
    rows = frame_rows(windows)
    contacts = fitted.contacts if fitted.contacts is not None else np.zeros((len(rows), 22))
    known = torch.as_tensor(_usable(fitted)[rows]).to(data.frames_used)
    return replace(
        data,
        confidence=data.confidence * known[..., None],
        has_points=data.has_points * known,
        frames_used=data.frames_used * known,
        reference=ReferenceMotion(
            joints_camera=start.joints[:, :, :22],
            rotmats=torch.cat([start.root_rotmats[:, :, None], start.body_rotmats], dim=2),
            contacts=torch.as_tensor(contacts[rows]).to(data.frames_used),
        ),
    )


def _usable(fitted: FittedSequence) -> np.ndarray:
    return np.array([reason not in ("fit_failed", "trimmed") for reason in fitted.status])
