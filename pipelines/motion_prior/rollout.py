"""Rolling the motion prior out from a first state, and inferring its latents from a motion.

    result = roll_out(prior, first, latents)      # MotionState (windows,), (windows, steps, 48)
    result.states                                 # MotionState (windows, steps): frames 1..steps
    result.contact_logits                         # (windows, steps, 9), see state.CONTACT_JOINTS
    result.prior_mean, result.prior_variance      # (windows, steps, 48), None unless with_prior
    means, variances = infer_latents(prior, states)      # of a MotionState (windows, frames)

The first state must be canonical (x = y = 0, facing +y); `roll_out_anywhere` takes any z-up state.
Gradients flow through everything, also through the prior's mean and variance.

How it is kept fast: the latents' part of every decoder layer is one product for all steps; the prior is
evaluated for all steps at once after the loop; the state is one (windows, 113, 3) tensor of row vectors
(matrices as their columns), so that a step turns it with a single product; joints are carried relative
to the pelvis pivot, whose share in the first layer is a constant.

Source: HuMoR, models/humor_model.py `roll_out` and `infer_global_seq`, as told in the fitting page,
sections 4.3 to 4.6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from pipelines.motion_prior.canonical import (
    HeadingMode,
    from_local_frame,
    heading_of_right,
    heading_rotmat,
    pelvis_offset,
    planar_shift,
    to_local_frame,
)
from pipelines.motion_prior.network import LATENT_SIZE, MotionPrior
from pipelines.motion_prior.state import STATE_SIZE, MotionState, pack

# Rows of the internal state: transl, its velocity, angular velocity, joints, their velocities, then the
# columns of the root matrix and of the 21 body matrices.
_TRANSL, _JOINTS, _VECTORS, _TURNED, _ROWS = 0, slice(3, 25), 47, 50, 113
_CHANGE_SIZE = 3 * _VECTORS + 66


@dataclass(frozen=True, slots=True, eq=False)
class RollOut:
    """A generated motion: frame t is reached by latent t; the first state itself is not repeated."""

    states: MotionState
    contact_logits: Float[Tensor, "windows steps 9"]
    latents: Float[Tensor, "windows steps 48"]
    prior_mean: Float[Tensor, "windows steps 48"] | None
    prior_variance: Float[Tensor, "windows steps 48"] | None


def roll_out(
    prior: MotionPrior,
    first: MotionState,
    latents: Float[Tensor, "windows steps 48"],
    *,
    mode: HeadingMode = "atan2",
    with_prior: bool = True,
) -> RollOut:
    """Generate the motion of given latents from a canonical first state.

    Args:
        prior: the networks; their dtype must be that of the other arguments.
        first: canonical state of each window.
        latents: z_1 .. z_N.
        mode: `acos` reproduces HuMoR's heading, `atan2` is smooth and differs by up to 1e-5.
        with_prior: also evaluate the prior along the way.
    """
    pivot = pelvis_offset(first)
    decoder = _SplitDecoder(prior, pivot, latents)
    rows = _to_rows(first, pivot)
    inputs, predictions, changes, headings = [], [], [], []
    for step in range(latents.shape[1]):
        inputs.append(rows)
        change = decoder(rows, step)
        predicted = _apply_change(rows, change)
        rows, turn = _own_frame(predicted, mode)
        predictions.append(predicted)
        changes.append(change)
        headings.append(turn)
    states = _to_global(torch.stack(predictions, dim=1), torch.stack(headings, dim=1), pivot)
    mean, variance = (None, None)
    if with_prior:
        vectors = _network_order(torch.stack(inputs, dim=1), pivot)
        mean, variance = prior.prior(vectors)
    logits = torch.stack(changes, dim=1)[..., _CHANGE_SIZE:]
    return RollOut(states, logits, latents, mean, variance)


def roll_out_prior_mean(
    prior: MotionPrior, first: MotionState, steps: int, *, mode: HeadingMode = "atan2"
) -> RollOut:
    """The prior's own most likely continuation: every latent is the prior's mean."""
    pivot = pelvis_offset(first)
    rows = _to_rows(first, pivot)
    latents, means, variances, predictions, changes, headings = [], [], [], [], [], []
    for _ in range(steps):
        mean, variance = prior.prior(_network_order(rows, pivot))
        decoder = _SplitDecoder(prior, pivot, mean[:, None])
        change = decoder(rows, 0)
        predicted = _apply_change(rows, change)
        rows, turn = _own_frame(predicted, mode)
        latents.append(mean)
        means.append(mean)
        variances.append(variance)
        predictions.append(predicted)
        changes.append(change)
        headings.append(turn)
    states = _to_global(torch.stack(predictions, dim=1), torch.stack(headings, dim=1), pivot)
    logits = torch.stack(changes, dim=1)[..., _CHANGE_SIZE:]
    mean_all, variance_all = torch.stack(means, dim=1), torch.stack(variances, dim=1)
    return RollOut(states, logits, torch.stack(latents, dim=1), mean_all, variance_all)


def roll_out_anywhere(
    prior: MotionPrior,
    first: MotionState,
    latents: Float[Tensor, "windows steps 48"],
    *,
    mode: HeadingMode = "atan2",
    with_prior: bool = True,
) -> tuple[RollOut, RollOut]:
    """Roll out from any z-up first state: the result in its canonical frame, and carried back."""
    shift, R_local = planar_shift(first.transl), heading_rotmat(first.root_rotmat, mode)
    pivot = pelvis_offset(first)
    canonical = to_local_frame(first, R_local, shift, pivot)
    result = roll_out(prior, canonical, latents, mode=mode, with_prior=with_prior)
    back = from_local_frame(result.states, R_local[:, None], shift[:, None], pivot[:, None])
    carried = RollOut(
        back, result.contact_logits, result.latents, result.prior_mean, result.prior_variance
    )
    return result, carried


def transitions(
    states: MotionState, *, mode: HeadingMode = "atan2"
) -> tuple[Float[Tensor, "windows steps 339"], Float[Tensor, "windows steps 339"]]:
    """Consecutive states of a motion as network vectors, both in the earlier one's own frame."""
    past, following = states[:, :-1], states[:, 1:]
    shift, R_local = planar_shift(past.transl), heading_rotmat(past.root_rotmat, mode)
    pivot = pelvis_offset(states[:, :1])
    return (
        pack(to_local_frame(past, R_local, shift, pivot)),
        pack(to_local_frame(following, R_local, shift, pivot)),
    )


def infer_latents(
    prior: MotionPrior, states: MotionState, *, mode: HeadingMode = "atan2"
) -> tuple[Float[Tensor, "windows steps 48"], Float[Tensor, "windows steps 48"]]:
    """Posterior mean and variance of every transition of a motion given in any z-up frame."""
    return prior.posterior(*transitions(states, mode=mode))


class _SplitDecoder:
    """The decoder with the latents' share of every layer computed for all steps at once."""

    def __init__(
        self,
        prior: MotionPrior,
        pivot: Float[Tensor, "windows 3"],
        latents: Float[Tensor, "windows steps 48"],
    ) -> None:
        linears = prior.decoder.linears
        last = len(linears) - 1
        order, change_order = _row_order(latents.device), _change_order(latents.device)
        self.norms = prior.decoder.norms
        self.weights: list[Tensor] = []
        self.offsets: list[tuple[Tensor, ...]] = []
        for index, linear in enumerate(linears):
            weight: Tensor = linear.weight
            bias: Tensor = linear.bias
            if index == last:
                weight, bias = weight[change_order], bias[change_order]
            from_latent = weight[:, weight.shape[1] - LATENT_SIZE :]
            from_hidden = weight[:, : weight.shape[1] - LATENT_SIZE]
            offset = F.linear(latents, from_latent, bias)
            if index == 0:
                from_hidden = from_hidden[:, order]
                offset = offset - _pivot_share(pivot, from_hidden)[:, None]
            self.weights.append(from_hidden.t())
            self.offsets.append(offset.unbind(dim=1))

    def __call__(self, rows: Float[Tensor, "windows 113 3"], step: int) -> Float[Tensor, "windows 216"]:
        hidden = torch.addmm(self.offsets[0][step], rows.flatten(1), self.weights[0])
        for norm, weight, offset in zip(self.norms, self.weights[1:], self.offsets[1:], strict=True):
            hidden = torch.relu(F.group_norm(hidden, norm.num_groups, norm.weight, norm.bias, norm.eps))
            hidden = torch.addmm(offset[step], hidden, weight)
        return hidden


def _apply_change(
    rows: Float[Tensor, "windows 113 3"], change: Float[Tensor, "windows 216"]
) -> Float[Tensor, "windows 113 3"]:
    """Add to the vectors, turn the matrices' columns (Rodrigues, as rotvec_to_rotmat evaluates it)."""
    vectors = rows[:, :_VECTORS] + change[:, : 3 * _VECTORS].unflatten(1, (_VECTORS, 3))
    columns = rows[:, _VECTORS:].unflatten(1, (22, 3))
    rotvec = change[:, 3 * _VECTORS : _CHANGE_SIZE].unflatten(1, (22, 1, 3))
    angle = torch.linalg.vector_norm(rotvec + 1e-8, dim=-1, keepdim=True)
    axis = rotvec / angle
    once = torch.linalg.cross(axis, columns, dim=-1)
    twice = torch.linalg.cross(axis, once, dim=-1)
    turned = torch.addcmul(torch.addcmul(columns, angle.sin(), once), 1 - angle.cos(), twice)
    return torch.cat([vectors, turned.flatten(1, 2)], dim=1)


def _own_frame(
    predicted: Float[Tensor, "windows 113 3"], mode: HeadingMode
) -> tuple[Float[Tensor, "windows 113 3"], Float[Tensor, "windows 2"]]:
    """The predicted state seen from its own planar frame, and the turn (cos, sin) that led there."""
    cosine, sine = heading_of_right(-predicted[:, _VECTORS, :2], mode)
    turn = torch.stack([cosine, sine], dim=-1)
    R_transposed = _yaw_transposed(turn)
    shifted = torch.addcmul(predicted[:, :_TURNED], _shift_mask(predicted), predicted[:, :1])
    return torch.cat([shifted @ R_transposed, predicted[:, _TURNED:]], dim=1), turn


def _to_global(
    predictions: Float[Tensor, "windows steps 113 3"],
    turns: Float[Tensor, "windows steps 2"],
    pivot: Float[Tensor, "windows 3"],
) -> MotionState:
    """From each step's own local frame to the canonical frame of the first state."""
    heading = _accumulated_heading(turns)
    planar = predictions[:, :, _TRANSL, :2]
    moved = torch.stack(
        [
            heading[..., 0] * planar[..., 0] + heading[..., 1] * planar[..., 1],
            heading[..., 0] * planar[..., 1] - heading[..., 1] * planar[..., 0],
        ],
        dim=-1,
    )
    position = moved.cumsum(dim=1)
    start = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], dim=1)
    start = F.pad(start, (0, 1))
    turned = predictions[:, :, :_TURNED] @ _yaw_transposed(heading).mT
    return MotionState(
        turned[:, :, 0] + start,
        turned[:, :, 1],
        turned[:, :, _VECTORS:].mT,
        turned[:, :, 2],
        predictions[:, :, _TURNED:].unflatten(2, (21, 3)).mT,
        turned[:, :, _JOINTS] + (start - pivot[:, None])[:, :, None],
        turned[:, :, 25:_VECTORS],
    )


def _accumulated_heading(turns: Float[Tensor, "windows steps 2"]) -> Float[Tensor, "windows steps 2"]:
    """Product of all earlier turns (cos, sin) at each step; the first is the identity."""
    first = torch.zeros_like(turns[:, :1])
    first[..., 0] = 1
    before = torch.cat([first, turns[:, :-1]], dim=1)
    product = torch.view_as_complex(before).cumprod(dim=1)
    return torch.view_as_real(product)


def _yaw_transposed(turn: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3 3"]:
    """Transpose of [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]."""
    basis = turn.new_tensor([[1, 0, 0, 0, 1, 0, 0, 0, 0], [0, 1, 0, -1, 0, 0, 0, 0, 0]])
    constant = turn.new_tensor([0, 0, 0, 0, 0, 0, 0, 0, 1])
    return (turn @ basis + constant).unflatten(-1, (3, 3))


def _shift_mask(rows: Float[Tensor, "windows rows 3"]) -> Float[Tensor, "50 3"]:
    """-1 at x and y of everything that is a position."""
    mask = rows.new_zeros(_TURNED, 3)
    mask[_TRANSL, :2] = -1
    mask[_JOINTS, :2] = -1
    return mask


def _to_rows(state: MotionState, pivot: Float[Tensor, "windows 3"]) -> Float[Tensor, "windows 113 3"]:
    return torch.cat(
        [
            state.transl[:, None],
            state.transl_velocity[:, None],
            state.root_angular_velocity[:, None],
            state.joints + pivot[:, None],
            state.joints_velocity,
            state.root_rotmat.mT,
            state.body_rotmats.mT.flatten(1, 2),
        ],
        dim=1,
    )


def _network_order(
    rows: Float[Tensor, "windows *steps 113 3"], pivot: Float[Tensor, "windows 3"]
) -> Float[Tensor, "windows *steps 339"]:
    """The networks' vector of internal rows."""
    pivot_rows = rows.new_zeros(pivot.shape[0], _ROWS, 3)
    pivot_rows[:, _JOINTS] = pivot[:, None]
    if rows.ndim == 4:
        pivot_rows = pivot_rows[:, None]
    flat = (rows - pivot_rows).flatten(-2)
    inverse = torch.argsort(_row_order(rows.device))
    return flat[..., inverse]


def _pivot_share(
    pivot: Float[Tensor, "windows 3"], weight: Float[Tensor, "widths 339"]
) -> Float[Tensor, "windows widths"]:
    """What the pivot contained in the joints' rows adds to the first layer."""
    per_joint = weight[:, 9:75].unflatten(1, (22, 3)).sum(1)
    return pivot @ per_joint.t()


def _row_order(device: torch.device) -> Int[Tensor, "339"]:
    """Position in the networks' vector of each entry of the flattened internal rows."""
    index = torch.arange(STATE_SIZE, device=device)
    transl, velocity, root, root_velocity, body, joints, joints_velocity = index.split(
        [3, 3, 9, 3, 189, 66, 66]
    )
    root_columns = root.reshape(3, 3).t().flatten()
    body_columns = body.reshape(21, 3, 3).mT.flatten()
    return torch.cat(
        [transl, velocity, root_velocity, joints, joints_velocity, root_columns, body_columns]
    )


def _change_order(device: torch.device) -> Int[Tensor, "216"]:
    """Position in the decoder's output of: vectors as in the rows, 22 rotation vectors, contacts."""
    index = torch.arange(216, device=device)
    linear, root, root_velocity, body, joints, contacts = index.split([6, 3, 3, 63, 132, 9])
    return torch.cat([linear, root_velocity, joints, root, body, contacts])
