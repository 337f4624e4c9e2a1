"""Training HuMoR's CVAE from motion clips, scaled to one CPU core.

Every step takes random windows, encodes all their transitions, rolls the decoder out from the first
state with sampled latents, and compares the whole roll-out with the window, in the window's canonical
frame. Windows grow from phase to phase: the first phase sees single transitions.

Differs from HuMoR: (1) gradients run through the whole roll-out, where HuMoR feeds back detached
predictions with growing probability; (2) the posterior always sees the true transition, as it does when
a fit infers latents; (3) no mesh loss, and the SMPL joints come from forward kinematics; (4) Adam with
a cosine rate instead of Adamax with three halvings; (5) position-like terms weigh more than
velocities, so that a roll-out stays close over 60 frames. Figures behind (4) and (5): weights/README.md.

Source: HuMoR, losses/humor_loss.py and train/train_humor.py, as told in the fitting page, section 5.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pipelines.bodies.joints import SMPL_PARENTS
from pipelines.bodies.skinning import forward_kinematics
from pipelines.config import Settings
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.rollout import RollOut, roll_out, transitions
from pipelines.motion_prior.state import CONTACT_JOINTS, NUM_CONTACTS, MotionState
from pipelines.motion_prior.training_data import TrainingMotions
from pipelines.motion_prior.training_start import start_from_data
from pipelines.motion_prior.training_state import TrainingState, training_identity

logger = logging.getLogger(__name__)

_LOG_EVERY = 50
_KEEP_EVERY = 250


class MotionPhase(Settings):
    """One stretch of the training."""

    iterations: int
    steps: int
    """Length of the roll-outs."""
    windows: int
    """Windows per iteration."""


class MotionLossWeights(Settings):
    """Weights of the mean squared errors and the rest.

    Differs from HuMoR (all 1, KL 0.0004): there the latents of a small training set stay unused, since
    a millimetre of error costs less than a tenth of a nat.
    """

    transl: float = 1000.0
    transl_velocity: float = 1.0
    root_rotmat: float = 300.0
    root_angular_velocity: float = 1.0
    body_rotmats: float = 1000.0
    joints: float = 1000.0
    joints_velocity: float = 1.0
    body_model_joints: float = 1000.0
    joint_consistency: float = 300.0
    contact: float = 0.01
    contact_velocity: float = 0.01
    kl: float = 0.0004


class MotionTrainingSettings(Settings):
    """Widths, phases and weights."""

    network: MotionPriorSettings = MotionPriorSettings(
        encoder_widths=(512,) * 4, prior_widths=(384,) * 4, decoder_widths=(512, 512, 256)
    )
    phases: tuple[MotionPhase, ...] = (
        MotionPhase(iterations=300, steps=1, windows=250),
        MotionPhase(iterations=2000, steps=8, windows=32),
        MotionPhase(iterations=2500, steps=20, windows=20),
        MotionPhase(iterations=1200, steps=40, windows=12),
    )
    weights: MotionLossWeights = MotionLossWeights()
    learning_rate: float = 1e-4
    final_learning_rate: float = 2e-6
    warm_up_iterations: int = 100
    kl_ramp: float = 0.25
    """Share of all iterations over which the KL weight grows from 0."""
    gradient_norm: float = 10.0


def train_motion_prior(
    motions: TrainingMotions,
    settings: MotionTrainingSettings,
    seed: int,
    checkpoint: Path | None = None,
) -> tuple[MotionPrior, list[dict[str, float]]]:
    """Train from scratch; returns the network and the mean losses of each stretch of iterations.

    Args:
        motions: training data.
        settings: widths, phases, weights.
        seed: of first values, windows and noise.
        checkpoint: where to keep the state every few minutes; an interrupted training of the same settings,
            data and seed goes on from it and ends with the same weights.
    """
    torch.manual_seed(seed)
    run = _Run.begin(motions, settings, seed)
    if checkpoint is not None:
        run.resume(checkpoint)
    total = sum(phase.iterations for phase in settings.phases)
    running: dict[str, float] = {}
    for iteration, phase in enumerate(_schedule(settings)):
        if iteration < run.iteration:
            continue
        run.state.optimiser.param_groups[0]["lr"] = _learning_rate(settings, iteration, total)
        ramp = min(1.0, iteration / total / settings.kl_ramp) if settings.kl_ramp > 0 else 1.0
        for name, value in run.step(motions, phase, ramp).items():
            running[name] = running.get(name, 0.0) + value / _LOG_EVERY
        run.iteration = iteration + 1
        if run.iteration % _LOG_EVERY == 0:
            run.history.append({"iteration": run.iteration, "steps": phase.steps, **running})
            logger.info("motion prior %s", " ".join(f"{k} {v:.4g}" for k, v in run.history[-1].items()))
            running = {}
        if checkpoint is not None and run.iteration % _KEEP_EVERY == 0:
            run.keep(checkpoint)
    return run.state.prior.requires_grad_(False).eval(), run.history


@dataclass(eq=False)
class _Run:
    """What changes during a training."""

    state: TrainingState
    settings: MotionTrainingSettings
    iteration: int
    history: list[dict[str, float]]

    @staticmethod
    def begin(motions: TrainingMotions, settings: MotionTrainingSettings, seed: int) -> _Run:
        generator = torch.Generator().manual_seed(seed)
        prior = MotionPrior(settings.network)
        start_from_data(prior, motions, output_weights(settings.weights), generator)
        optimiser = torch.optim.Adam(prior.parameters(), lr=settings.learning_rate)
        identity = training_identity("ours", settings, seed, motions)
        return _Run(TrainingState(identity, prior, optimiser, generator), settings, 0, [])

    def step(self, motions: TrainingMotions, phase: MotionPhase, kl_ramp: float) -> dict[str, float]:
        prior, optimiser = self.state.prior, self.state.optimiser
        terms = _losses(prior, motions, phase, self.state.generator)
        loss = _weighted(terms, self.settings.weights, kl_ramp)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(prior.parameters(), self.settings.gradient_norm)
        if torch.isfinite(loss) and torch.isfinite(norm):
            optimiser.step()
        return {name: float(value.detach()) for name, value in {**terms, "loss": loss}.items()}

    def keep(self, path: Path) -> None:
        self.state.keep(path, {"iteration": self.iteration, "history": self.history})

    def resume(self, path: Path) -> None:
        progress = self.state.resume(path)
        if progress is not None:
            self.iteration, self.history = progress["iteration"], progress["history"]
            logger.info("going on from iteration %d", self.iteration)


def output_weights(weights: MotionLossWeights) -> Float[Tensor, "216"]:
    """Weight of the squared error of each decoder output in the loss (means over elements)."""
    parts = [
        (weights.transl / 3, 3),
        (weights.transl_velocity / 3, 3),
        (2 * weights.root_rotmat / 9, 3),  # a small turn changes two matrix entries per axis, twice
        (weights.root_angular_velocity / 3, 3),
        (2 * weights.body_rotmats / 189, 63),
        (weights.joints / 66, 66),
        (weights.joints_velocity / 66, 66),
        (0.0, NUM_CONTACTS),
    ]
    return torch.cat([torch.full((size,), weight) for weight, size in parts])


def _schedule(settings: MotionTrainingSettings) -> Iterator[MotionPhase]:
    for phase in settings.phases:
        for _ in range(phase.iterations):
            yield phase


def _learning_rate(settings: MotionTrainingSettings, iteration: int, total: int) -> float:
    warm = min(1.0, (iteration + 1) / max(settings.warm_up_iterations, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / total))
    low, high = settings.final_learning_rate, settings.learning_rate
    return warm * (low + (high - low) * cosine)


def _losses(
    prior: MotionPrior, motions: TrainingMotions, phase: MotionPhase, generator: torch.Generator
) -> dict[str, Tensor]:
    length = phase.steps + 1
    starts = motions.random_starts(phase.windows, length, generator)
    states, contacts, rest = motions.windows(starts, length)
    mean, variance = prior.posterior(*transitions(states))
    noise = torch.randn(mean.shape, generator=generator)
    result = roll_out(prior, states[:, 0], mean + variance.sqrt() * noise)
    terms = reconstruction_terms(result, states[:, 1:], contacts[:, 1:], rest)
    assert result.prior_mean is not None
    assert result.prior_variance is not None
    terms["kl"] = gaussian_kl(mean, variance, result.prior_mean, result.prior_variance)
    return terms


def reconstruction_terms(
    result: RollOut,
    target: MotionState,
    contacts: Float[Tensor, "windows steps 9"],
    rest_joints: Float[Tensor, "windows 22 3"],
) -> dict[str, Tensor]:
    """Unweighted terms between a roll-out and the motion it should follow (means over elements)."""
    found = result.states
    joint_ids = list(CONTACT_JOINTS)
    posed = _body_model_joints(found, rest_joints)
    speed = found.joints_velocity[:, :, joint_ids].square().sum(-1)
    return {
        "transl": F.mse_loss(found.transl, target.transl),
        "transl_velocity": F.mse_loss(found.transl_velocity, target.transl_velocity),
        "root_rotmat": F.mse_loss(found.root_rotmat, target.root_rotmat),
        "root_angular_velocity": F.mse_loss(found.root_angular_velocity, target.root_angular_velocity),
        "body_rotmats": F.mse_loss(found.body_rotmats, target.body_rotmats),
        "joints": F.mse_loss(found.joints, target.joints),
        "joints_velocity": F.mse_loss(found.joints_velocity, target.joints_velocity),
        "body_model_joints": F.mse_loss(posed, target.joints),
        "joint_consistency": F.mse_loss(posed, found.joints),
        "contact": F.binary_cross_entropy_with_logits(result.contact_logits, contacts),
        "contact_velocity": (result.contact_logits.sigmoid() * speed).mean(),
    }


def gaussian_kl(
    mean: Float[Tensor, "*batch 48"],
    variance: Float[Tensor, "*batch 48"],
    prior_mean: Float[Tensor, "*batch 48"],
    prior_variance: Float[Tensor, "*batch 48"],
) -> Float[Tensor, ""]:
    """KL(posterior || prior), summed over the latent, averaged over the rest."""
    ratio = variance / prior_variance
    distance = (mean - prior_mean).square() / prior_variance
    return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1).mean()


def _body_model_joints(
    states: MotionState, rest_joints: Float[Tensor, "windows 22 3"]
) -> Float[Tensor, "windows steps 22 3"]:
    windows, steps = states.transl.shape[:2]
    rotmats = torch.cat([states.root_rotmat[:, :, None], states.body_rotmats], dim=2)
    rest = rest_joints[:, None].expand(-1, steps, -1, -1)
    _, places = forward_kinematics(rotmats.flatten(0, 1), rest.flatten(0, 1), SMPL_PARENTS)
    return places.unflatten(0, (windows, steps)) + states.transl[:, :, None]


def _weighted(terms: dict[str, Tensor], weights: MotionLossWeights, kl_ramp: float) -> Tensor:
    total = sum(
        getattr(weights, name) * value * (kl_ramp if name == "kl" else 1.0)
        for name, value in terms.items()
    )
    assert isinstance(total, Tensor)
    return total
