"""One loop for every stage: damped Gauss-Newton steps, or torch's L-BFGS as HuMoR calls it.

Both minimise the same energy. A step that raises the energy or is not finite is not taken; a window that
can take none keeps its place. What a solver returns is therefore never worse than what it was given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.variables import Variables, all_finite, detached

LOGGER = logging.getLogger(__name__)
FIRST_DAMPING = 1e-2
LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e6
TRIES = 6


class Curvature(Protocol):
    """An approximate second derivative."""

    def step(self, gradient: Variables, damping: Float[Tensor, " windows"]) -> dict[str, Tensor]:
        """The damped Newton step of every window."""


CurvatureBuilder = Callable[[StageObjective, Variables, Evaluation], Curvature]


@dataclass(frozen=True, slots=True, eq=False)
class StageResult:
    """Where a stage ended."""

    variables: dict[str, Tensor]
    energy: Float[Tensor, " windows"]
    """Weighted total with the stage's own points."""
    terms: dict[str, Float[Tensor, " windows"]]
    history: tuple[float, ...]
    """Total before each outer step, and at the end."""
    num_evaluations: int
    failed: Bool[Tensor, " windows"]
    """Windows whose energy is not finite even at the start: nothing could be done for them."""


def minimise(
    objective: StageObjective, variables: Variables, build_curvature: CurvatureBuilder
) -> StageResult:
    """Run a stage with the solver its settings name."""
    if objective.stage.solver.method == "reference_lbfgs":
        return _minimise_lbfgs(objective, variables)
    return _GaussNewton(objective, variables, build_curvature).run()


class _GaussNewton:
    """Levenberg-Marquardt with a damping of its own for each window."""

    def __init__(
        self, objective: StageObjective, variables: Variables, build_curvature: CurvatureBuilder
    ) -> None:
        self._objective, self._build = objective, build_curvature
        self._settings = objective.stage.solver
        self._free = objective.stage.free
        self._variables = detached(variables)
        self._evaluations = 0
        self._damping = torch.full((len(objective.data.lengths),), FIRST_DAMPING)

    def run(self) -> StageResult:
        """Step until nothing is gained or the steps are used up."""
        current, gradient = self._official(self._variables)
        failed = ~current.per_window.isfinite() | ~all_finite(gradient)
        history = [float(current.total)]
        curvature, idle = None, 0
        for step in range(self._settings.steps):
            if curvature is None or step % self._settings.curvature_reuse == 0:
                curvature = self._build(self._objective, self._variables, current)
            gained = self._take_step(curvature, current, gradient, failed)
            if gained is None:
                break
            current, gradient, decrease = gained
            history.append(float(current.total))
            LOGGER.debug(
                "stage %s step %d: %.4f", self._objective.stage.name, step, float(current.total)
            )
            idle = idle + 1 if decrease < self._settings.stop_below else 0
            if idle >= 2:
                break
        terms = {name: value.detach() for name, value in current.terms.items()}
        return StageResult(
            self._variables,
            current.per_window.detach(),
            terms,
            tuple(history),
            self._evaluations,
            failed,
        )

    def _official(self, variables: Variables) -> tuple[Evaluation, dict[str, Tensor]]:
        leaves = self._leaves(variables)
        self._evaluations += 1
        evaluation = self._objective.evaluate(leaves)
        return evaluation, self._gradient(evaluation, leaves)

    def _take_step(
        self,
        curvature: Curvature,
        current: Evaluation,
        gradient: dict[str, Tensor],
        failed: Bool[Tensor, " windows"],
    ) -> tuple[Evaluation, dict[str, Tensor], float] | None:
        """Raise the damping of windows that got worse until every window is better or given up.

        Returns the official evaluation and gradient at the new place, and the relative decrease with
        constants frozen; None when no window moved.
        """
        before = current.per_window.detach()
        settled = failed.clone()
        step = curvature.step(gradient, self._damping)
        moving = {name: value.clone() for name, value in step.items()}
        for attempt in range(TRIES):
            leaves = self._leaves(self._moved(moving))
            self._evaluations += 1
            trial = self._objective.evaluate(leaves, frozen=current)
            after = trial.per_window.detach()
            better = after.isfinite() & all_finite(leaves) & (after < before)
            worse = ~better & ~settled
            if not worse.any() or attempt == TRIES - 1:
                break
            self._damping[worse] = (self._damping[worse] * 10).clamp(max=MOST_DAMPING)
            step = curvature.step(gradient, self._damping)
            moving = {name: _where(worse, step[name], moving[name]) for name in step}
        stuck = ~better
        if stuck.all():
            return None
        if stuck.any():  # leave those windows where they were
            moving = {
                name: _where(stuck, torch.zeros_like(value), value) for name, value in moving.items()
            }
            leaves = self._leaves(self._moved(moving))
            self._evaluations += 1
            trial = self._objective.evaluate(leaves, frozen=current)
        if attempt == 0:
            self._damping = (self._damping * 0.3).clamp(min=LEAST_DAMPING)
        official = self._objective.refreshed(trial)
        self._variables = detached(leaves)
        decrease = float(
            (before - trial.per_window.detach())[~failed].sum() / before[~failed].sum().abs()
        )
        return official, self._gradient(official, leaves), decrease

    def _leaves(self, variables: Variables) -> dict[str, Tensor]:
        return {
            name: value.detach().requires_grad_(name in self._free) for name, value in variables.items()
        }

    def _moved(self, step: Variables) -> dict[str, Tensor]:
        return {
            name: value + step[name] if name in step else value
            for name, value in self._variables.items()
        }

    def _gradient(self, evaluation: Evaluation, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
        gradients = torch.autograd.grad(
            evaluation.total, [leaves[name] for name in self._free], allow_unused=True
        )
        return {
            name: torch.zeros_like(leaves[name]) if gradient is None else gradient
            for name, gradient in zip(self._free, gradients, strict=True)
        }


def _where(mask: Bool[Tensor, " windows"], yes: Tensor, no: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)


def _minimise_lbfgs(objective: StageObjective, variables: Variables) -> StageResult:
    """All windows in one L-BFGS with strong Wolfe line search; weights move inside the search, as in HuMoR.

    Source: humor fitting/motion_optimizer.py (lr 1, max_iter 20, history 100).
    """
    settings, free = objective.stage.solver, objective.stage.free
    place = {name: value.detach().clone() for name, value in variables.items()}
    leaves = [place[name].requires_grad_(True) for name in free]
    optimiser = torch.optim.LBFGS(
        leaves,
        lr=1.0,
        max_iter=settings.inner_iterations,
        history_size=100,
        line_search_fn="strong_wolfe",
    )
    evaluations, history, idle = 0, [], 0

    def closure() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        optimiser.zero_grad()
        total = objective.evaluate(place).total
        total.backward()
        return total

    best = detached(place)
    for step in range(settings.steps):
        before = optimiser.step(closure)
        if not all_finite(place).all():
            LOGGER.warning("stage %s: not finite after outer step %d", objective.stage.name, step)
            break
        best = {name: value.detach().clone() for name, value in place.items()}
        history.append(float(before))
        if len(history) > 1 and settings.stop_below > 0:
            gain = (history[-2] - history[-1]) / max(abs(history[-2]), 1e-12)
            idle = idle + 1 if gain < settings.stop_below else 0
            if idle >= 2:
                break
    with torch.no_grad():
        final = objective.evaluate(best)
    history.append(float(final.total))
    return StageResult(
        best,
        final.per_window,
        final.terms,
        tuple(history),
        evaluations,
        ~final.per_window.isfinite(),
    )
