"""One yardstick for all solvers: HuMoR's energy of stage 3c, whatever was minimised to get there.

    found = official_energy(models, data, variables)
    found.total, found.terms["points3d"], found.points_weighted

Official weights, every depth point, no scene terms and no overlap term (HuMoR gives it no weight on PROX).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.fitting.objective import StageObjective
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.settings import HumorSettings, StageSettings, official_stages
from pipelines.fitting.variables import Variables
from pipelines.fitting.window_data import WindowData

LEADING_FRAMES = 15
"""Frames that stage 3a sees; `init_motion_prior` grows with the window's length over it."""


@dataclass(frozen=True, slots=True, eq=False)
class OfficialEnergy:
    """What HuMoR's last stage would say about some windows."""

    per_window: Float[Tensor, " windows"]
    terms: dict[str, Float[Tensor, " windows"]]
    """Weighted, so that they add up to `per_window`."""
    points_weighted: Int[Tensor, " windows"]
    """Depth points with a positive robust weight."""
    points_observed: Int[Tensor, " windows"]

    @property
    def total(self) -> float:
        """Sum over the windows."""
        return float(self.per_window.sum())


def official_energy(
    models: FitModels, data: WindowData, variables: Variables, leading_frames: int = LEADING_FRAMES
) -> OfficialEnergy:
    """Evaluate stage-3 variables, e.g. those of a checkpoint of stage 3c, in the precision of the models.

    Args:
        models: body and priors; the heading is taken in its official form whatever they say.
        data: the windows' observations, uncut.
        variables: every variable of stage 3, a row per window.
        leading_frames: HuMoR's first stage-3 part saw so many frames.
    """
    dtype = models.body.dtype
    stage = last_stage(data.frames_used.shape[1], leading_frames)
    official = replace(models, heading="acos")
    objective = StageObjective(official, _in_dtype(data, dtype), None, stage, HumorSettings.reference())
    wanted = {name: value.detach().to(dtype) for name, value in variables.items()}
    with torch.no_grad():
        evaluation = objective.evaluate(wanted)
    weights = evaluation.inputs.point_weights
    assert weights is not None
    observed = data.has_points.sum(1) * data.points_camera.shape[2]
    return OfficialEnergy(
        per_window=evaluation.per_window,
        terms={term: objective.weight(term) * value for term, value in evaluation.terms.items()},
        points_weighted=(weights > 0).sum(1),
        points_observed=observed.long(),
    )


def last_stage(num_frames: int, leading_frames: int = LEADING_FRAMES) -> StageSettings:
    """The official stage 3c for windows of so many frames, with HuMoR's own terms only."""
    stage = official_stages()[-1].without_scene()
    return stage.model_copy(
        update={
            "weights": {**stage.weights, "rgb_overlap_consist": 0.0},
            "init_motion_scale": num_frames / min(num_frames, leading_frames),
        }
    )


def _in_dtype(data: WindowData, dtype: torch.dtype) -> WindowData:
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    floats: dict[str, Any] = {
        name: value.to(dtype)
        for name, value in values.items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    return replace(data, neighbours=None, **floats)
