"""Curvature of stage 3: a chain of states driven by latents, solved by dynamic programming.

The quadratic model sums, over frames, what the data and the motion terms say about each state's tangent
(`rollout_response.py`), the states being tied by x[t+1] = A x[t] + B z[t+1] and starting from the window's
own variables. Its minimiser over all latents and window variables is found backwards in time, latent by
latent, at the cost of a few hundred small products; no matrix over all latents is ever formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import HUMOR_PARENTS
from pipelines.fitting.block_tridiagonal import safe_cholesky
from pipelines.fitting.data_curvature import body_response, data_curvature, overlap_sides
from pipelines.fitting.energies import CONTACT_HEIGHT_M
from pipelines.fitting.jacobians import BodyResponse
from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.prediction import MotionPrediction
from pipelines.fitting.rollout_response import (
    BODY,
    JOINT_VELOCITIES,
    JOINTS,
    TANGENT,
    VELOCITIES,
    start_response,
    step_response,
)
from pipelines.fitting.variables import Variables
from pipelines.motion_prior.canonical import pelvis_offset
from pipelines.motion_prior.initial_state import InitialStatePrior, initial_state_vector

_FLOOR = 1e-6
_POSE_RIDGE = 1.0
"""Stage 3 has no prior on the first frame's latent pose, and some of its directions do nearly nothing:
without this they would run away within one step."""
_HEIGHT_SOFTENING_M = 0.02
"""The height term is linear; below this excess its parabola gets no steeper."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionCurvature:
    """The quadratic model of one stage-3 energy; `step` minimises it with damping."""

    names: tuple[str, ...]
    """Free window variables (all but the latents), in column order."""
    states: Float[Tensor, "windows frames 207 207"]
    states_window: Float[Tensor, "windows frames 207 columns"]
    window: Float[Tensor, "windows columns columns"]
    pairs: Float[Tensor, "windows steps 207 207"]
    """Coupling of state t (rows) with state t + 1 (columns)."""
    latents: Float[Tensor, "windows steps 48"]
    """Diagonal."""
    latents_states: Float[Tensor, "windows steps 48 207"]
    latent_scales: Float[Tensor, "windows steps 48"]
    """Curvature that a latent has through the very next frame alone: the measure of its damping. Its
    full curvature, through all later frames, would forbid moves that later latents make up for."""
    by_state: Float[Tensor, "windows steps 207 207"]
    by_latent: Float[Tensor, "windows steps 207 48"]
    first_state: Float[Tensor, "windows 207 columns"]

    @staticmethod
    def build(
        objective: StageObjective, variables: Variables, evaluation: Evaluation
    ) -> MotionCurvature:
        """Curvature at the place of an evaluation."""
        with torch.no_grad():
            return _Builder(objective, variables, evaluation).build()

    def step(self, gradient: Variables, damping: Float[Tensor, " windows"]) -> dict[str, Tensor]:
        """Minus the damped inverse curvature times the gradient, by variable."""
        dtype = gradient["betas"].dtype
        latent_gradient = gradient["latent_motion"].double()
        steps = self.latents.shape[1]
        window_gradient = torch.cat([gradient[name].flatten(1) for name in self.names], dim=1).double()
        back = _sweep_back(self, latent_gradient[:, :steps], damping.double())
        moved = _solve_window(self, back, window_gradient, damping.double())
        latent_step = torch.zeros_like(latent_gradient)
        state = (self.first_state @ moved[..., None])[..., 0]
        for index in range(steps):
            latent = back.gains[index] @ torch.cat([state, moved], dim=1)[..., None]
            latent_step[:, index] = latent[..., 0] + back.offsets[index]
            state = (
                self.by_state[:, index] @ state[..., None]
                + self.by_latent[:, index] @ latent_step[:, index, :, None]
            )[..., 0]
        sizes = [gradient[name][0].numel() for name in self.names]
        parts = moved.to(dtype).split(sizes, dim=1)
        result = {
            name: part.reshape(gradient[name].shape)
            for name, part in zip(self.names, parts, strict=True)
        }
        result["latent_motion"] = latent_step.to(dtype)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Backward:
    """Value of the first state, and how each latent answers to the state before it."""

    value: Float[Tensor, "windows 207 207"]
    value_window: Float[Tensor, "windows 207 columns"]
    window: Float[Tensor, "windows columns columns"]
    slope: Float[Tensor, "windows 207"]
    window_slope: Float[Tensor, "windows columns"]
    gains: list[Tensor]
    offsets: list[Tensor]


def _sweep_back(
    model: MotionCurvature,
    gradient: Float[Tensor, "windows steps 48"],
    damping: Float[Tensor, " windows"],
) -> _Backward:
    """Eliminate the latents from the last to the first (a Riccati recursion)."""
    value, value_window, window = model.states[:, -1], model.states_window[:, -1], model.window
    slope = value.new_zeros(value.shape[:2])
    window_slope = value.new_zeros(window.shape[:2])
    gains: list[Tensor] = []
    offsets: list[Tensor] = []
    scale = (1 + damping)[:, None]
    for index in range(model.latents.shape[1] - 1, -1, -1):
        A, B = model.by_state[:, index], model.by_latent[:, index]
        ahead = B.mT @ value
        own = ahead @ B
        lift = model.latents[:, index] * scale + damping[:, None] * model.latent_scales[:, index]
        own.diagonal(dim1=-2, dim2=-1).add_(lift + _FLOOR)
        pair = model.pairs[:, index]
        by_state = ahead @ A + B.mT @ pair.mT + model.latents_states[:, index]
        by_window = B.mT @ value_window
        by_one = (gradient[:, index] + (B.mT @ slope[..., None])[..., 0])[..., None]
        right = torch.cat([by_state, by_window, by_one], dim=-1)
        solved = -torch.cholesky_solve(right, safe_cholesky(own))
        gain, offset = solved[..., :-1], solved[..., -1]
        crossed = pair @ A
        value_next = model.states[:, index] + A.mT @ (value @ A) + crossed + crossed.mT
        value_next += by_state.mT @ gain[..., :TANGENT]
        value_window_next = (
            model.states_window[:, index] + A.mT @ value_window + by_state.mT @ gain[..., TANGENT:]
        )
        slope = ((A.mT @ slope[..., None]) + by_state.mT @ offset[..., None])[..., 0]
        window_slope = window_slope + (by_window.mT @ offset[..., None])[..., 0]
        window = window + by_window.mT @ gain[..., TANGENT:]
        value, value_window = 0.5 * (value_next + value_next.mT), value_window_next
        gains.append(gain)
        offsets.append(offset)
    return _Backward(value, value_window, window, slope, window_slope, gains[::-1], offsets[::-1])


def _solve_window(
    model: MotionCurvature,
    back: _Backward,
    gradient: Float[Tensor, "windows columns"],
    damping: Float[Tensor, " windows"],
) -> Float[Tensor, "windows columns"]:
    first = model.first_state
    crossed = first.mT @ back.value_window
    hessian = back.window + first.mT @ back.value @ first + crossed + crossed.mT
    hessian = 0.5 * (hessian + hessian.mT)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal.mul_(1 + damping[:, None]).add_(_FLOOR)
    right = gradient + back.window_slope + (first.mT @ back.slope[..., None])[..., 0]
    factor = safe_cholesky(hessian)
    return -torch.cholesky_solve(right[..., None], factor)[..., 0]


class _Builder:
    """Collects the terms' curvatures; rows of the data terms are windows times frames."""

    def __init__(self, objective: StageObjective, variables: Variables, evaluation: Evaluation) -> None:
        self.objective, self.variables, self.evaluation = objective, variables, evaluation
        motion = evaluation.prediction.motion
        assert motion is not None
        self.motion: MotionPrediction = motion
        self.names: list[str] = [name for name in objective.stage.free if name != "latent_motion"]
        self.start = start_response(objective.models, variables, self.names)
        self.windows, self.frames = motion.joints_prior.shape[:2]
        self.columns = self.start.first_state.shape[2]
        self.used = objective.data.frames_used

    def build(self) -> MotionCurvature:
        motion, objective = self.motion, self.objective
        pivot = pelvis_offset(motion.states[:, 0])
        steps = step_response(objective.models.motion, motion.states, motion.latents, pivot)
        body = self._prior_frame_body()
        moves = body.joints().flatten(1, 2).unflatten(0, (self.windows, self.frames))
        states, states_window, window = self._data()
        self._add_consistency(states, states_window, window, moves)
        pairs = self._add_pairs(states, moves)
        self._add_height(states, states_window, window, moves)
        self._add_first_state(states)
        self._add_window(window)
        precision = self._latent_precision()
        slope = precision[..., None] * steps.prior_by_state
        states[:, :-1] += steps.prior_by_state.mT @ slope
        scales = (steps.by_latent * (states[:, 1:] @ steps.by_latent)).sum(2)
        idle = (self.used[:, 1:] == 0)[..., None]
        return MotionCurvature(
            names=tuple(self.names),
            states=states.double(),
            states_window=states_window.double(),
            window=window.double(),
            pairs=pairs.double(),
            latents=torch.where(idle, 1.0, precision).double(),
            latents_states=-slope.double(),
            latent_scales=scales.double(),
            by_state=steps.by_state.double(),
            by_latent=steps.by_latent.double(),
            first_state=self.start.first_state.double(),
        )

    def _prior_frame_body(self) -> BodyResponse:
        states = self.motion.states
        rotmats = torch.cat([states.root_rotmat[:, :, None], states.body_rotmats], dim=2)
        return BodyResponse.of(
            self.objective.models.body,
            self.variables["betas"].detach().repeat_interleave(self.frames, dim=0),
            rotmats.detach().flatten(0, 1),
            states.transl.detach().flatten(0, 1),
        )

    def _data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Camera-frame curvature, carried to the canonical states and the window's variables."""
        response = body_response(self.objective, self.evaluation)
        hessian = data_curvature(self.objective, self.evaluation, response)
        hessian = hessian.unflatten(0, (self.windows, self.frames))
        by_state, by_window = self._camera_by_prior()
        turned = hessian[..., :69, :] @ by_window  # (windows, frames, 69, columns)
        states = hessian.new_zeros(self.windows, self.frames, TANGENT, TANGENT)
        states[..., BODY, BODY] = by_state.mT @ hessian[..., :69, :69] @ by_state
        states_window = hessian.new_zeros(self.windows, self.frames, TANGENT, self.columns)
        states_window[..., BODY, :] = by_state.mT @ turned
        window = (by_window.mT @ (hessian @ by_window)).sum(1)
        return states, states_window, window

    def _camera_by_prior(self) -> tuple[Tensor, Tensor]:
        """Camera columns by canonical body columns (69 x 69), and by the window's variables.

        x_camera = R (x - x_0) + trans_0 with R = R_camera_from_prior, which itself turns with the floor
        and the first orientation.
        """
        R = self.motion.frame.R_prior_from_camera.mT.detach()[:, None].expand(-1, self.frames, -1, -1)
        by_state = torch.eye(69, dtype=R.dtype).repeat(self.windows, self.frames, 1, 1)
        by_state[..., :3, :3] = R
        by_state[..., 3:6, 3:6] = R
        betas = self.objective.models.body.num_betas
        by_window = R.new_zeros(self.windows, self.frames, 69 + betas, self.columns)
        transl = self.evaluation.prediction.transl.detach()
        arm = transl - transl[:, :1]
        turn = self.start.frame_turn[:, None].expand(-1, self.frames, -1, -1)
        by_window[..., :3, :] = torch.linalg.cross(turn, arm[..., None].expand_as(turn), dim=2)
        by_window[..., :3, :] -= R @ self.start.first_state[:, None, :3]
        by_window[..., 3:6, :] = turn
        for name, rows in (("trans", slice(0, 3)), ("betas", slice(69, 69 + betas))):
            if name in self.names:
                by_window[..., rows, self._column(name)] += torch.eye(rows.stop - rows.start).to(R)
        return by_state, by_window

    def _column(self, name: str) -> slice:
        sizes = [self.variables[other][0].numel() for other in self.names]
        index = self.names.index(name)
        return slice(sum(sizes[:index]), sum(sizes[: index + 1]))

    def _add_consistency(
        self, states: Tensor, states_window: Tensor, window: Tensor, moves: Tensor
    ) -> None:
        weight = self.objective.weight("joint_consistency") * self.used[..., None, None]
        residual = moves.new_zeros(self.windows, self.frames, 66, TANGENT)
        residual[..., BODY] = moves[..., :69]
        residual[..., JOINTS] = -torch.eye(66, dtype=moves.dtype)
        states += weight * residual.mT @ residual
        self._add_betas(states_window, window, weight * residual, weight * moves, moves, residual)

    def _add_betas(
        self,
        states_window: Tensor,
        window: Tensor,
        weighted_residual: Tensor,
        weighted_moves: Tensor,
        moves: Tensor,
        residual: Tensor,
    ) -> None:
        """Share of the betas in a residual whose beta columns are those of the joints."""
        if "betas" not in self.names:
            return
        column = self._column("betas")
        by_beta = moves[..., 69:]
        states_window[..., column] += weighted_residual.mT @ by_beta
        window[:, column, column] += (weighted_moves[..., 69:].mT @ by_beta).sum(1)

    def _add_pairs(self, states: Tensor, moves: Tensor) -> Tensor:
        """Bone lengths and joints in contact: differences of consecutive states."""
        both = self.used[:, 1:] * self.used[:, :-1]
        pairs = states.new_zeros(self.windows, self.frames - 1, TANGENT, TANGENT)
        bones = self._bone_slopes()
        weight = self.objective.weight("bone_length") * both[..., None, None]
        states[:, 1:, JOINTS, JOINTS] += weight * bones[:, 1:].mT @ bones[:, 1:]
        states[:, :-1, JOINTS, JOINTS] += weight * bones[:, :-1].mT @ bones[:, :-1]
        pairs[..., JOINTS, JOINTS] -= weight * bones[:, :-1].mT @ bones[:, 1:]
        contact = self.objective.weight("contact_vel") * self.motion.contacts.detach()[:, 1:]
        weights = (contact * both[..., None]).repeat_interleave(3, dim=-1)[..., None]
        body = moves[..., :69]
        states[:, 1:, BODY, BODY] += (weights * body[:, 1:]).mT @ body[:, 1:]
        states[:, :-1, BODY, BODY] += (weights * body[:, :-1]).mT @ body[:, :-1]
        pairs[..., BODY, BODY] -= (weights * body[:, :-1]).mT @ body[:, 1:]
        return pairs

    def _bone_slopes(self) -> Float[Tensor, "windows frames 21 66"]:
        """Change of each bone's length by the rolled-out joints."""
        joints = self.motion.states.joints.detach()
        parents = list(HUMOR_PARENTS[1:])
        bones = joints[:, :, 1:] - joints[:, :, parents]
        unit = bones / torch.linalg.vector_norm(bones, dim=-1, keepdim=True).clamp_min(1e-6)
        slopes = joints.new_zeros(*joints.shape[:2], 21, 22, 3)
        bone = torch.arange(21)
        slopes[:, :, bone, bone + 1] += unit
        slopes[:, :, bone, parents] -= unit
        return slopes.flatten(3)

    def _add_height(self, states: Tensor, states_window: Tensor, window: Tensor, moves: Tensor) -> None:
        weight = self.objective.weight("contact_height")
        if weight == 0:
            return
        height = self.motion.joints_prior.detach()[..., 2]
        excess = height.abs() - CONTACT_HEIGHT_M
        contact = self.motion.contacts.detach() * self.used[..., None] * (excess > 0)
        weights = (weight * contact / excess.clamp_min(_HEIGHT_SOFTENING_M))[..., None]
        rows = moves.unflatten(2, (22, 3))[:, :, :, 2]
        residual = states.new_zeros(self.windows, self.frames, 22, TANGENT)
        residual[..., BODY] = rows[..., :69]
        states += (weights * residual).mT @ residual
        self._add_betas(states_window, window, weights * residual, weights * rows, rows, residual)

    def _add_first_state(self, states: Tensor) -> None:
        """The mixture's curvature: precisions, weighted by how likely each component is."""
        weight = self.objective.weight("init_motion_prior")
        if weight == 0:
            return
        precision = mixture_curvature(self.objective.models.initial_state, self._first_vector())
        order = torch.cat(
            [
                torch.arange(JOINTS.start, JOINTS.stop),
                torch.arange(JOINT_VELOCITIES.start, JOINT_VELOCITIES.stop),
                torch.arange(VELOCITIES.start, VELOCITIES.stop),
            ]
        )
        states[:, 0, order[:, None], order[None]] += weight * precision

    def _first_vector(self) -> Float[Tensor, "windows 138"]:
        first = self.motion.states[:, 0]
        return initial_state_vector(
            self.motion.joints_prior[:, 0].detach(),
            first.joints_velocity.detach(),
            first.transl_velocity.detach(),
            first.root_angular_velocity.detach(),
        )

    def _add_window(self, window: Tensor) -> None:
        """Terms of the window's variables alone."""
        frames = self.objective.data.num_frames
        overlap = self.objective.weight("rgb_overlap_consist")
        if "latent_pose" in self.names:
            column = self._column("latent_pose")
            window[:, column, column].diagonal(dim1=-2, dim2=-1).add_(_POSE_RIDGE)
        for name, weight in (("betas", 2 * self.objective.weight("shape_prior")), ("floor_plane", 1.0)):
            if name not in self.names:
                continue
            column = self._column(name)
            scale = self.objective.weight("floor_reg") if name == "floor_plane" else 1.0
            own = weight * scale * frames + overlap * overlap_sides(self.objective.data)
            window[:, column, column].diagonal(dim1=-2, dim2=-1).add_(own[:, None])

    def _latent_precision(self) -> Float[Tensor, "windows steps 48"]:
        weight = self.objective.weight("motion_prior") * self.used[:, 1:, None]
        return weight / self.motion.prior_variance.detach()


def mixture_curvature(
    prior: InitialStatePrior, states: Float[Tensor, "windows 138"]
) -> Float[Tensor, "windows 138 138"]:
    """Positive part of the second derivative of minus the log density."""
    offset = states[:, None] - prior.means
    whitened = (prior.whitening @ offset[..., None])[..., 0]
    share = torch.softmax(prior.log_normaliser - 0.5 * whitened.square().sum(-1), dim=-1)
    return torch.einsum("wk,kab->wab", share, prior.whitening.mT @ prior.whitening)
