"""What counts as contact."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from pipelines.config import Settings

PROX_LEFT_OUT: Final = ("L_Hand", "R_Hand")
"""SA-HMR labels no hands on PROX, whose fits do not hold them well."""


class ContactSettings(Settings):
    """Threshold and parts."""

    radius_m: float = Field(0.07, gt=0)
    """Nearer than this, strictly, is in contact."""
    left_out: tuple[str, ...] = PROX_LEFT_OUT
    """Parts without a label, by name."""
