"""PROX's own optimiser: L-BFGS with strong Wolfe line search, frame by frame.

`torch.optim.LBFGS` with these options takes the same steps as PROX's copy of it. This is the reference
that the faster solver is compared with.

Source: prox `optimizers/lbfgs_ls.py`, `fitting.py` (`run_fitting`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.fitting.prox_style.body import COLUMNS
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.settings import StageWeights

_HISTORY = 100
_CALLS = 30
_ITERATIONS = 30
_TOLERANCE_ENERGY = 1e-9
_TOLERANCE_GRADIENT = 1e-9

Closure = Callable[[Float[Tensor, " numbers"]], tuple[float, Float[Tensor, " numbers"]]]
"""Energy and gradient at a point."""


def minimise_lbfgs(
    start: Float[Tensor, " numbers"],
    evaluate: Closure,
    new_call: Callable[[Float[Tensor, " numbers"]], None] | None = None,
) -> Float[Tensor, " numbers"]:
    """Minimise one energy; returns the last point between calls where it was finite.

    Up to 30 calls of the optimiser share its memory; they end when the energy at the start of a call
    has fallen by less than a 1e-9 share, or has risen.

    Args:
        start: first point.
        evaluate: energy and gradient.
        new_call: told the current point before every call.
    """
    point = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [point],
        max_iter=_ITERATIONS,
        history_size=_HISTORY,
        tolerance_grad=1e-5,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        energy, point.grad = evaluate(point.detach())
        return energy

    finite, previous = start.clone(), np.inf
    for _ in range(_CALLS):
        if new_call is not None:
            new_call(point.detach())
        energy = float(optimiser.step(closure))
        if not (np.isfinite(energy) and torch.isfinite(point).all()):
            break
        finite = point.detach().clone()
        fall = (previous - energy) / max(abs(previous), abs(energy), 1.0)
        if np.isfinite(previous) and fall <= _TOLERANCE_ENERGY:
            break
        if point.grad is not None and abs(point.grad.max().item()) < _TOLERANCE_GRADIENT:
            break
        previous = energy
    return finite


class FrameByFrame:
    """The reference solver, with the interface of `GaussNewton`."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.at_limit: Bool[np.ndarray, " frames"] = np.zeros(len(objective.data), dtype=bool)

    def minimise(
        self,
        parameters: Float[Tensor, "frames 91"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        *,
        last: bool,
    ) -> Float[Tensor, "frames 91"]:
        """Parameters after one stage; all stages run to the same tolerance."""
        del last
        free = torch.ones(parameters.shape[1], dtype=torch.bool)
        if not stage.free_transl:
            free[COLUMNS["transl"]] = False
        result = parameters.clone()
        calls = np.zeros(len(parameters), np.int64)
        for row in range(len(parameters)):
            frame = frames[row : row + 1]

            def full(point: Float[Tensor, " numbers"], row: int = row) -> Float[Tensor, "1 91"]:
                whole = parameters[row].clone()
                whole[free] = point
                return whole[None]

            def evaluate(
                point: Float[Tensor, " numbers"], frame: Int[np.ndarray, "1"] = frame
            ) -> tuple[float, Float[Tensor, " numbers"]]:
                found = self._objective.evaluate(full(point), frame, stage)
                return found.energy.item(), found.gradient[0, free]

            def new_call(
                point: Float[Tensor, " numbers"], frame: Int[np.ndarray, "1"] = frame, row: int = row
            ) -> None:
                calls[row] += 1
                self._objective.update_visibility(full(point), frame)

            result[row] = full(minimise_lbfgs(parameters[row, free], evaluate, new_call))[0]
        self.at_limit[frames[calls >= _CALLS]] = True
        return result
