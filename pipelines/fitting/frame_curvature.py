"""Curvature of stages 1-2: every frame its own block, chained by joint smoothness, betas shared."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.fitting.block_tridiagonal import solve_bordered_chain
from pipelines.fitting.data_curvature import body_response, data_curvature, overlap_sides
from pipelines.fitting.jacobians import latent_pose_turns, rotvec_turns
from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.variables import Variables

_FRAME_ORDER = ("trans", "root_orient", "latent_pose")
_SIZES = {"trans": 3, "root_orient": 3, "latent_pose": 32}
_FLOOR = 1e-6
"""Keeps unobserved directions solvable."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameCurvature:
    """A bordered chain per window; `step` answers a gradient with a damped Newton step."""

    diagonal: Float[Tensor, "windows frames size size"]
    coupling: Float[Tensor, "windows links size size"]
    border: Float[Tensor, "windows frames size shared"]
    corner: Float[Tensor, "windows shared shared"]
    per_frame: tuple[str, ...]
    """Free per-frame variables, in column order."""
    has_betas: bool

    @staticmethod
    def build(objective: StageObjective, variables: Variables, evaluation: Evaluation) -> FrameCurvature:
        """Curvature at the place of an evaluation."""
        with torch.no_grad():
            return _build(objective, variables, evaluation)

    def step(self, gradient: Variables, damping: Float[Tensor, " windows"]) -> dict[str, Tensor]:
        """Minus the damped inverse curvature times the gradient, by variable."""
        windows = len(self.diagonal)
        right = torch.cat([gradient[name] for name in self.per_frame], dim=-1).double()
        right_shared = gradient["betas"].double() if self.has_betas else right.new_zeros(windows, 0)
        scale = 1 + damping.double()
        diagonal = self.diagonal.clone()
        diagonal.diagonal(dim1=-2, dim2=-1).mul_(scale[:, None, None])
        corner = self.corner.clone()
        corner.diagonal(dim1=-2, dim2=-1).mul_(scale[:, None])
        moved, shared = solve_bordered_chain(
            diagonal, self.coupling, self.border, corner, -right, -right_shared
        )
        sizes = [_SIZES[name] for name in self.per_frame]
        parts = moved.to(gradient["trans"].dtype).split(sizes, dim=-1)
        step = dict(zip(self.per_frame, parts, strict=True))
        if self.has_betas:
            step["betas"] = shared.to(gradient["betas"].dtype)
        return step


def _build(objective: StageObjective, variables: Variables, evaluation: Evaluation) -> FrameCurvature:
    windows, frames = variables["trans"].shape[:2]
    response = body_response(objective, evaluation)
    to_pose = _chain_rule(objective, variables, response.places.shape[0])  # (rows, 69, 38)
    free: list[str] = [name for name in _FRAME_ORDER if name in objective.stage.free]
    columns = _columns(free)
    to_pose = to_pose[..., columns]
    hessian = data_curvature(objective, evaluation, response)
    posed, by_beta = hessian[:, :69, :69], hessian[:, :69, 69:]
    diagonal = (to_pose.mT @ posed @ to_pose).double()
    used = objective.data.frames_used.double()
    coupling = diagonal.new_zeros(windows, frames - 1, len(columns), len(columns))
    smooth = objective.weight("joints3d_smooth")
    diagonal = diagonal.unflatten(0, (windows, frames))
    if smooth > 0:
        moves = (response.joints()[..., :69].flatten(1, 2) @ to_pose).double()
        moves = moves.unflatten(0, (windows, frames))
        both = smooth * used[:, 1:] * used[:, :-1]
        own = moves.mT @ moves
        diagonal[:, 1:] += both[..., None, None] * own[:, 1:]
        diagonal[:, :-1] += both[..., None, None] * own[:, :-1]
        coupling = -both[..., None, None] * (moves[:, 1:].mT @ moves[:, :-1])
    latent = [column for column, kind in enumerate(columns) if kind >= 6]
    prior = 2 * objective.weight("pose_prior")
    diagonal[..., latent, latent] += prior * used[..., None]
    own_scale = torch.where(used > 0, _FLOOR, 1.0)
    diagonal.diagonal(dim1=-2, dim2=-1).add_(own_scale[..., None])
    has_betas = "betas" in objective.stage.free
    shared = by_beta.shape[-1] if has_betas else 0
    border = (to_pose.mT @ by_beta[..., :shared]).double().unflatten(0, (windows, frames))
    corner = hessian[:, 69 : 69 + shared, 69 : 69 + shared].double().unflatten(0, (windows, frames))
    corner = corner.sum(1)
    shape = 2 * objective.weight("shape_prior") * objective.data.num_frames.double()
    overlap = objective.weight("rgb_overlap_consist") * overlap_sides(objective.data).double()
    corner.diagonal(dim1=-2, dim2=-1).add_((shape + overlap)[:, None] + _FLOOR)
    return FrameCurvature(diagonal, coupling, border, corner, tuple(free), has_betas)


def _columns(free: list[str]) -> list[int]:
    """Columns of (trans 3, root_orient 3, latent_pose 32) that are free."""
    starts = {"trans": 0, "root_orient": 3, "latent_pose": 6}
    return [starts[name] + k for name in free for k in range(_SIZES[name])]


def _chain_rule(
    objective: StageObjective, variables: Variables, rows: int
) -> Float[Tensor, "rows 69 38"]:
    """How the body's columns answer to a frame's own variables."""
    translation = variables["trans"].detach()
    matrix = translation.new_zeros(rows, 69, 38)
    matrix[:, :3, :3] = torch.eye(3, dtype=translation.dtype)
    matrix[:, 3:6, 3:6] = rotvec_turns(variables["root_orient"].detach().flatten(0, 1))
    if "latent_pose" in objective.stage.free:
        latents = variables["latent_pose"].detach().flatten(0, 1)
        matrix[:, 6:, 6:] = latent_pose_turns(objective.models.pose, latents)
    return matrix
