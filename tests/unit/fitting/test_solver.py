"""When a stage ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.settings import SolverSettings
from pipelines.fitting.solver import minimise
from pipelines.fitting.variables import Variables


class _Bowl(StageObjective):
    """A quartic in one variable, in place of a stage's energy: every step gains, none ends at 0."""

    def __init__(self, solver: SolverSettings) -> None:
        self.stage: Any = SimpleNamespace(name="bowl", free=("x",), solver=solver)
        self.data: Any = SimpleNamespace(lengths=torch.ones(1))

    def evaluate(self, variables: Any, frozen: Any = None) -> Evaluation:
        energy = 0.25 * variables["x"].pow(4).sum(1)
        evaluation = object.__new__(Evaluation)  # without the bodies it would be made from
        object.__setattr__(evaluation, "per_window", energy)
        object.__setattr__(evaluation, "terms", {"bowl": energy})
        return evaluation

    def refreshed(self, evaluation: Evaluation) -> Evaluation:
        return evaluation


class _TooSteep:
    """More curvature than there is, so that steps are short."""

    def step(self, gradient: Variables, damping: Tensor) -> dict[str, Tensor]:
        return {"x": -gradient["x"] / 10}


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_a_stage_ends_after_as_many_poor_steps_as_it_has_patience(patience: int) -> None:
    settings = SolverSettings(steps=9, stop_below=0.999999, patience=patience)
    start = {"x": torch.ones(1, 2)}
    found = minimise(_Bowl(settings), start, lambda *_: _TooSteep())
    assert len(found.history) == 1 + patience
    assert found.history[-1] < found.history[0]


def test_a_stage_that_never_stops_early_takes_all_its_steps() -> None:
    settings = SolverSettings(steps=5, patience=1)
    start = {"x": torch.ones(1, 2)}
    found = minimise(_Bowl(settings), start, lambda *_: _TooSteep())
    assert len(found.history) == 6
