"""When a stage ends."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.fitting.settings import SolverSettings
from pipelines.fitting.solver import minimise


@dataclass
class _Bowl:
    """Half the squared distance to 0 in one variable, in place of a stage's energy."""

    solver: SolverSettings

    def __post_init__(self) -> None:
        self.stage: Any = SimpleNamespace(name="bowl", free=("x",), solver=self.solver)
        self.data = SimpleNamespace(lengths=torch.ones(1))

    def evaluate(self, variables: dict[str, Tensor], frozen: Any = None) -> Any:
        energy = 0.5 * variables["x"].square().sum(1)
        return SimpleNamespace(per_window=energy, total=energy.sum(), terms={"bowl": energy})

    def refreshed(self, evaluation: Any) -> Any:
        return evaluation


class _TooSteep:
    """Ten times the true curvature, so that a step gains about a fifth of the energy."""

    def step(self, gradient: dict[str, Tensor], damping: Tensor) -> dict[str, Tensor]:
        return {"x": -gradient["x"] / 10}


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_a_stage_ends_after_as_many_poor_steps_as_it_has_patience(patience: int) -> None:
    settings = SolverSettings(steps=9, stop_below=0.999999, patience=patience)
    start = {"x": torch.ones(1, 2)}
    found = minimise(_Bowl(settings), start, lambda *_: _TooSteep())  # type: ignore[arg-type]
    assert len(found.history) == 1 + patience
    assert found.history[-1] < found.history[0]


def test_a_stage_that_never_stops_early_takes_all_its_steps() -> None:
    settings = SolverSettings(steps=5, patience=1)
    start = {"x": torch.ones(1, 2)}
    found = minimise(_Bowl(settings), start, lambda *_: _TooSteep())  # type: ignore[arg-type]
    assert len(found.history) == 6
