from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pipelines.motion_prior.initial_state import InitialStatePrior, initial_state_vector


def as_prior(gmm) -> InitialStatePrior:
    return InitialStatePrior(
        *(torch.from_numpy(gmm[name]) for name in ("weights", "means", "covariances"))
    )


def test_golden_mixture_has_the_recorded_sums(golden_gmm):
    squares = {
        name: float(np.square(array.astype(np.float64)).sum()) for name, array in golden_gmm.items()
    }
    assert squares["weights"] == pytest.approx(0.1020656, rel=1e-6)
    assert squares["means"] == pytest.approx(428.70114, rel=1e-6)
    assert squares["covariances"] == pytest.approx(1010.75358, rel=1e-6)


def test_log_density_equals_the_textbook_sum(golden_gmm):
    prior = as_prior(golden_gmm)
    states = np.random.default_rng(0).standard_normal((3, 138))
    densities = [
        math.log(w) + multivariate_normal(m, c).logpdf(states)
        for w, m, c in zip(*(golden_gmm[k].astype(np.float64) for k in golden_gmm), strict=True)
    ]
    expected = np.logaddexp.reduce(np.stack(densities), axis=0)
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(states)).numpy(), expected, rtol=1e-9)


def test_energy_agrees_with_the_official_code(goldens, golden_gmm):
    names = ("joints", "joints_vel", "trans_vel", "root_orient_vel")
    state = [goldens.given(f"E/init_{name}")[:, 0] for name in names]
    energy = as_prior(golden_gmm).energy(*state)
    assert float(energy) == pytest.approx(float(goldens.recorded("E/init_motion_prior")), rel=1e-7)


def test_gradient_is_that_of_the_energy():
    generator = np.random.default_rng(1)
    factor = 0.1 * generator.standard_normal((2, 138, 138)) + np.eye(138)
    prior = InitialStatePrior(
        torch.tensor([0.3, 0.7]),
        torch.from_numpy(generator.standard_normal((2, 138))),
        torch.from_numpy(factor @ factor.transpose(0, 2, 1)),
    )
    states = torch.from_numpy(generator.standard_normal((2, 138))).requires_grad_()
    assert torch.autograd.gradcheck(prior.log_prob, [states])


def test_vector_order():
    joints, velocity = torch.full((1, 22, 3), 1.0), torch.full((1, 22, 3), 2.0)
    vector = initial_state_vector(joints, velocity, torch.full((1, 3), 3.0), torch.full((1, 3), 4.0))
    assert vector[0, [0, 65, 66, 131, 132, 134, 135, 137]].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
