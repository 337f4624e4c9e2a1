"""What the result (PROX+HuMoR) must reach against the PROX row, checked against a table.

The two ratios are those of the published table; the limits in millimetres are the project's own and
need data with truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pipelines.metrics.summary import PUBLISHED, MetricsTable, result_of

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
    result = result_of(table.methods)
    if table.baseline is None or result is None:
        return []
    pen, reproj = PUBLISHED["pen_pooled_v1"]["ratio"], PUBLISHED["reproj_pooled_v1"]["ratio"]
    return [
        _ratio(table, result, "pen_pooled_v1", "Penetration, times lower", pen),
        _ratio(table, result, "pen_fraction_v1", "Penetrating vertices, times fewer", 1.0),
        _ratio(table, result, "pene_v1", "Sum of depths, times lower", 1.0),
        _ratio(table, result, "reproj_truth_v1", "Reprojection vs true joints, times lower", reproj),
        _limit(table, result, "v2v_v1.visible", "V2V, visible frames", MAX_V2V_VISIBLE_MM),
        _limit(table, result, "v2v_v1.occluded", "V2V, occluded frames", MAX_V2V_OCCLUDED_MM),
        _ratio(table, result, "accel_error_v1", "Acceleration error, times lower", 1.0),
        _ratio(table, result, "skate_slide_v1", "Slide of planted feet, times lower", 1.0),
        _ratio(table, result, "skate_ratio_v1", "Skating frames, times fewer", 1.0),
        _limit(table, result, "seam_jump_v1", "Jump at window seams", MAX_SEAM_JUMP),
        _valid_share(table, result),
    ]


def _ratio(table: MetricsTable, result: str, key: str, text: str, least: float) -> Target:
    """At least `least` times lower than the baseline; with 1, lower at all."""
    cell = table.cell(result, key)
    wanted = f">= {least:.2f}" if least > 1 else "> 1"
    if cell is None or not math.isfinite(cell.value):
        return Target(text, wanted, math.nan, "x", None)
    base = table.cell(table.baseline or "", key)
    ratio = math.inf if cell.value == 0 and base is not None and base.value > 0 else cell.ratio
    met = ratio >= least if least > 1 else ratio > 1
    return Target(text, wanted, ratio, "x", None if math.isnan(ratio) else met)


def _limit(table: MetricsTable, result: str, key: str, text: str, most: float) -> Target:
    cell = table.cell(result, key)
    value = cell.value if cell is not None else math.nan
    unit = cell.unit if cell is not None else ""
    met = None if math.isnan(value) else value <= most
    return Target(text, f"<= {most:g}", value, unit, met)


def _valid_share(table: MetricsTable, result: str) -> Target:
    share = table.accounting[result]["share"]
    met = None if math.isnan(share) else share >= MIN_VALID_SHARE
    wanted = f">= {100 * MIN_VALID_SHARE:g}"
    return Target("Frames with the person seen that are valid", wanted, 100 * share, "%", met)
