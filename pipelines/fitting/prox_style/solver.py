"""Damped quasi-Newton steps for every frame on its own, all frames in step.

A round begins with the Gauss-Newton matrix; every further gradient, of rejected steps too, corrects it
(BFGS), which brings in what it leaves out: the bends of the pose decoder and of the robust functions.
Every frame has its own damping, accepts or rejects its own steps and ends when it has converged; frames
only share the batch they are evaluated in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.fitting.prox_style.body import COLUMNS, NUM_PARAMETERS
from pipelines.fitting.prox_style.curvature import Curvature
from pipelines.fitting.prox_style.objective import Objective
from pipelines.fitting.prox_style.settings import ProxStyleSolverSettings, StageWeights
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat

_FIRST_DAMPING = 0.1
_LEAST_DAMPING = 1e-5
_MOST_DAMPING = 1e6
_LEAST_CURVATURE = 1.0
"""Added to the diagonal the damping multiplies: eye poses have no prior and may have no curvature."""
_STEPS_TO_CONVERGE = 2
_FREE_TURNS = ("global_orient", "leye_pose", "reye_pose")
"""Rotation vectors without a prior: a whole turn more changes nothing."""
_FAR_TURN_RAD = 1.5 * np.pi
_EVENLY_DAMPED = ("latent", "left_hand_pose", "right_hand_pose")


@dataclass(slots=True, eq=False)
class _State:
    """Where every frame of a stage stands."""

    parameters: Float[Tensor, "frames 91"]
    energy: Float[Tensor, " frames"]
    gradient: Float[Tensor, "frames 91"]
    hessian: Float[Tensor, "frames 91 91"]
    damping: Float[Tensor, " frames"]
    small_steps: Int[np.ndarray, " frames"]

    @staticmethod
    def start(parameters: Float[Tensor, "frames 91"]) -> _State:
        count = len(parameters)
        return _State(
            parameters=parameters.clone(),
            energy=parameters.new_full((count,), torch.inf),
            gradient=torch.zeros_like(parameters),
            hessian=parameters.new_zeros(count, NUM_PARAMETERS, NUM_PARAMETERS),
            damping=parameters.new_full((count,), _FIRST_DAMPING),
            small_steps=np.zeros(count, np.int64),
        )


class GaussNewton:
    """Minimises an objective stage by stage."""

    def __init__(self, objective: Objective, settings: ProxStyleSolverSettings) -> None:
        self._objective, self._settings = objective, settings
        self._curvature = Curvature(objective, settings.anchors, settings.tangential)
        self.at_limit: Bool[np.ndarray, " frames"] = np.zeros(len(objective.data), dtype=bool)

    def minimise(
        self,
        parameters: Float[Tensor, "frames 91"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        *,
        last: bool,
    ) -> Float[Tensor, "frames 91"]:
        """Parameters after one stage.

        Args:
            parameters: start, one row per frame.
            frames: which of the objective's frames the rows belong to.
            stage: weights.
            last: run to the tolerance of the last stage.
        """
        settings = self._settings
        tolerance = settings.last_tolerance if last else settings.tolerance
        state = _State.start(_unwound(parameters))
        active, lowest = np.arange(len(frames)), state.energy.clone()
        for _ in range(settings.last_rounds if last else settings.rounds):
            if len(active) == 0:
                break
            self._objective.update_visibility(state.parameters[active], frames[active])
            self._linearise(state, active, frames, stage)
            before = state.energy[active].minimum(lowest[active])
            self._round(state, active, frames, stage, tolerance)
            lowest[active] = before.minimum(state.energy[active])
            # Against the lowest so far: a set that comes and goes must not keep a frame busy for ever.
            decrease = (before - state.energy[active]) / before.abs().clamp(min=1)
            active = active[(decrease > tolerance).numpy()]
        self.at_limit[frames[active]] = True
        return state.parameters

    def _round(
        self,
        state: _State,
        active: Int[np.ndarray, " active"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        tolerance: float,
    ) -> None:
        state.small_steps[active] = 0
        for _ in range(self._settings.iterations):
            if len(active) == 0:
                return
            for batch in self._objective.batches(active):
                self._step(state, batch, frames, stage, tolerance)
            stuck = (state.damping[active] > _MOST_DAMPING).numpy()
            active = active[(state.small_steps[active] < _STEPS_TO_CONVERGE) & ~stuck]
        self.at_limit[frames[active]] = True

    def _step(
        self,
        state: _State,
        rows: Int[np.ndarray, " rows"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        tolerance: float,
    ) -> None:
        step, predicted = _damped_step(
            state.hessian[rows], state.gradient[rows], state.damping[rows], stage.free_transl
        )
        trial = state.parameters[rows] + step
        found = self._objective.evaluate(trial, frames[rows], stage)
        finite = torch.isfinite(found.energy) & torch.isfinite(found.gradient).all(dim=1)
        decrease = state.energy[rows] - found.energy
        better = finite & (decrease >= 0)
        _count_small_steps(state, rows, decrease, better, tolerance)
        gain = torch.where(better, decrease / predicted.clamp(min=1e-12), 0)
        factor = torch.where(gain > 0.75, 0.3, torch.where(gain > 0.25, 1.0, 3.0))
        factor = torch.where(better, factor, 5.0)
        state.damping[rows] = (state.damping[rows] * factor).clamp(min=_LEAST_DAMPING)
        change = torch.where(finite[:, None], found.gradient - state.gradient[rows], 0.0)
        state.hessian[rows] = _secant_update(state.hessian[rows], step, change)
        kept = rows[better.numpy()]
        state.parameters[kept] = trial[better]
        state.energy[kept], state.gradient[kept] = found.energy[better], found.gradient[better]

    def _linearise(
        self,
        state: _State,
        active: Int[np.ndarray, " active"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
    ) -> None:
        # Fresh curvature deserves fresh trust: a frame that got stuck would stay where it stalled.
        state.damping[active] = _FIRST_DAMPING
        for rows in self._objective.batches(active):
            parameters = state.parameters[rows]
            found = self._objective.evaluate(parameters, frames[rows], stage)
            state.energy[rows], state.gradient[rows] = found.energy, found.gradient
            state.hessian[rows] = self._curvature.matrices(parameters, frames[rows], stage, found)


def _unwound(parameters: Float[Tensor, "frames 91"]) -> Float[Tensor, "frames 91"]:
    """The same bodies, rotations without a prior as vectors of at most 270 degrees.

    Near a whole turn two of the three directions of a rotation vector no longer turn the body.
    """
    result = parameters.clone()
    for name in _FREE_TURNS:
        rotvec = parameters[:, COLUMNS[name]]
        far = rotvec.norm(dim=1, keepdim=True) > _FAR_TURN_RAD
        result[:, COLUMNS[name]] = torch.where(far, rotmat_to_rotvec(rotvec_to_rotmat(rotvec)), rotvec)
    return result


def _damped_step(
    hessian: Float[Tensor, "frames 91 91"],
    gradient: Float[Tensor, "frames 91"],
    damping: Float[Tensor, " frames"],
    free_transl: bool,
) -> tuple[Float[Tensor, "frames 91"], Float[Tensor, " frames"]]:
    """Levenberg-Marquardt step and the decrease its model predicts."""
    matrix, slope = hessian.double(), gradient.double()
    if not free_transl:
        matrix, slope = matrix.clone(), slope.clone()
        held = COLUMNS["transl"]
        matrix[:, held], matrix[:, :, held], slope[:, held] = 0.0, 0.0, 0.0
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    scale = diagonal + _LEAST_CURVATURE
    for name in _EVENLY_DAMPED:
        # Nonlinear variables: a direction without curvature here must not become a huge step.
        columns = COLUMNS[name]
        scale[:, columns] = scale[:, columns].maximum(scale[:, columns].mean(dim=1, keepdim=True))
    damped = matrix + torch.diag_embed(damping[:, None].double() * scale)
    factor, failed = torch.linalg.cholesky_ex(damped)
    usable = failed == 0
    factor = torch.where(usable[:, None, None], factor, torch.eye(NUM_PARAMETERS, dtype=torch.float64))
    step = -torch.cholesky_solve(slope[..., None], factor)[..., 0]
    step = torch.where(usable[:, None], step, 0.0)
    predicted = -(slope * step).sum(1) - 0.5 * (step[:, None] @ matrix @ step[..., None])[:, 0, 0]
    return step.to(gradient), predicted.to(gradient)


def _secant_update(
    hessian: Float[Tensor, "frames 91 91"],
    step: Float[Tensor, "frames 91"],
    change: Float[Tensor, "frames 91"],
) -> Float[Tensor, "frames 91 91"]:
    """BFGS update with Powell's damping: positive definite whatever the gradient did."""
    along = (hessian @ step[..., None])[..., 0]
    curvature = (step * along).sum(1)
    found = (step * change).sum(1)
    share = torch.where(found < 0.2 * curvature, 0.8 * curvature / (curvature - found), 1.0)[:, None]
    change = share * change + (1 - share) * along
    found = (step * change).sum(1)
    usable = (curvature > 0) & (found > 0)
    safe_curvature, safe_found = torch.where(usable, curvature, 1.0), torch.where(usable, found, 1.0)
    update = (
        change[:, :, None] * change[:, None] / safe_found[:, None, None]
        - along[:, :, None] * along[:, None] / safe_curvature[:, None, None]
    )
    return hessian + torch.where(usable[:, None, None], update, 0.0)


def _count_small_steps(
    state: _State,
    rows: Int[np.ndarray, " rows"],
    decrease: Float[Tensor, " rows"],
    better: Bool[Tensor, " rows"],
    tolerance: float,
) -> None:
    share = decrease / state.energy[rows].abs().clamp(min=1)
    counted = np.where((share < tolerance).numpy(), state.small_steps[rows] + 1, 0)
    state.small_steps[rows] = np.where(better.numpy(), counted, state.small_steps[rows])
