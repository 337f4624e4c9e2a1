"""HuMoR's training: windows of single transitions, each in its input's own frame, with scheduled sampling.

    prior, history = train_by_humor(motions, validation, HumorScheduleSettings(), seed=0)

Every transition is a target of its own, given in the frame of the true input; what is fed forward is either
the true state or the network's own, detached. So no gradient passes from one transition to the one before,
other than in `motion_prior.train_motion`, which learns from whole roll-outs.

Differs from HuMoR: no loss on the skin (its term on the body's joints is kept, by forward kinematics); first
values are PyTorch's. A window is drawn from a random clip, uniformly over clips, as there.

Source: HuMoR, train/train_humor.py, models/humor_model.py and losses/humor_loss.py, as told in the fitting
page, section 5.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.humor_training.settings import HumorScheduleSettings
from pipelines.motion_prior.canonical import (
    heading_rotmat,
    pelvis_offset,
    planar_shift,
    to_local_frame,
)
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.rollout import RollOut, transitions
from pipelines.motion_prior.state import STATE_SIZE, MotionState, pack, unpack
from pipelines.motion_prior.train_motion import gaussian_kl, reconstruction_terms
from pipelines.motion_prior.training_data import TrainingMotions
from pipelines.motion_prior.training_state import TrainingState, training_identity

logger = logging.getLogger(__name__)

Terms = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Windows of a batch as single transitions."""

    past: Float[Tensor, "windows steps 339"]
    """True input of each transition, in its own frame."""
    following: Float[Tensor, "windows steps 339"]
    """Target, in the same frame."""
    contacts: Float[Tensor, "windows steps 9"]
    rest_joints: Float[Tensor, "windows 22 3"]
    pivot: Float[Tensor, "windows 3"]
    """Of the pelvis, about which frames turn."""

    @staticmethod
    def at(motions: TrainingMotions, starts: Int[Tensor, " windows"], steps: int) -> Windows:
        """Windows that begin at the given frames."""
        states, contacts, rest = motions.windows(starts, steps + 1)
        past, following = transitions(states)
        return Windows(past, following, contacts[:, 1:], rest, pelvis_offset(states[:, 0]))


def train_by_humor(
    motions: TrainingMotions,
    validation: TrainingMotions | None,
    settings: HumorScheduleSettings,
    seed: int,
    checkpoint: Path | None = None,
) -> tuple[MotionPrior, list[dict[str, float]]]:
    """Train from scratch; returns the best network and the mean losses of each epoch.

    Args:
        motions: training data.
        validation: decides which epoch is the best, on the network's own predictions; None takes the last.
        settings: the schedule.
        seed: of first values, windows and noise.
        checkpoint: where to keep the state after every epoch; an interrupted training of the same settings,
            data and seed goes on from it and ends with the same weights.
    """
    torch.manual_seed(seed)
    run = _Run.begin(motions, validation, settings, seed)
    if checkpoint is not None:
        run.resume(checkpoint)
    held_out = None if validation is None else _held_out(validation, settings)
    while run.epoch < settings.epochs:
        losses = run.train_epoch(motions)
        if held_out is not None:
            losses["validation"] = run.validate(held_out)
        run.close_epoch(losses)
        logger.info("humor epoch %d: %s", run.epoch, _told(losses))
        if checkpoint is not None:
            run.keep(checkpoint)
    prior = run.state.prior
    if run.best is not None:
        prior.load_state_dict(run.best)
    return prior.requires_grad_(False).eval(), run.history


@dataclass(eq=False)
class _Run:
    """What changes during a training."""

    state: TrainingState
    settings: HumorScheduleSettings
    epoch: int
    history: list[dict[str, float]]
    best_loss: float
    best: dict[str, Tensor] | None

    @staticmethod
    def begin(
        motions: TrainingMotions,
        validation: TrainingMotions | None,
        settings: HumorScheduleSettings,
        seed: int,
    ) -> _Run:
        prior = MotionPrior(settings.network)
        optimiser = torch.optim.Adamax(prior.parameters(), lr=settings.learning_rate)
        generator = torch.Generator().manual_seed(seed)
        identity = training_identity("humor", settings, seed, motions, validation)
        state = TrainingState(identity, prior, optimiser, generator)
        return _Run(state, settings, 0, [], math.inf, None)

    def train_epoch(self, motions: TrainingMotions) -> dict[str, float]:
        prior, optimiser, settings = self.state.prior, self.state.optimiser, self.settings
        prior.train()
        passed = sum(self.epoch >= milestone for milestone in settings.milestones)
        optimiser.param_groups[0]["lr"] = settings.learning_rate * settings.decay**passed
        truth = truth_probability(self.epoch, settings)
        ramp = min(1.0, self.epoch / settings.kl_ramp_epochs) if settings.kl_ramp_epochs else 1.0
        sums: dict[str, float] = defaultdict(float)
        count = 0
        for windows in self._batches(motions):
            terms = window_losses(prior, windows, truth, self.state.generator)
            loss = _weighted(terms, settings, ramp)
            optimiser.zero_grad()
            loss.backward()
            if not self._finite(loss):
                sums["skipped_batches"] += 1
                continue
            optimiser.step()
            count += 1
            for name, value in {**terms, "loss": loss}.items():
                sums[name] += float(value.detach())
        skipped = sums.pop("skipped_batches", 0.0)
        means = {name: value / max(count, 1) for name, value in sums.items()}
        return {**means, "skipped_batches": skipped}

    @torch.no_grad()
    def validate(self, windows: Windows) -> float:
        self.state.prior.eval()
        generator = torch.Generator().manual_seed(0)
        terms = window_losses(self.state.prior, windows, 0.0, generator)
        return float(_weighted(terms, self.settings, 1.0))

    def close_epoch(self, losses: dict[str, float]) -> None:
        self.epoch += 1
        self.history.append({"epoch": float(self.epoch), **losses})
        # Before, the network is measured on its own predictions but learns from true states.
        judged = self.epoch > self.settings.own_epochs and "validation" in losses
        if judged and losses["validation"] < self.best_loss:
            self.best_loss = losses["validation"]
            self.best = {name: value.clone() for name, value in self.state.prior.state_dict().items()}

    def keep(self, path: Path) -> None:
        counts = {"epoch": self.epoch, "history": self.history}
        self.state.keep(path, {**counts, "best_loss": self.best_loss, "best": self.best})

    def resume(self, path: Path) -> None:
        progress = self.state.resume(path)
        if progress is not None:
            self.epoch, self.history = progress["epoch"], progress["history"]
            self.best_loss, self.best = progress["best_loss"], progress["best"]
            logger.info("going on after epoch %d", self.epoch)

    def _batches(self, motions: TrainingMotions) -> Iterator[Windows]:
        settings = self.settings
        batches = settings.batches_per_epoch or math.ceil(len(motions.num_frames) / settings.batch_size)
        for _ in range(batches):
            starts = starts_by_clip(
                motions, settings.batch_size, settings.steps + 1, self.state.generator
            )
            yield Windows.at(motions, starts, settings.steps)

    def _finite(self, loss: Tensor) -> bool:
        gradients = [p.grad for p in self.state.prior.parameters() if p.grad is not None]
        return bool(torch.isfinite(loss)) and all(bool(torch.isfinite(g).all()) for g in gradients)


def truth_probability(epoch: int, settings: HumorScheduleSettings) -> float:
    """That a transition of this epoch (counted from 0) starts from the true state."""
    if epoch < settings.truth_epochs:
        return 1.0
    if epoch >= settings.own_epochs:
        return 0.0
    return 1.0 - (epoch - settings.truth_epochs) / (settings.own_epochs - settings.truth_epochs)


def starts_by_clip(
    motions: TrainingMotions, count: int, length: int, generator: torch.Generator
) -> Int[Tensor, " windows"]:
    """Starts of windows: a clip uniformly, then a frame of it that leaves room for the window."""
    possible = motions.possible_starts(length)
    clips, counts = torch.unique_consecutive(motions.clip[possible], return_counts=True)
    first = counts.cumsum(0) - counts
    chosen = torch.randint(len(clips), (count,), generator=generator)
    within = (torch.rand(count, generator=generator) * counts[chosen]).long()
    return possible[first[chosen] + within]


def window_losses(
    prior: MotionPrior, windows: Windows, truth: float, generator: torch.Generator
) -> Terms:
    """Unweighted terms of a batch (means over elements).

    Args:
        prior: the networks.
        windows: true transitions.
        truth: probability that a transition after the first starts from the true state.
        generator: of the latents and of who starts from what.
    """
    state = windows.past[:, 0]
    predicted, gaussians, latents = [], [], []
    for step in range(windows.past.shape[1]):
        if step > 0:
            true = torch.rand(len(state), generator=generator) < truth
            state = torch.where(true[:, None], windows.past[:, step], state)
        posterior = prior.posterior(state, windows.following[:, step])
        noise = torch.randn(posterior[0].shape, generator=generator)
        latent = posterior[0] + posterior[1].sqrt() * noise
        prediction = prior.decode(latent, state)
        predicted.append(prediction)
        latents.append(latent)
        gaussians.append((*posterior, *prior.prior(state)))
        state = _own_frame(prediction[:, :STATE_SIZE].detach(), windows.pivot)
    every = torch.stack(predicted, dim=1)
    found = RollOut(
        unpack(every[..., :STATE_SIZE]),
        every[..., STATE_SIZE:],
        torch.stack(latents, dim=1),
        None,
        None,
    )
    target = unpack(windows.following)
    terms = reconstruction_terms(found, target, windows.contacts, windows.rest_joints)
    mean, variance, prior_mean, prior_variance = (
        torch.stack(values, dim=1) for values in zip(*gaussians, strict=True)
    )
    return {**terms, "kl": gaussian_kl(mean, variance, prior_mean, prior_variance)}


def _own_frame(
    predicted: Float[Tensor, "windows 339"], pivot: Float[Tensor, "windows 3"]
) -> Float[Tensor, "windows 339"]:
    """A predicted state as the input of the next transition."""
    state: MotionState = unpack(predicted)
    R, shift = heading_rotmat(state.root_rotmat), planar_shift(state.transl)
    return pack(to_local_frame(state, R, shift, pivot))


def _held_out(validation: TrainingMotions, settings: HumorScheduleSettings) -> Windows:
    generator = torch.Generator().manual_seed(0)
    starts = starts_by_clip(validation, settings.validation_windows, settings.steps + 1, generator)
    return Windows.at(validation, starts, settings.steps)


def _weighted(terms: Terms, settings: HumorScheduleSettings, kl_ramp: float) -> Tensor:
    weights = settings.weights
    parts = [
        getattr(weights, name) * (kl_ramp if name == "kl" else 1.0) * value
        for name, value in terms.items()
    ]
    return torch.stack(parts).sum()


def _told(losses: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.4g}" for name, value in losses.items())
