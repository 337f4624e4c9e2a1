"""Robust functions of residuals."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAD_TO_SIGMA = 0.67449
"""Median absolute deviation of a standard normal variable."""
BISQUARE_TUNING = 4.6851
"""95 % efficiency under normal errors."""


def geman_mcclure(squared: Float[Tensor, "*shape"], sigma: float) -> Float[Tensor, "*shape"]:
    """sigma^2 d^2 / (d^2 + sigma^2) of a squared residual d^2; saturates at sigma^2.

    Source: prox/fitting.py `GMoF`. Differs from PROX: takes d^2, so the gradient exists at d = 0.
    """
    return sigma**2 * squared / (squared + sigma**2)


def bisquare_weights(
    residuals: Float[Tensor, "windows residuals"],
    valid: Float[Tensor, "windows residuals"] | None = None,
) -> Float[Tensor, "windows residuals"]:
    """Tukey's bisquare weights with a MAD scale per window; detached.

    w = (1 - u^2)^2 for u = r / (4.6851 sigma) < 1, else 0; sigma = median|r - median r| / 0.67449 with
    torch's lower median; r is not centred before the division.

    Args:
        residuals: non-negative distances, any unit.
        valid: 1 for residuals that count, 0 for padding; padding takes no part in the scale and
            gets weight 0.

    Source: humor fitting/fitting_loss.py `robust_tukey`, as told in the fitting page, section 8.
    """
    with torch.no_grad():
        if valid is None:
            rows = list(residuals)
        else:
            rows = [row[keep > 0] for row, keep in zip(residuals, valid, strict=True)]
        center, sigma = (torch.stack(column)[:, None] for column in zip(*map(_scale, rows), strict=True))
        u = residuals / (BISQUARE_TUNING * sigma)
        weights = torch.where(u < 1, (1 - u.square()).square(), 0.0)
        # Without any spread u is 0 / 0 or infinite: keep the residuals that agree, drop the others.
        weights = torch.where(sigma > 0, weights, (residuals == center).to(weights))
        return weights if valid is None else weights * valid


def _scale(residuals: Float[Tensor, " residuals"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Median and standard deviation by the median absolute deviation."""
    if residuals.numel() == 0:
        return residuals.new_zeros(()), residuals.new_ones(())
    center = residuals.median()
    return center, (residuals - center).abs().median() / MAD_TO_SIGMA
