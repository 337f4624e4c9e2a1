from __future__ import annotations

import numpy as np
import torch

from pipelines.geometry.robust import BISQUARE_TUNING, MAD_TO_SIGMA, bisquare_weights, geman_mcclure


def test_geman_mcclure_by_hand():
    squared = torch.tensor([0.0, 4.0, 1e12], dtype=torch.float64)
    np.testing.assert_allclose(geman_mcclure(squared, 2.0).numpy(), [0, 2, 4], rtol=1e-9)


def test_geman_mcclure_agrees_with_both_official_forms(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        humor, prox = golden["in/E/gmof_x"], golden["in/prox/gm_x"]
        humor_out, prox_out = golden["out/E/gmof100"], golden["out/prox/gmof_rho0.2"]
        unscaled = golden["out/prox/gmof_unscaled_rho0.05"]

    def ours(x: np.ndarray, sigma: float) -> np.ndarray:
        return geman_mcclure(torch.as_tensor(x, dtype=torch.float64).square(), sigma).numpy()

    np.testing.assert_allclose(ours(humor, 100.0), humor_out, rtol=1e-9)
    np.testing.assert_allclose(ours(prox, 0.2), prox_out, rtol=1e-9)
    np.testing.assert_allclose(ours(prox, 0.05) / 0.05**2, unscaled, rtol=1e-9)


def test_geman_mcclure_has_a_gradient_at_zero():
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    geman_mcclure(x.square(), 0.1).sum().backward()
    assert x.grad is not None
    assert (x.grad == 0).all()
    x = torch.tensor([0.1, -2.0, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: geman_mcclure(r.square(), 1.5), x)


def test_bisquare_by_hand():
    """Residuals 0..4: lower median 2, deviations 2 1 0 1 2, median 1, sigma 1 / 0.67449."""
    residuals = torch.arange(5, dtype=torch.float64)[None]
    u = np.arange(5) * MAD_TO_SIGMA / BISQUARE_TUNING
    np.testing.assert_allclose(bisquare_weights(residuals)[0].numpy(), (1 - u**2) ** 2, rtol=1e-12)


def test_bisquare_agrees_with_the_official_weights(goldens_folder):
    with np.load(goldens_folder / "humor_fitting.npz") as golden:
        residuals, expected = golden["out/E/points3d_residual"], golden["out/E/bisquare_w"]
    weights = bisquare_weights(torch.as_tensor(residuals))
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-9)


def test_an_outlier_gets_weight_zero_and_windows_do_not_share_a_scale():
    generator = torch.Generator().manual_seed(0)
    quiet = torch.rand(50, dtype=torch.float64, generator=generator) * 0.01
    loud = quiet * 100
    tail = torch.tensor([0.5], dtype=torch.float64)
    weights = bisquare_weights(torch.stack([torch.cat([quiet, tail]), torch.cat([loud, tail])]))
    assert weights[0, -1] == 0
    assert weights[1, -1] > 0.7


def test_weights_do_not_depend_on_the_unit():
    residuals = torch.rand(1, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(bisquare_weights(residuals * 1000), bisquare_weights(residuals))


def test_padding_does_not_change_the_weights():
    residuals = torch.rand(2, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    alone = bisquare_weights(residuals)
    padded = torch.cat([residuals, torch.full((2, 7), 9.0, dtype=torch.float64)], dim=1)
    valid = torch.cat([torch.ones(2, 20), torch.zeros(2, 7)], dim=1).double()
    weights = bisquare_weights(padded, valid)
    np.testing.assert_allclose(weights[:, :20].numpy(), alone.numpy(), rtol=1e-12)
    assert (weights[:, 20:] == 0).all()


def test_a_window_without_observation_has_no_weight_and_no_nan():
    weights = bisquare_weights(torch.zeros(1, 4), torch.zeros(1, 4))
    assert (weights == 0).all()


def test_equal_residuals_count_fully_and_the_odd_one_out_not():
    """Their spread is zero, and 0 / 0 must not reach the energy."""
    residuals = torch.full((1, 6), 0.3)
    assert (bisquare_weights(residuals) == 1).all()
    residuals[0, 0] = 0.4
    assert bisquare_weights(residuals).tolist() == [[0, 1, 1, 1, 1, 1]]


def test_zero_residuals_of_a_perfect_fit_count_fully():
    weights = bisquare_weights(torch.zeros(1, 6))
    assert (weights == 1).all()


def test_weights_carry_no_gradient():
    residuals = torch.rand(1, 8, requires_grad=True)
    assert not bisquare_weights(residuals).requires_grad
