"""A kept training goes on as if it had not been interrupted, and only where it is the same one."""

from __future__ import annotations

from pathlib import Path

import torch

from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.training_state import TrainingState

SMALL = MotionPriorSettings(encoder_widths=(32,) * 4, prior_widths=(32,) * 4, decoder_widths=(32,) * 3)


def begun(identity: str, seed: int) -> TrainingState:
    torch.manual_seed(seed)
    prior = MotionPrior(SMALL)
    optimiser = torch.optim.Adam(prior.parameters(), lr=0.1)
    return TrainingState(identity, prior, optimiser, torch.Generator().manual_seed(seed))


def take_step(state: TrainingState) -> torch.Tensor:
    """Moves every weight, and draws; returns all weights."""
    weights = list(state.prior.parameters())
    state.optimiser.zero_grad()
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=state.generator)
    state.optimiser.step()
    return torch.cat([weight.detach().flatten() for weight in weights])


def test_the_steps_after_a_resume_are_those_that_would_have_come(tmp_path: Path) -> None:
    path, first, second = tmp_path / "partial.pt", begun("a", 0), begun("a", 1)
    take_step(first)
    first.keep(path, {"epoch": 3, "best": None})
    assert second.resume(path) == {"epoch": 3, "best": None}
    assert torch.equal(take_step(first), take_step(second))


def test_another_training_is_not_taken_up(tmp_path: Path) -> None:
    path, other = tmp_path / "partial.pt", begun("b", 1)
    begun("a", 0).keep(path, {"epoch": 3})
    assert other.resume(path) is None
    assert other.resume(tmp_path / "absent.pt") is None
    assert torch.equal(take_step(other), take_step(begun("b", 1)))
