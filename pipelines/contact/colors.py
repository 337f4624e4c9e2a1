"""One colour per contact category, in every picture."""

from __future__ import annotations

from typing import Final

CATEGORY_COLORS: Final = (
    (0.90, 0.60, 0.00),
    (0.00, 0.62, 0.45),
    (0.95, 0.90, 0.25),
    (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00),
    (0.00, 0.45, 0.70),
    (0.20, 0.20, 0.20),
)
"""RGB of contact classes 1 to 7, after the colour-blind safe set of Okabe and Ito; others start over."""
