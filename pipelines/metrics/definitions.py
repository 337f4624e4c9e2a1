"""Every metric's identity: id, unit, how observations are averaged, which way is better.

A definition never changes under its id: a change of formula, unit or default threshold takes a new
version, because results of different definitions must not be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Aggregation = Literal["mean", "rms", "ratio"]


@dataclass(frozen=True, slots=True)
class Definition:
    """What one number means."""

    id: str
    title: str
    unit: str
    scale: float = 1.0
    """Internal unit (metres, shares) times this gives `unit`."""
    aggregation: Aggregation = "mean"
    """mean: sum / count; rms: square root of it; ratio: mean over one set / mean over another."""
    better: Literal["lower", "higher", "neither"] = "lower"


FLOOR_THRESHOLDS_M = (0.0, 0.03, 0.06, 0.09, 0.12, 0.15)
"""HuMoR's tolerances for toe penetration."""


def floor_frequency_id(threshold_m: float) -> str:
    """Id of HuMoR's penetration frequency at one tolerance, e.g. `floor_frequency_03_v1`."""
    return f"floor_frequency_{round(threshold_m * 100):02d}_v1"


_DEFINITIONS = (
    # Scene: signed distance of the 6890 vertices.
    Definition("pen_pooled_v1", "Penetration", "cm", 100.0),
    Definition("pen_pooled_mm_v1", "Penetration", "mm", 1000.0),
    Definition("pen_frame_v1", "Penetration, per-frame", "cm", 100.0),
    Definition("pene_v1", "PenE, sum per frame", "m·vertices"),
    Definition("pen_fraction_v1", "Penetrating vertices", "%", 100.0),
    Definition("noncollision_v1", "Non-collision (d > 0)", "share", better="higher"),
    Definition("noncollision_ge_v1", "Non-collision (d >= 0)", "share", better="higher"),
    Definition("contact_v1", "Contact score (d <= 0)", "share", better="higher"),
    Definition("contact_strict_v1", "Contact score (d < 0)", "share", better="higher"),
    # Image: BODY_25 joints.
    Definition("reproj_pooled_v1", "Reprojection", "px"),
    Definition("reproj_frame_v1", "Reprojection, per-frame", "px"),
    Definition("reproj_rms_v1", "Reprojection, RMS", "px", aggregation="rms"),
    Definition("reproj_all25_v1", "Reprojection, all 25 joints", "px"),
    Definition("reproj_truth_v1", "Reprojection vs true joints", "px"),
    Definition("reproj_truth_all_v1", "Reprojection vs true joints, seen or not", "px"),
    # Depth.
    Definition("scan_distance_v1", "Depth point to body", "mm", 1000.0),
    # Motion.
    Definition("accel_v1", "Acceleration", "m/s²", better="neither"),
    Definition("accel_root_v1", "Acceleration, root-relative", "m/s²", better="neither"),
    Definition("jitter_v1", "Jitter", "10 m/s³"),
    Definition("seam_jump_v1", "Jump at window seams", "x", aggregation="ratio"),
    Definition("seam_jump_local_v1", "Jump at seams vs beside", "x", aggregation="ratio"),
    # Floor and feet.
    Definition("floor_depth_v1", "Toe depth (HuMoR)", "mm", 1000.0),
    Definition("floor_product_v1", "Toe depth x frequency (HuMoR)", "mm", 1000.0),
    Definition("floor_mean_frequency_v1", "Toes below floor, mean of 6 (HuMoR)", "%", 100.0),
    Definition("rohm_floor_frequency_v1", "Toes 5 cm below floor (RoHM)", "%", 100.0),
    Definition("rohm_floor_depth_v1", "Toe depth, all toes (RoHM)", "mm", 1000.0),
    Definition("skate_ratio_v1", "Skating frames (RoHM)", "%", 100.0),
    Definition("skate_slide_v1", "Slide of planted feet", "mm/frame", 1000.0),
    Definition("skate_speed_v1", "Slide of planted feet", "cm/s", 100.0),
    # Against truth.
    Definition("v2v_v1", "V2V", "mm", 1000.0),
    Definition("v2v_hands_v1", "V2V, hands", "mm", 1000.0),
    Definition("v2v_head_v1", "V2V, head", "mm", 1000.0),
    Definition("v2v_trunk_v1", "V2V without hands and head", "mm", 1000.0),
    Definition("g_mpjpe_h36m14_v1", "G-MPJPE (H36M-14)", "mm", 1000.0),
    Definition("mpjpe_h36m14_v1", "MPJPE (H36M-14)", "mm", 1000.0),
    Definition("pa_mpjpe_h36m14_v1", "PA-MPJPE (H36M-14)", "mm", 1000.0),
    Definition("g_mpjpe_smpl22_v1", "G-MPJPE (SMPL-22)", "mm", 1000.0),
    Definition("transl_v1", "Pelvis error", "mm", 1000.0),
    Definition("accel_error_v1", "Acceleration error", "m/s²"),
    Definition("contact_accuracy_v1", "Contact accuracy (9 joints)", "%", 100.0, better="higher"),
)


def _floor_frequencies() -> tuple[Definition, ...]:
    return tuple(
        Definition(
            floor_frequency_id(threshold),
            f"Toes {round(threshold * 100)} cm below floor (HuMoR)",
            "%",
            100.0,
        )
        for threshold in FLOOR_THRESHOLDS_M
    )


DEFINITIONS: dict[str, Definition] = {
    definition.id: definition for definition in (*_DEFINITIONS, *_floor_frequencies())
}


def definition_of(key: str) -> Definition:
    """Definition behind a metric key; a key is an id, or an id and a frame subset: `v2v_v1.visible`."""
    return DEFINITIONS[key.partition(".")[0]]
