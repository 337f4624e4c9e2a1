"""One loop for every stage: damped Gauss-Newton steps, or torch's L-BFGS as HuMoR calls it.

Both minimise the same energy. A step that raises the energy or is not finite is not taken; a window that
can take none keeps its place. What a solver returns is therefore never worse than what it was given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.variables import Variables, all_finite, detached, flatten, replace_flat

LOGGER = logging.getLogger(__name__)
LEAST_DAMPING, MOST_DAMPING = 1e-5, 1e6
TRIES = 6
REMEMBERED_STEPS = 8
"""Secant pairs kept on top of the Gauss-Newton curvature: they learn what it leaves out."""


@runtime_checkable
class Curvature(Protocol):
    """An approximate second derivative."""

    def step(self, gradient: Variables, damping: Float[Tensor, " windows"]) -> dict[str, Tensor]:
        """The damped Newton step of every window; linear in the gradient."""


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
    """Gauss-Newton with a damping of its own for each window, sharpened by secant pairs."""

    def __init__(
        self, objective: StageObjective, variables: Variables, build_curvature: CurvatureBuilder
    ) -> None:
        self._objective, self._build = objective, build_curvature
        self._settings, self._free = objective.stage.solver, objective.stage.free
        self._variables = detached(variables)
        self._evaluations = 0
        windows = len(objective.data.lengths)
        self._damping = torch.full((windows,), self._settings.first_damping)
        self._secants = SecantPairs(REMEMBERED_STEPS)

    def run(self) -> StageResult:
        """Step until nothing is gained or the steps are used up."""
        current, gradient = self._official(self._variables)
        failed = ~current.per_window.isfinite() | ~gradient.isfinite().all(1)
        history, curvature, idle = [float(current.total.detach())], None, 0
        for step in range(self._settings.steps):
            if curvature is None or step % self._settings.curvature_reuse == 0:
                curvature = self._build(self._objective, self._variables, current)
            gained = self._take_step(curvature, current, gradient, failed)
            if gained is None:
                break
            current, gradient, decrease = gained
            history.append(float(current.total.detach()))
            idle = idle + 1 if decrease < self._settings.stop_below else 0
            if idle >= self._settings.patience:
                break
        return StageResult(
            self._variables,
            current.per_window.detach(),
            {name: value.detach() for name, value in current.terms.items()},
            tuple(history),
            self._evaluations,
            failed,
        )

    def _official(self, variables: Variables) -> tuple[Evaluation, Tensor]:
        leaves = self._leaves(variables)
        self._evaluations += 1
        evaluation = self._objective.evaluate(leaves)
        return evaluation, self._gradient(evaluation, leaves)

    def _take_step(
        self,
        curvature: Curvature,
        current: Evaluation,
        gradient: Float[Tensor, "windows numbers"],
        failed: Bool[Tensor, " windows"],
    ) -> tuple[Evaluation, Tensor, float] | None:
        """Raise the damping of windows that got worse until every window is better or given up.

        Returns the official evaluation and gradient at the new place, and the relative decrease with
        constants frozen; None when no window moved.
        """
        before = current.per_window.detach()
        step = self._direction(curvature, gradient)
        for attempt in range(TRIES):
            leaves, trial = self._try(step, current)
            better = self._is_better(trial, before)
            worse = ~better & ~failed
            if not worse.any() or attempt == TRIES - 1:
                break
            self._damping[worse] = (self._damping[worse] * 5).clamp(max=MOST_DAMPING)
            self._secants.forget(worse)
            step = torch.where(worse[:, None], self._direction(curvature, gradient), step)
        if not better.any():
            return None
        if not better.all():  # leave those windows where they were
            step = torch.where(better[:, None], step, 0.0)
            leaves, trial = self._try(step, current)
            if not float(trial.per_window.detach()[~failed].sum()) < float(before[~failed].sum()):
                return None
        gain = before - trial.per_window.detach()
        self._adapt_damping(gain / (-0.5 * (gradient * step).sum(1)).clamp_min(1e-12), better)
        official = self._objective.refreshed(trial)
        self._variables = detached(leaves)
        new_gradient = self._gradient(official, leaves)
        self._secants.add(step, new_gradient - gradient)
        share = gain[~failed].sum() / before[~failed].abs().sum().clamp_min(1e-9)
        return official, new_gradient, float(share)

    def _adapt_damping(self, ratio: Float[Tensor, " windows"], moved: Bool[Tensor, " windows"]) -> None:
        """Trust the model as far as it foretold the gain (1 = exactly)."""
        factor = torch.ones_like(ratio)
        factor[ratio > 0.7] = 0.3
        factor[ratio < 0.3] = 2.0
        factor[~moved] = 1.0
        LOGGER.debug("gain %s damping %s", ratio.tolist(), self._damping.tolist())
        self._damping = (self._damping * factor).clamp(LEAST_DAMPING, MOST_DAMPING)

    def _direction(
        self, curvature: Curvature, gradient: Float[Tensor, "windows numbers"]
    ) -> Float[Tensor, "windows numbers"]:
        def solve(right: Tensor) -> Tensor:
            parts = replace_flat({n: self._variables[n] for n in self._free}, self._free, right)
            return -flatten(curvature.step(parts, self._damping), self._free)

        return -self._secants.solve(gradient, solve)

    def _try(self, step: Tensor, current: Evaluation) -> tuple[dict[str, Tensor], Evaluation]:
        flat = flatten(self._variables, self._free) + step
        leaves = self._leaves(replace_flat(self._variables, self._free, flat))
        self._evaluations += 1
        return leaves, self._objective.evaluate(leaves, frozen=current)

    def _is_better(self, trial: Evaluation, before: Tensor) -> Bool[Tensor, " windows"]:
        after = trial.per_window.detach()
        return after.isfinite() & (after < before)

    def _leaves(self, variables: Variables) -> dict[str, Tensor]:
        return {
            name: value.detach().requires_grad_(name in self._free) for name, value in variables.items()
        }

    def _gradient(
        self, evaluation: Evaluation, leaves: dict[str, Tensor]
    ) -> Float[Tensor, "windows numbers"]:
        gradients = torch.autograd.grad(
            evaluation.total,
            [leaves[name] for name in self._free],
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


class SecantPairs:
    """L-BFGS on top of another inverse curvature, for every window on its own."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, step: Float[Tensor, "windows numbers"], change: Tensor) -> None:
        """Remember a step and how the gradient changed; a window where that is no curvature skips it."""
        product = (step * change).sum(1)
        sound = product > 1e-8 * step.norm(dim=1) * change.norm(dim=1)
        self._pairs.append((step, change, torch.where(sound, 1 / product, 0.0)))
        self._pairs = self._pairs[-self._remembered :]

    def forget(self, windows: Bool[Tensor, " windows"]) -> None:
        """Drop what was learnt about some windows."""
        self._pairs = [
            (step, change, torch.where(windows, 0.0, inverse)) for step, change, inverse in self._pairs
        ]

    def solve(
        self, gradient: Float[Tensor, "windows numbers"], base: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "windows numbers"]:
        """Inverse curvature times a gradient: two-loop recursion around `base`."""
        rest, shares = gradient, []
        for step, change, inverse in reversed(self._pairs):
            share = inverse * (step * rest).sum(1)
            rest = rest - share[:, None] * change
            shares.append(share)
        result = base(rest)
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            result = result + (share - inverse * (change * result).sum(1))[:, None] * step
        return result


def _minimise_lbfgs(objective: StageObjective, variables: Variables) -> StageResult:
    """All windows in one L-BFGS with strong Wolfe search; robust weights move inside it, as in HuMoR.

    Source: humor fitting/motion_optimizer.py (lr 1, max_iter 20, history 100).
    """
    settings, free = objective.stage.solver, objective.stage.free
    place = {name: value.detach().clone() for name, value in variables.items()}
    optimiser = torch.optim.LBFGS(
        [place[name].requires_grad_(True) for name in free],
        lr=1.0,
        max_iter=settings.inner_iterations,
        history_size=100,
        line_search_fn="strong_wolfe",
    )
    evaluations, idle = 0, 0
    history: list[float] = []

    def closure() -> float:
        nonlocal evaluations
        evaluations += 1
        optimiser.zero_grad()
        total = objective.evaluate(place).total
        torch.autograd.backward(total)
        return float(total.detach())

    best = {name: value.detach().clone() for name, value in place.items()}
    for step in range(settings.steps):
        before = float(optimiser.step(closure))
        if not all_finite(place).all():
            LOGGER.warning("stage %s: not finite after outer step %d", objective.stage.name, step)
            break
        best = {name: value.detach().clone() for name, value in place.items()}
        history.append(before)
        if len(history) > 1 and settings.stop_below > 0:
            gain = (history[-2] - history[-1]) / max(abs(history[-2]), 1e-12)
            idle = idle + 1 if gain < settings.stop_below else 0
            if idle >= settings.patience:
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
