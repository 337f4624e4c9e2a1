"""Fitting the mixture over first states.

Differs from HuMoR: the covariance floor is 1e-5 (3 mm) in place of 1e-6 (1 mm). Held-out motions are as
likely on average, unusual ones (lying down) less unlikely, and the energy is less stiff.

Source: HuMoR, train/train_state_prior.py, as told in the fitting page, section 6.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pipelines.config import Settings
from pipelines.motion_prior.canonical import heading_rotmat, pelvis_offset, planar_shift, to_local_frame
from pipelines.motion_prior.initial_state import InitialStatePrior, initial_state_vector
from pipelines.motion_prior.training_data import TrainingMotions

logger = logging.getLogger(__name__)


class MixtureTrainingSettings(Settings):
    """As scikit-learn's GaussianMixture takes them."""

    components: int = 12
    covariance_floor: float = 1e-5
    """Added to each variance (m^2, m^2/s^2, rad^2/s^2)."""
    max_frames: int = 12000
    tolerance: float = 1e-3
    max_iterations: int = 200


def train_initial_state(
    motions: TrainingMotions, settings: MixtureTrainingSettings, seed: int
) -> InitialStatePrior:
    """Fit the mixture on single frames, evenly picked from all clips."""
    states = canonical_initial_states(motions).double().numpy()
    step = max(1, len(states) // settings.max_frames)
    mixture = GaussianMixture(
        n_components=settings.components,
        covariance_type="full",
        tol=settings.tolerance,
        reg_covar=settings.covariance_floor,
        max_iter=settings.max_iterations,
        init_params="kmeans",
        random_state=seed,
    ).fit(states[::step])
    logger.info(
        "initial state: %d frames, mean log density %.1f", len(states[::step]), mixture.lower_bound_
    )
    return InitialStatePrior(
        *(_tensor(a) for a in (mixture.weights_, mixture.means_, mixture.covariances_))
    )


def canonical_initial_states(motions: TrainingMotions) -> Float[Tensor, "frames 138"]:
    """Every frame's state in its own canonical frame, as the mixture reads it."""
    states = motions.states
    R, shift = heading_rotmat(states.root_rotmat), planar_shift(states.transl)
    local = to_local_frame(states, R, shift, pelvis_offset(states))
    return initial_state_vector(
        local.joints, local.joints_velocity, local.transl_velocity, local.root_angular_velocity
    )


def _tensor(array: Float[np.ndarray, "*shape"]) -> Float[Tensor, "*shape"]:
    return torch.tensor(np.asarray(array), dtype=torch.float64)
