"""A kept training goes on as if it had not been interrupted, and only where it is the same one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.motion_prior.network import MotionPrior, MotionPriorSettings
from pipelines.motion_prior.training_data import TrainingClip, prepare_motions
from pipelines.motion_prior.training_state import TrainingState, training_identity

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


def test_a_training_is_known_by_what_its_motions_hold() -> None:
    rotvecs, transl = np.zeros((8, 22, 3)), np.zeros((8, 3))
    clip = TrainingClip("still", "still", "male", np.zeros(10), rotvecs, transl)
    motions = prepare_motions([clip], resolve_body_files(None))
    touching = replace(motions, contacts=1 - motions.contacts)
    own = training_identity("ours", SMALL, 0, motions)
    assert own == training_identity("ours", SMALL, 0, replace(motions))
    others = [
        training_identity("humor", SMALL, 0, motions),
        training_identity("ours", MotionPriorSettings(), 0, motions),
        training_identity("ours", SMALL, 1, motions),
        training_identity("ours", SMALL, 0, touching),
        training_identity("ours", SMALL, 0, motions, None),
        training_identity("ours", SMALL, 0, motions, motions),
    ]
    assert len({own, *others}) == 7
