"""HuMoR's conditional variational autoencoder, with the parameter names of the official checkpoint.

Three multilayer perceptrons: `encoder` (posterior of [past, next]), `prior_net` (prior of [past]) and
`decoder` (change from past to next, given a latent). Widths are settings, so that a reduced model fits;
the defaults are the official ones (9,725,976 parameters).

    prior = MotionPrior(MotionPriorSettings())
    mean, variance = prior.prior(past)              # past: (..., 339), see state.pack
    mean, variance = prior.posterior(past, next)
    prediction = prior.decode(latent, past)         # (..., 348): next state 339, contact logits 9

Source: HuMoR, models/humor_model.py, as told in the fitting page, section 4.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipelines.config import Settings
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.state import DECODER_OUTPUT_SIZE, STATE_SIZE

LATENT_SIZE = 48
NORM_GROUPS = 16


class MotionPriorSettings(Settings):
    """Hidden widths; multiples of 16 (group norm)."""

    encoder_widths: tuple[int, ...] = (1024, 1024, 1024, 1024)
    prior_widths: tuple[int, ...] = (1024, 1024, 1024, 1024)
    decoder_widths: tuple[int, ...] = (1024, 1024, 512)


class Perceptron(nn.Module):
    """Linear, then (GroupNorm, ReLU, Linear) per hidden width; optionally a skip to later Linears."""

    def __init__(self, widths: Sequence[int], skip_size: int = 0) -> None:
        """Build the layers.

        Args:
            widths: input, hidden widths, output; the input includes the skipped part.
            skip_size: size of the input's tail that is concatenated to the input of each later Linear.
        """
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for width, following in itertools.pairwise(widths[1:]):
            layers += [
                nn.GroupNorm(NORM_GROUPS, width),
                nn.ReLU(),
                nn.Linear(width + skip_size, following),
            ]
        self.net = nn.ModuleList(layers)
        self.skip_size = skip_size

    @property
    def linears(self) -> list[nn.Linear]:
        """The Linear layers in order."""
        return [layer for layer in self.net if isinstance(layer, nn.Linear)]

    @property
    def norms(self) -> list[nn.GroupNorm]:
        """The GroupNorm layers in order."""
        return [layer for layer in self.net if isinstance(layer, nn.GroupNorm)]

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Evaluate; leading axes are flattened for the group norm and restored."""
        hidden = self.last_hidden(x.reshape(-1, x.shape[-1]))
        return self.linears[-1](hidden).reshape(*x.shape[:-1], -1)

    def last_hidden(self, x: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch hidden"]:
        """What the last Linear reads, the skipped part included."""
        skip, hidden = x[:, x.shape[1] - self.skip_size :], x
        for layer in list(self.net)[:-1]:
            hidden = layer(hidden)
            if isinstance(layer, nn.ReLU) and self.skip_size:
                hidden = torch.cat([hidden, skip], dim=-1)
        return hidden


class MotionPrior(nn.Module):
    """HuMoR's CVAE over transitions between consecutive states (30 Hz)."""

    def __init__(self, settings: MotionPriorSettings | None = None) -> None:
        super().__init__()
        settings = settings or MotionPriorSettings()
        self.settings = settings
        gaussian = 2 * LATENT_SIZE
        self.encoder = Perceptron([2 * STATE_SIZE, *settings.encoder_widths, gaussian])
        self.prior_net = Perceptron([STATE_SIZE, *settings.prior_widths, gaussian])
        self.decoder = Perceptron(
            [STATE_SIZE + LATENT_SIZE, *settings.decoder_widths, DECODER_OUTPUT_SIZE],
            skip_size=LATENT_SIZE,
        )

    def prior(
        self, past: Float[Tensor, "*batch 339"]
    ) -> tuple[Float[Tensor, "*batch 48"], Float[Tensor, "*batch 48"]]:
        """Mean and variance of p(z | past)."""
        return _gaussian(self.prior_net(past))

    def posterior(
        self, past: Float[Tensor, "*batch 339"], following: Float[Tensor, "*batch 339"]
    ) -> tuple[Float[Tensor, "*batch 48"], Float[Tensor, "*batch 48"]]:
        """Mean and variance of q(z | past, next); both states in the frame of the past one."""
        return _gaussian(self.encoder(torch.cat([past, following], dim=-1)))

    def decode_raw(
        self, latent: Float[Tensor, "*batch 48"], past: Float[Tensor, "*batch 339"]
    ) -> Float[Tensor, "*batch 216"]:
        """The decoder's output before it is added to the past state."""
        return self.decoder(torch.cat([past, latent], dim=-1))

    def decode(
        self, latent: Float[Tensor, "*batch 48"], past: Float[Tensor, "*batch 339"]
    ) -> Float[Tensor, "*batch 348"]:
        """Next state (339) and contact logits (9), in the frame of the past state."""
        return add_residual(past, self.decode_raw(latent, past))


def add_residual(
    past: Float[Tensor, "*batch 339"], change: Float[Tensor, "*batch 216"]
) -> Float[Tensor, "*batch 348"]:
    """Add vectors, turn matrices from the left by the predicted rotation vectors, append the logits."""
    d_linear, d_root, d_root_velocity, d_body, d_joints, contacts = change.split(
        (6, 3, 3, 63, 132, 9), dim=-1
    )
    linear, rotations, root_velocity, body, joints = past.split((6, 9, 3, 189, 132), dim=-1)
    matrices = torch.cat([rotations, body], dim=-1).unflatten(-1, (22, 3, 3))
    turns = torch.cat([d_root, d_body], dim=-1).unflatten(-1, (22, 3))
    turned = (rotvec_to_rotmat(turns) @ matrices).flatten(-3)
    return torch.cat(
        [
            linear + d_linear,
            turned[..., :9],
            root_velocity + d_root_velocity,
            turned[..., 9:],
            joints + d_joints,
            contacts,
        ],
        dim=-1,
    )


def _gaussian(
    raw: Float[Tensor, "*batch 96"],
) -> tuple[Float[Tensor, "*batch 48"], Float[Tensor, "*batch 48"]]:
    mean, log_variance = raw.split(LATENT_SIZE, dim=-1)
    return mean, log_variance.exp()
