"""First values of the CVAE, taken from the data: training starts at the best linear model.

The networks read raw metres and matrices, and what the encoder must see, the change from one state to
the next, is a fiftieth of the states themselves. From PyTorch's first values the latents stay unused
for thousands of iterations. So: hidden units start in pairs of opposite sign, which makes each network
linear in its (standardised) input; the latent starts as the 48 principal components of what a linear
prediction from the past leaves unexplained; the last layers start at their ridge solutions. Only first
values are set: the architecture and the meaning of every number stay official.

Differs from HuMoR: it starts from PyTorch's default and trains for days.

Source: pairs of opposite sign, Balduzzi et al. 2017, "The shattered gradients problem", section 4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.geometry.rotations import rotmat_to_rotvec
from pipelines.motion_prior.network import LATENT_SIZE, MotionPrior, Perceptron
from pipelines.motion_prior.state import NUM_CONTACTS, STATE_SIZE, MotionState, pack
from pipelines.motion_prior.training_data import TrainingMotions

_SAMPLE = 12000
_STATE_NOISE = 0.02
"""Metres, metres per second, matrix entries: how far a roll-out strays from the data in one step."""
_CHANGE_NOISE = 0.001
_HIDDEN_NOISE = 0.03
_POSTERIOR_LOG_VARIANCE = -5.0
_CONTACT_LOGIT = 2.0
_ANCHOR = 20.0
_PREDICTIVE = 100
_NOISE = 0.02
"""Of all other weights; pairs that stay exact opposites would learn the same."""


def start_from_data(
    prior: MotionPrior,
    motions: TrainingMotions,
    output_weight: Float[Tensor, "216"],
    generator: torch.Generator,
) -> None:
    """Set first values in place.

    Args:
        prior: freshly made networks.
        motions: training data.
        output_weight: importance of each decoder output (weight of its squared error), which decides
            what the 48 components keep.
        generator: picks the transitions looked at and the random mixtures.
    """
    starts = motions.random_starts(_SAMPLE, 2, generator)
    states, contacts, _ = motions.windows(starts, 2)
    past, following = pack(states[:, 0]), pack(states[:, 1])
    changes = true_changes(states[:, 0], states[:, 1])
    innovations = changes - past @ ridge(past, changes, _STATE_NOISE)
    latents = principal_components(innovations, output_weight)
    both = torch.cat([past, following], dim=1)
    # Solved for [past, change], rewritten for [past, next]: noise on the latter would hide the change.
    split = torch.cat([past, following - past], dim=1)
    noise = torch.tensor([_STATE_NOISE, _CHANGE_NOISE]).repeat_interleave(STATE_SIZE)
    from_past, from_change = ridge(split, latents, noise).T.chunk(2, dim=1)
    toward_latents = torch.cat([from_past - from_change, from_change], dim=1)
    noisy = latents + 0.1 * torch.randn(latents.shape, generator=generator)
    targets = torch.cat([changes[:, :-NUM_CONTACTS], _CONTACT_LOGIT * (2 * contacts[:, 1] - 1)], dim=1)
    with torch.no_grad():
        states_only = torch.cat([_predictive(past, changes, output_weight), principal_directions(past)])
        _make_linear(prior.prior_net, past, states_only, generator)
        _make_linear(prior.decoder, past, states_only, generator)
        padded = torch.cat([states_only, torch.zeros_like(states_only)], dim=1)
        _make_linear(prior.encoder, both, torch.cat([toward_latents, padded]), generator)
        _solve_last(prior.encoder, both, latents, slice(0, LATENT_SIZE))
        prior.encoder.linears[-1].bias[LATENT_SIZE:] = _POSTERIOR_LOG_VARIANCE
        prior.encoder.linears[-1].weight[LATENT_SIZE:] *= 0.1
        prior.prior_net.linears[-1].weight *= 0.1
        prior.prior_net.linears[-1].bias.zero_()
        _solve_last(prior.decoder, torch.cat([past, noisy], dim=1), targets, slice(None))


def true_changes(past: MotionState, following: MotionState) -> Float[Tensor, "samples 216"]:
    """What the decoder should put out for transitions; contact logits 0."""
    turns = [
        rotmat_to_rotvec(after @ before.mT).flatten(1)
        for before, after in (
            (past.root_rotmat, following.root_rotmat),
            (past.body_rotmats, following.body_rotmats),
        )
    ]
    return torch.cat(
        [
            following.transl - past.transl,
            following.transl_velocity - past.transl_velocity,
            turns[0],
            following.root_angular_velocity - past.root_angular_velocity,
            turns[1],
            (following.joints - past.joints).flatten(1),
            (following.joints_velocity - past.joints_velocity).flatten(1),
            torch.zeros(len(past.transl), NUM_CONTACTS),
        ],
        dim=1,
    )


def principal_components(
    values: Float[Tensor, "samples outputs"], weight: Float[Tensor, " outputs"]
) -> Float[Tensor, "samples 48"]:
    """Coordinates along the largest weighted deviations, each of unit variance."""
    centred = (values - values.mean(0)) * weight.sqrt()
    left, _, _ = torch.linalg.svd(centred, full_matrices=False)
    return left[:, :LATENT_SIZE] * len(values) ** 0.5


def _predictive(
    past: Float[Tensor, "samples inputs"],
    changes: Float[Tensor, "samples outputs"],
    weight: Float[Tensor, " outputs"],
) -> Float[Tensor, "rows inputs"]:
    """Rows that map a state to what it tells, linearly, of its own change; unit variance."""
    slope = ridge(past, changes, _STATE_NOISE) * weight.sqrt()
    predicted = (past - past.mean(0)) @ slope
    _, lengths, directions = torch.linalg.svd(predicted, full_matrices=False)
    kept = lengths[:_PREDICTIVE] > 0.01 * lengths[0]
    deviation = lengths[:_PREDICTIVE][kept] / len(past) ** 0.5
    return ((slope @ directions[:_PREDICTIVE][kept].T) / deviation).T


def principal_directions(values: Float[Tensor, "samples inputs"]) -> Float[Tensor, "rank inputs"]:
    """Rows that map the values to uncorrelated coordinates of unit variance, largest first.

    Each input counts by its own spread; directions below a tenth of it are left out.
    """
    spread = values.std(0).clamp(min=_STATE_NOISE)
    _, lengths, rows = torch.linalg.svd((values - values.mean(0)) / spread, full_matrices=False)
    deviation = lengths / len(values) ** 0.5
    kept = deviation > 0.1
    return rows[kept] / deviation[kept, None] / spread


def ridge(
    inputs: Float[Tensor, "samples inputs"],
    targets: Float[Tensor, "samples outputs"],
    noise: Float[Tensor, " inputs"] | float,
) -> Float[Tensor, "inputs outputs"]:
    """Slopes of the best linear prediction from inputs with independent noise of the given deviation.

    The noise keeps the slopes small where the data hardly varies, for a roll-out leaves the data.
    """
    x = (inputs - inputs.mean(0)).double()
    y = (targets - targets.mean(0)).double()
    penalty = torch.as_tensor(noise, dtype=torch.float64).expand(x.shape[1]).square()
    gram = x.T @ x / len(x) + torch.diag(penalty)
    return torch.linalg.solve(gram, x.T @ y / len(x)).float()


def _make_linear(
    perceptron: Perceptron,
    inputs: Float[Tensor, "samples inputs"],
    directions: Float[Tensor, "rows inputs"],
    generator: torch.Generator,
) -> None:
    """Hidden layers as pairs (+, -) that hand the first of the given directions on unchanged.

    The first pair of each norm group is a large constant, so that the group norm, which would divide
    by the size of the very signal, divides by a constant; its scale restores the size.
    """
    rows, offset = directions, -directions @ inputs.mean(0)
    for linear, norm in zip(perceptron.linears[:-1], perceptron.norms, strict=True):
        group = norm.num_channels // norm.num_groups
        pair = torch.arange(norm.num_channels // 2)
        anchor = pair % (group // 2) == 0
        carriers = pair[~anchor]
        rows, offset = rows[: len(carriers)], offset[: len(carriers)]
        size = rows.shape[1]
        noise = _NOISE * torch.randn(linear.weight[:, :size].shape, generator=generator)
        linear.weight[:, :size] = noise * rows.square().mean(0).sqrt()
        linear.bias.zero_()
        for sign, unit in ((1.0, 0), (-1.0, 1)):
            linear.weight[2 * carriers[: len(rows)] + unit, :size] += sign * rows
            linear.bias[2 * carriers[: len(rows)] + unit] = sign * offset
            linear.weight[2 * pair[anchor] + unit] = 0.0
            linear.bias[2 * pair[anchor] + unit] = sign * _ANCHOR
        norm.weight.fill_(((2 * _ANCHOR**2 + group - 2) / group) ** 0.5)
        following = torch.zeros(len(rows), norm.num_channels)
        following[torch.arange(len(rows)), 2 * carriers[: len(rows)]] = 1.0
        following[torch.arange(len(rows)), 2 * carriers[: len(rows)] + 1] = -1.0
        rows, offset = following, torch.zeros(len(rows))


def _solve_last(
    perceptron: Perceptron,
    inputs: Float[Tensor, "samples inputs"],
    targets: Float[Tensor, "samples outputs"],
    outputs: slice,
) -> None:
    last, hidden = perceptron.linears[-1], perceptron.last_hidden(inputs)
    slopes = ridge(hidden, targets, _HIDDEN_NOISE)
    last.weight[outputs] = slopes.T
    last.bias[outputs] = targets.mean(0) - hidden.mean(0) @ slopes
