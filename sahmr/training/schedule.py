"""The learning rate at each step."""

from __future__ import annotations

import math

from sahmr.training.settings import StageSettings


def total_steps(settings: StageSettings, steps_per_epoch: int) -> int:
    """How long a training is."""
    return settings.steps if settings.steps is not None else settings.epochs * steps_per_epoch


def learning_rate(settings: StageSettings, step: int, total: int) -> float:
    """The rate of one step, counted from 0.

    With `step` and 30 epochs the rate is halved from the first step of epoch 16 on, as in SA-HMR.
    """
    warm = min(1.0, (step + 1) / (settings.warm_up_steps + 1))
    if settings.schedule == "step":
        factor = settings.decay_factor if step >= settings.decay_at * total else 1.0
    else:
        low = settings.decay_factor
        factor = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * step / total))
    return settings.start_rate * warm * factor
