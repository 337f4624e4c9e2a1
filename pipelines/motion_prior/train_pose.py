"""Training the pose prior: VPoser's architecture on single poses.

Poses are made more various than the clips: limbs of different frames are put together, and every joint
is turned a little at random. Loss = squared error of the rotation matrices and of the joints they give
(rest bones of the pose's own body), plus the KL divergence to the standard normal.

Differs from VPoser: joints in place of mesh vertices, no penalty on matrices (the decoder's columns are
orthonormal by construction), Adam with a cosine rate.

Source: Pavlakos et al. 2019, section 3.3; human_body_prior (branch cvpr19) train/vposer_smpl.py.
"""

from __future__ import annotations

import logging
import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pipelines.bodies.joints import SMPL_PARENTS
from pipelines.bodies.skinning import forward_kinematics
from pipelines.config import Settings
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.motion_prior.pose_prior import PosePrior, PosePriorSettings
from pipelines.motion_prior.training_data import TrainingMotions

logger = logging.getLogger(__name__)

_LOG_EVERY = 200
_LIMBS = (
    (1, 2, 4, 5, 7, 8, 10, 11),
    (3, 6, 9),
    (12, 15),
    (13, 16, 18, 20),
    (14, 17, 19, 21),
)
"""Joints that are exchanged between frames together: legs, spine, head, left arm, right arm."""


class PoseTrainingSettings(Settings):
    """Width, length and weights."""

    network: PosePriorSettings = PosePriorSettings(width=384)
    iterations: int = 5000
    batch: int = 256
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    exchange_probability: float = 0.3
    """Of each limb, to come from another frame."""
    noise_rad: float = 0.05
    """Standard deviation of the random turn of each joint."""
    rotation_weight: float = 1.0
    joint_weight: float = 20.0
    kl: float = 0.0004
    """Per unit of KL (sum over the latent, mean over the batch)."""


def train_pose_prior(
    motions: TrainingMotions, settings: PoseTrainingSettings, seed: int
) -> tuple[PosePrior, list[dict[str, float]]]:
    """Train from scratch; returns the network and the mean losses of each stretch of iterations."""
    torch.manual_seed(seed)
    prior = PosePrior(settings.network)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(prior.parameters(), lr=settings.learning_rate)
    history: list[dict[str, float]] = []
    running: dict[str, float] = {}
    for iteration in range(settings.iterations):
        cosine = 0.5 * (1 + math.cos(math.pi * iteration / settings.iterations))
        low, high = settings.final_learning_rate, settings.learning_rate
        optimiser.param_groups[0]["lr"] = low + (high - low) * cosine
        poses, rest = random_poses(motions, settings, generator)
        terms = _losses(prior, poses, rest, generator)
        loss = (
            settings.rotation_weight * terms["rotations"]
            + settings.joint_weight * terms["joints"]
            + settings.kl * terms["kl"]
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for name, value in terms.items():
            running[name] = running.get(name, 0.0) + float(value.detach()) / _LOG_EVERY
        if (iteration + 1) % _LOG_EVERY == 0:
            history.append({"iteration": iteration + 1, **running})
            logger.info("pose prior %s", " ".join(f"{k} {v:.4g}" for k, v in history[-1].items()))
            running = {}
    return prior.requires_grad_(False).eval(), history


def random_poses(
    motions: TrainingMotions, settings: PoseTrainingSettings, generator: torch.Generator
) -> tuple[Float[Tensor, "batch 21 3"], Float[Tensor, "batch 22 3"]]:
    """A batch of poses (rotation vectors) with the rest joints of their bodies."""
    frames = torch.randint(len(motions.clip), (settings.batch,), generator=generator)
    donors = torch.randint(len(motions.clip), (settings.batch, len(_LIMBS)), generator=generator)
    exchange = (
        torch.rand(settings.batch, len(_LIMBS), generator=generator) < settings.exchange_probability
    )
    poses = _exchange_limbs(motions.body_rotvecs[frames], motions.body_rotvecs[donors], exchange)
    noise = settings.noise_rad * torch.randn(poses.shape, generator=generator)
    turned = rotmat_to_rotvec(rotvec_to_rotmat(noise) @ rotvec_to_rotmat(poses))
    return turned, motions.rest_joints[motions.clip[frames]]


def pose_joints(
    body_rotmats: Float[Tensor, "batch 21 3 3"], rest_joints: Float[Tensor, "batch 22 3"]
) -> Float[Tensor, "batch 22 3"]:
    """Joints of a pose with the root unturned."""
    root = torch.eye(3).expand(len(body_rotmats), 1, 3, 3)
    rotmats = torch.cat([root, body_rotmats], dim=1)
    return forward_kinematics(rotmats, rest_joints, SMPL_PARENTS)[1]


def _exchange_limbs(
    poses: Float[Tensor, "batch 21 3"],
    donors: Float[Tensor, "batch limbs 21 3"],
    exchange: Bool[Tensor, "batch limbs"],
) -> Float[Tensor, "batch 21 3"]:
    mixed = poses.clone()
    for limb, joints in enumerate(_LIMBS):
        rows = [joint - 1 for joint in joints]
        taken = exchange[:, limb, None, None]
        mixed[:, rows] = torch.where(taken, donors[:, limb, rows], poses[:, rows])
    return mixed


def _losses(
    prior: PosePrior,
    poses: Float[Tensor, "batch 21 3"],
    rest: Float[Tensor, "batch 22 3"],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    mean, scale = prior.encode(poses)
    latent = mean + scale * torch.randn(mean.shape, generator=generator)
    found, target = prior.decode(latent), rotvec_to_rotmat(poses)
    kl = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum(-1).mean()
    return {
        "rotations": F.mse_loss(found, target),
        "joints": F.mse_loss(pose_joints(found, rest), pose_joints(target, rest)),
        "kl": kl,
    }
