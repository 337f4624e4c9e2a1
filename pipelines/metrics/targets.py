"""What PROX+HuMoR must reach against the PROX row, checked against a table.

The two ratios are those of the published table; the limits in millimetres are the project's own and
need data with truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.metrics.summary import PUBLISHED, MetricsTable

RESULT = "prox_humor"
MAX_V2V_VISIBLE_MM = 25.0
MAX_V2V_OCCLUDED_MM = 60.0
MAX_SEAM_JUMP = 1.2
MIN_VALID_SHARE = 0.98


@dataclass(frozen=True, slots=True)
class Target:
    """One demand on the result and what was found."""

    text: str
    wanted: str
    found: float
    unit: str
    met: bool | None
    """None when the data cannot tell."""


def check_targets(table: MetricsTable) -> list[Target]:
    """Every demand, over all recordings of the table; empty without baseline or result."""
    if table.baseline is None or RESULT not in table.methods:
        return []
    pen, reproj = PUBLISHED["pen_pooled_v1"]["ratio"], PUBLISHED["reproj_pooled_v1"]["ratio"]
    return [
        _ratio(table, "pen_pooled_v1", "Penetration, times lower", pen),
        _ratio(table, "pen_fraction_v1", "Penetrating vertices, times fewer", 1.0),
        _ratio(table, "pene_v1", "Sum of depths, times lower", 1.0),
        _ratio(table, "reproj_truth_v1", "Reprojection vs true joints, times lower", reproj),
        _limit(table, "v2v_v1.visible", "V2V, visible frames", MAX_V2V_VISIBLE_MM),
        _limit(table, "v2v_v1.occluded", "V2V, occluded frames", MAX_V2V_OCCLUDED_MM),
        _ratio(table, "accel_error_v1", "Acceleration error, times lower", 1.0),
        _ratio(table, "skate_slide_v1", "Slide of planted feet, times lower", 1.0),
        _ratio(table, "skate_ratio_v1", "Skating frames, times fewer", 1.0),
        _limit(table, "seam_jump_v1", "Jump at window seams", MAX_SEAM_JUMP),
        _valid_share(table),
    ]


def _ratio(table: MetricsTable, key: str, text: str, least: float) -> Target:
    """At least `least` times lower than the baseline; with 1, lower at all."""
    cell = table.cell(RESULT, key)
    wanted = f">= {least:.2f}" if least > 1 else "> 1"
    if cell is None or not math.isfinite(cell.value):
        return Target(text, wanted, math.nan, "x", None)
    base = table.cell(table.baseline or "", key)
    ratio = math.inf if cell.value == 0 and base is not None and base.value > 0 else cell.ratio
    met = ratio >= least if least > 1 else ratio > 1
    return Target(text, wanted, ratio, "x", None if math.isnan(ratio) else met)


def _limit(table: MetricsTable, key: str, text: str, most: float) -> Target:
    cell = table.cell(RESULT, key)
    value = cell.value if cell is not None else math.nan
    unit = cell.unit if cell is not None else ""
    met = None if math.isnan(value) else value <= most
    return Target(text, f"<= {most:g}", value, unit, met)


def _valid_share(table: MetricsTable) -> Target:
    share = table.accounting[RESULT]["share"]
    met = None if math.isnan(share) else share >= MIN_VALID_SHARE
    wanted = f">= {100 * MIN_VALID_SHARE:g}"
    return Target("Frames with the person seen that are valid", wanted, 100 * share, "%", met)
