"""Energies that are no number: the solver goes back, damps and tries again, and at worst marks the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.fitting import humor
from pipelines.fitting.humor import fit_humor
from pipelines.fitting.objective import Evaluation, StageObjective, TermInputs
from pipelines.fitting.settings import HumorSettings, SolverSettings, WindowSettings
from pipelines.fitting.solver import StageResult, minimise


class Valley(StageObjective):
    """Two numbers a window; energy (x - 3)^2 beside what `spoil` makes of it."""

    def __init__(self, spoil: Callable[[Tensor, Tensor], Tensor], windows: int = 1) -> None:
        self.spoil = spoil
        self.stage = SimpleNamespace(solver=SolverSettings(steps=40), free=("x",))  # type: ignore[assignment]
        self.data = SimpleNamespace(lengths=torch.ones(windows))  # type: ignore[assignment]

    def evaluate(self, variables: Any, frozen: Any = None) -> Evaluation:
        x = variables["x"]
        energy = self.spoil(x, (x - 3).square().sum(1))
        return Evaluation(energy, {"valley": energy}, TermInputs.__new__(TermInputs))

    def refreshed(self, evaluation: Evaluation) -> Evaluation:
        return evaluation


class TooLong:
    """A curvature a tenth of the true one: undamped steps leap ten times too far."""

    def step(self, gradient: dict[str, Tensor], damping: Tensor) -> dict[str, Tensor]:
        return {"x": -gradient["x"] / (0.2 * (1 + damping[:, None]))}


def solve(valley: Valley, start: Tensor) -> StageResult:
    build: Any = lambda *_: TooLong()  # noqa: E731
    return minimise(valley, {"x": start}, build)


def test_a_step_into_no_number_is_taken_back_and_damped() -> None:
    """Beyond 5 there is nothing; the first steps from 0 leap to 30."""
    beyond = lambda x, energy: torch.where(x.amax(1) > 5, torch.nan, energy)  # noqa: E731
    result = solve(Valley(beyond), torch.zeros(1, 2))
    assert not result.failed.any()
    torch.testing.assert_close(result.variables["x"], torch.full((1, 2), 3.0), atol=1e-2, rtol=0)
    assert all(
        after <= before for before, after in zip(result.history, result.history[1:], strict=False)
    )


def test_a_window_that_can_take_no_step_keeps_its_place() -> None:
    def hole(x: Tensor, energy: Tensor) -> Tensor:
        return torch.where(x.abs().amax(1) > 1e-9, torch.nan, energy)

    result = solve(Valley(hole), torch.zeros(1, 2))
    assert not result.failed.any()
    assert torch.equal(result.variables["x"], torch.zeros(1, 2))


def test_a_window_without_a_number_from_the_start_is_marked() -> None:
    result = solve(Valley(lambda x, energy: energy * torch.nan), torch.ones(1, 2))
    assert result.failed.tolist() == [True]
    assert torch.equal(result.variables["x"], torch.ones(1, 2))


def test_a_window_without_a_number_does_not_keep_its_neighbour_from_moving() -> None:
    first_only = torch.tensor([torch.nan, 1.0])
    result = solve(Valley(lambda x, energy: energy * first_only, windows=2), torch.zeros(2, 2))
    assert result.failed.tolist() == [True, False]
    torch.testing.assert_close(result.variables["x"][1], torch.full((2,), 3.0), atol=1e-2, rtol=0)


@pytest.mark.slow
def test_the_window_is_told_as_failed_and_the_others_are_fitted(
    stage_person: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two windows has no number in the first stage of the roll-out."""
    torch.set_num_threads(1)
    person, seen = stage_person(6, num_points=200), []
    own = humor.minimise

    def spoilt(objective: Any, variables: Any, build: Any) -> StageResult:
        result = own(objective, variables, build)
        if objective.stage.kind != "motion":
            return result
        seen.append(objective.stage.name)
        second = len(seen) == 2
        return replace(result, failed=torch.full_like(result.failed, second))

    monkeypatch.setattr(humor, "minimise", spoilt)
    settings = HumorSettings(windows=WindowSettings(length=4, overlap=2, run_length=8))
    quick = [s.model_copy(update={"solver": SolverSettings(steps=1)}) for s in settings.stages]
    settings = settings.model_copy(update={"stages": tuple(quick)})
    fitted = fit_humor(
        person.observations, person.scene, person.files, person.priors, settings, rows=("humor",)
    )["humor"]
    assert fitted.status == ("", "", "", "", "fit_failed", "fit_failed")
    assert fitted.valid.tolist() == [True] * 4 + [False] * 2
    for values in (fitted.parameters.transl, fitted.parameters.body_pose):
        assert np.isfinite(values).all()
