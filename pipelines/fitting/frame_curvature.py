"""Curvature of stages without a roll-out: a block per frame, chained by joint smoothness, betas shared."""

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

_FRAME_ORDER = ("trans", "root_orient", "latent_pose", "body_pose")
_SIZES = {"trans": 3, "root_orient": 3, "latent_pose": 32, "body_pose": 63}
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
    free: list[str] = [name for name in _FRAME_ORDER if name in objective.stage.free]
    to_pose = _chain_rule(objective, variables, free)  # (rows, 69, columns)
    hessian = data_curvature(objective, evaluation, response)
    posed, by_beta = hessian[:, :69, :69], hessian[:, :69, 69:]
    diagonal = (to_pose.mT @ posed @ to_pose).double()
    used = objective.data.frames_used.double()
    diagonal = diagonal.unflatten(0, (windows, frames))
    coupling = diagonal.new_zeros(windows, frames - 1, *diagonal.shape[2:])
    joint_links, joint_pulls = _joint_weights(objective)
    if bool(joint_links.any()) or bool(joint_pulls.any()):
        moves = (response.joints()[..., :69].flatten(1, 2) @ to_pose).double()
        moves = moves.unflatten(0, (windows, frames))
        links = joint_links.repeat_interleave(3, dim=2)[..., None]
        linked = moves[:, 1:] * links
        diagonal[:, 1:] += moves[:, 1:].mT @ linked
        diagonal[:, :-1] += moves[:, :-1].mT @ (moves[:, :-1] * links)
        coupling = -(linked.mT @ moves[:, :-1])
        diagonal += (moves * joint_pulls.repeat_interleave(3, dim=2)[..., None]).mT @ moves
    if "latent_pose" in free:
        prior = 2 * objective.weight("pose_prior")
        diagonal[..., -32:, -32:].diagonal(dim1=-2, dim2=-1).add_(prior * used[..., None])
    turning = objective.weight("follow_turns")
    if turning > 0:  # entries of a rotation change by sqrt(2) times the angle
        turns = to_pose[:, 3:].double().unflatten(0, (windows, frames))
        diagonal += 2 * turning * used[..., None, None] * (turns.mT @ turns)
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


def _joint_weights(
    objective: StageObjective,
) -> tuple[Float[Tensor, "windows links 22"], Float[Tensor, "windows frames 22"]]:
    """Curvature that ties a joint to itself a frame later, and to a place of its own."""
    data = objective.data
    used = data.frames_used.double()
    smooth = objective.weight("joints3d_smooth") + objective.weight("follow_velocity")
    links = (smooth * used[:, 1:] * used[:, :-1])[..., None].expand(-1, -1, 22)
    if data.reference is not None:
        contacts = data.reference.contacts[:, 1:].double() * used[:, 1:, None]
        links = links + objective.weight("contact_vel") * contacts
    pulls = (objective.weight("follow_place") * used)[..., None].expand(-1, -1, 22)
    return links, pulls


def _chain_rule(
    objective: StageObjective, variables: Variables, free: list[str]
) -> Float[Tensor, "rows 69 columns"]:
    """How the body's columns answer to a frame's own free variables, in the order of `free`."""
    rows = variables["trans"].shape[0] * variables["trans"].shape[1]
    parts = []
    for name in free:
        value = variables[name].detach().flatten(0, 1)
        part = value.new_zeros(rows, 69, _SIZES[name])
        if name == "trans":
            part[:, :3] = torch.eye(3, dtype=value.dtype)
        elif name == "root_orient":
            part[:, 3:6] = rotvec_turns(value)
        elif name == "latent_pose":
            part[:, 6:] = latent_pose_turns(objective.models.pose, value)
        else:
            turns = rotvec_turns(value.reshape(-1, 3)).unflatten(0, (rows, 21))
            for joint in range(21):
                here = slice(3 * joint, 3 * joint + 3)
                part[:, 6:][:, here, here] = turns[:, joint]
        parts.append(part)
    return torch.cat(parts, dim=-1)
