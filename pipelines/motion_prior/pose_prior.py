"""VPoser v1.0: a variational autoencoder of single body poses, with the official parameter names.

    pose = PosePrior()                              # widths are settings; 512 in the official file
    body_rotmats = pose.decode(latent)              # (..., 32) -> (..., 21, 3, 3)
    mean, scale = pose.encode(body_rotvecs)         # (..., 21, 3) -> two (..., 32)

Always evaluated with stored batch statistics and without dropout; training keeps its own mode.

Source: human_body_prior (branch cvpr19) model/vposer_model.py, as told in the fitting page, section 7.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.config import Settings
from pipelines.geometry.rotations import rot6d_to_rotmat
from pipelines.motion_prior.state import NUM_BODY_ROTATIONS

POSE_LATENT_SIZE = 32
DROPOUT = 0.1
LEAK = 0.2


class PosePriorSettings(Settings):
    """Width of the hidden layers."""

    width: int = 512


class PosePrior(nn.Module):
    """VPoser: 21 body rotations to and from a 32-vector."""

    def __init__(self, settings: PosePriorSettings | None = None) -> None:
        super().__init__()
        settings = settings or PosePriorSettings()
        self.settings = settings
        width, pose_size = settings.width, 3 * NUM_BODY_ROTATIONS
        self.bodyprior_enc_bn1 = nn.BatchNorm1d(pose_size)
        self.bodyprior_enc_fc1 = nn.Linear(pose_size, width)
        self.bodyprior_enc_bn2 = nn.BatchNorm1d(width)
        self.bodyprior_enc_fc2 = nn.Linear(width, width)
        self.bodyprior_enc_mu = nn.Linear(width, POSE_LATENT_SIZE)
        self.bodyprior_enc_logvar = nn.Linear(width, POSE_LATENT_SIZE)
        self.bodyprior_dec_fc1 = nn.Linear(POSE_LATENT_SIZE, width)
        self.bodyprior_dec_fc2 = nn.Linear(width, width)
        self.bodyprior_dec_out = nn.Linear(width, 6 * NUM_BODY_ROTATIONS)

    def encode(
        self, body_rotvecs: Float[Tensor, "*batch 21 3"]
    ) -> tuple[Float[Tensor, "*batch 32"], Float[Tensor, "*batch 32"]]:
        """Mean and standard deviation of the latent pose."""
        batch = body_rotvecs.shape[:-2]
        hidden = self.bodyprior_enc_bn1(body_rotvecs.reshape(-1, 3 * NUM_BODY_ROTATIONS))
        hidden = F.leaky_relu(self.bodyprior_enc_fc1(hidden), LEAK)
        hidden = F.dropout(self.bodyprior_enc_bn2(hidden), DROPOUT, self.training)
        hidden = F.leaky_relu(self.bodyprior_enc_fc2(hidden), LEAK)
        mean, raw = self.bodyprior_enc_mu(hidden), self.bodyprior_enc_logvar(hidden)
        return mean.reshape(*batch, -1), F.softplus(raw).reshape(*batch, -1)

    def decode(self, latent: Float[Tensor, "*batch 32"]) -> Float[Tensor, "*batch 21 3 3"]:
        """Body rotation matrices, each relative to its parent joint."""
        hidden = F.leaky_relu(self.bodyprior_dec_fc1(latent), LEAK)
        hidden = F.dropout(hidden, DROPOUT, self.training)
        hidden = F.leaky_relu(self.bodyprior_dec_fc2(hidden), LEAK)
        columns = self.bodyprior_dec_out(hidden).unflatten(-1, (NUM_BODY_ROTATIONS, 3, 2))
        return rot6d_to_rotmat(columns)

    def project(self, body_rotvecs: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 21 3 3"]:
        """The nearest pose the prior knows: decode the mean of the encoding."""
        mean, _ = self.encode(body_rotvecs)
        return self.decode(mean)


def pose_energy(latent: Float[Tensor, "*batch 32"]) -> Float[Tensor, ""]:
    """Sum of squares of the latent pose (no factor one half); HuMoR `pose_prior`."""
    return torch.square(latent).sum()
