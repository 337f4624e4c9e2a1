"""How well a motion prior follows motions it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.errors import DataInvalid
from pipelines.motion_prior.network import MotionPrior
from pipelines.motion_prior.rollout import infer_latents, roll_out, transitions
from pipelines.motion_prior.state import MotionState
from pipelines.motion_prior.train_motion import gaussian_kl
from pipelines.motion_prior.training_data import TrainingMotions

HORIZONS: Final = (1, 10, 30, 60)
_WINDOWS_AT_ONCE: Final = 256


@torch.no_grad()
def measure_motion_prior(
    prior: MotionPrior,
    motions: TrainingMotions,
    horizons: Sequence[int] = HORIZONS,
    max_windows: int = 1000,
) -> dict[str, float]:
    """Errors of reconstruction, all by the posterior's means.

    A window begins at every frame that leaves room for it; more than `max_windows` are thinned evenly.

    Returns:
        `joints_mm_<n>`: mean distance of the 22 joints n frames into a roll-out from the true first state;
        `still_mm_<n>`: that of a body that stays as it was, to compare with; `contact_accuracy`: share of
        the 9 labels told right on the first step; `kl`: of posterior and prior, nats; `windows_<n>`: how
        many were measured. A horizon longer than every clip is left out.

    Raises:
        DataInvalid: no clip has two frames.
    """
    found: dict[str, float] = {}
    for horizon in horizons:
        possible = motions.possible_starts(horizon + 1)
        if len(possible) == 0:
            continue
        step = max(1, -(-len(possible) // max_windows))
        found |= _measure(prior, motions, possible[::step], horizon)
    if not found:
        raise DataInvalid(
            "no clip is long enough to be measured on", expected=f"{min(horizons) + 1} frames"
        )
    return found


def _measure(
    prior: MotionPrior, motions: TrainingMotions, starts: Tensor, horizon: int
) -> dict[str, float]:
    totals = {"joints": 0.0, "still": 0.0, "contact": 0.0, "kl": 0.0}
    for some in starts.split(_WINDOWS_AT_ONCE):
        states, contacts, _ = motions.windows(some, horizon + 1)
        latents, variance = infer_latents(prior, states)
        result = roll_out(prior, states[:, 0], latents)
        target = states[:, horizon]
        totals["joints"] += float(_distance(result.states[:, -1], target).sum())
        totals["still"] += float(_distance(states[:, 0], target).sum())
        right = (result.contact_logits[:, 0] > 0) == (contacts[:, 1] > 0.5)
        totals["contact"] += float(right.float().mean(1).sum())
        past, _ = transitions(states)
        kl = gaussian_kl(latents, variance, *prior.prior(past))
        totals["kl"] += float(kl) * len(some)
    count = len(starts)
    errors = {
        f"joints_mm_{horizon}": 1e3 * totals["joints"] / count,
        f"still_mm_{horizon}": 1e3 * totals["still"] / count,
        f"windows_{horizon}": float(count),
    }
    if horizon > 1:
        return errors
    return {**errors, "contact_accuracy": totals["contact"] / count, "kl": totals["kl"] / count}


def _distance(found: MotionState, target: MotionState) -> Float[Tensor, " windows"]:
    return (found.joints - target.joints).norm(dim=-1).mean(dim=-1)
