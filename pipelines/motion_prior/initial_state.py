"""Gaussian mixture over the first state of a window: the plausibility of how a motion begins.

The mixture sees 138 numbers of the canonical frame: joints 66, joint velocities 66, velocity of the
translation 3, angular velocity of the root 3.

    energy = priors.initial_state.energy(joints, joints_velocity, transl_velocity, root_angular_velocity)

Source: HuMoR, fitting/fitting_loss.py `init_motion_prior_loss`, as told in the fitting page, section 6.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

INITIAL_STATE_SIZE = 138


class InitialStatePrior(nn.Module):
    """A full-covariance Gaussian mixture, evaluated through stored Cholesky factors."""

    weights: Tensor
    means: Tensor
    whitening: Tensor
    log_normaliser: Tensor

    def __init__(
        self,
        weights: Float[Tensor, " components"],
        means: Float[Tensor, "components size"],
        covariances: Float[Tensor, "components size size"],
    ) -> None:
        """Factor the covariances once, in float64; `.to(dtype)` then sets the working precision."""
        super().__init__()
        factor = torch.linalg.cholesky(covariances.double())
        identity = torch.eye(means.shape[1], dtype=torch.float64).expand_as(factor)
        whitening = torch.linalg.solve_triangular(factor, identity, upper=False)
        log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_normaliser = (
            weights.double().log() - log_volume - 0.5 * means.shape[1] * math.log(2 * math.pi)
        )
        self.register_buffer("weights", weights.double())
        self.register_buffer("means", means.double())
        self.register_buffer("whitening", whitening)
        self.register_buffer("log_normaliser", log_normaliser)

    def log_prob(self, states: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Log density, normalising constants included."""
        offset = states[..., None, :] - self.means
        whitened = (self.whitening @ offset[..., None])[..., 0]
        return torch.logsumexp(self.log_normaliser - 0.5 * whitened.square().sum(-1), dim=-1)

    def energy(
        self,
        joints: Float[Tensor, "windows 22 3"],
        joints_velocity: Float[Tensor, "windows 22 3"],
        transl_velocity: Float[Tensor, "windows 3"],
        root_angular_velocity: Float[Tensor, "windows 3"],
    ) -> Float[Tensor, ""]:
        """Minus the sum of log densities over windows; canonical frame, metres, per second."""
        states = initial_state_vector(joints, joints_velocity, transl_velocity, root_angular_velocity)
        return -self.log_prob(states).sum()


def initial_state_vector(
    joints: Float[Tensor, "*batch 22 3"],
    joints_velocity: Float[Tensor, "*batch 22 3"],
    transl_velocity: Float[Tensor, "*batch 3"],
    root_angular_velocity: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch 138"]:
    """The mixture's input in its order."""
    return torch.cat(
        [joints.flatten(-2), joints_velocity.flatten(-2), transl_velocity, root_angular_velocity], dim=-1
    )
