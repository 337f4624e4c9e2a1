"""All observables of a recording, by name; the unit is in the name, no unit means none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pipelines.quality.agreement import agreement_observables
from pipelines.quality.contact import contact_observables
from pipelines.quality.depth import depth_observables
from pipelines.quality.evidence import RecordingEvidence
from pipelines.quality.image import image_observables
from pipelines.quality.motion import motion_observables, prior_observables
from pipelines.quality.settings import ObservableSettings
from pipelines.quality.time import largest_near

GROUPS = ("depth", "image", "motion", "priors", "contact", "agreement")
NEAR = "near_"
_ALSO_NEAR = (
    "points_to_body_worst_limb_mm",
    "reprojection_worst_mm",
    "keypoints_jump_mm",
    "keypoints_sides_mm",
    "jump_worst_mm",
    "acceleration_worst_m_s2",
)
"""A mistake of the detector bends the frames around it as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Observables:
    """What can be told of every frame without its truth."""

    values: Mapping[str, Float[np.ndarray, " frames"]]
    """NaN where a frame has no such observable."""
    group: Mapping[str, str]
    """Observable -> which of `GROUPS` it belongs to."""
    valid: Bool[np.ndarray, " frames"]
    """Frames with a fit to score."""


def observe(evidence: RecordingEvidence, settings: ObservableSettings) -> Observables:
    """Measure every observable on every valid frame."""
    parts = {
        "depth": depth_observables(evidence, settings),
        "image": image_observables(evidence, settings),
        "motion": motion_observables(evidence, settings),
        "priors": prior_observables(evidence),
        "contact": contact_observables(evidence, settings),
        "agreement": agreement_observables(evidence, settings),
    }
    valid, segments = evidence.valid, evidence.observations.segment_id
    values: dict[str, np.ndarray] = {}
    group: dict[str, str] = {}
    for name_of_group, columns in parts.items():
        for name, column in columns.items():
            own = np.where(valid & np.isfinite(column), column, np.nan)
            values[name], group[name] = own, name_of_group
            if name in _ALSO_NEAR:
                near = largest_near(own, segments, settings.near_frames)
                values[NEAR + name], group[NEAR + name] = np.where(valid, near, np.nan), name_of_group
    return Observables(values, group, valid)
