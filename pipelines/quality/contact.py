"""Does the body stand, sit or lie on something, without sinking in, and do planted joints stay?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipelines.bodies.joints import body_joint
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.metrics.penetration import signed_distances
from pipelines.metrics.plausibility import LEFT_TOE, RIGHT_TOE, heights, run_starts
from pipelines.quality.evidence import RecordingEvidence
from pipelines.quality.settings import ObservableSettings

_FEET = (LEFT_TOE, RIGHT_TOE, body_joint("left_ankle"), body_joint("right_ankle"))


def contact_observables(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    """Penetration (deepest vertex, share of vertices), floating, feet and floor, predicted contacts.

    `floating_mm`: distance of the body's lowest-lying vertex from the scan, 0 when it touches.
    `feet_height_mm`: of the lower toe joint above the observed floor, absolute. `contact_slide_mm`: mean
    step of feet whose contact is claimed in both frames of the step; `contact_gap_mm`: mean distance of
    those feet's joints from the scan's surface. Without a claim both are 0.
    """
    distances = signed_distances(
        evidence.track.vertices_camera[:, :: settings.vertex_step],
        evidence.observations.T_world_from_camera,
        SdfGrid.from_scene(evidence.scene),
    )
    nearest = distances.min(axis=1)
    toes = heights(
        evidence.track.joints_camera[:, [LEFT_TOE, RIGHT_TOE]], evidence.observations.floor_camera
    )
    return {
        "penetration_mm": 1e3 * np.maximum(-nearest, 0.0),
        "penetration_share": (distances < 0).mean(axis=1),
        "floating_mm": 1e3 * np.maximum(nearest, 0.0),
        "feet_height_mm": 1e3 * np.abs(toes).min(axis=1),
        **_claims(evidence, settings),
    }


def _claims(
    evidence: RecordingEvidence, settings: ObservableSettings
) -> dict[str, Float[np.ndarray, " frames"]]:
    frames = len(evidence.valid)
    slide, gap = np.zeros(frames), np.zeros(frames)
    if evidence.result.contacts is None:
        return {"contact_slide_mm": slide, "contact_gap_mm": gap}
    joints = evidence.track.joints_camera[:, list(_FEET)]
    claimed = evidence.result.contacts[:, list(_FEET)] > settings.contact
    starts = run_starts(evidence.valid, evidence.observations.segment_id, 2)
    step_mm = 1e3 * np.linalg.norm(joints[starts + 1] - joints[starts], axis=-1)
    both = claimed[starts] & claimed[starts + 1]
    mean = np.where(both, step_mm, 0.0).sum(axis=1) / np.maximum(both.sum(axis=1), 1)
    slide[starts + 1] = mean
    slide[starts] = np.maximum(slide[starts], mean)
    distances = signed_distances(
        joints, evidence.observations.T_world_from_camera, SdfGrid.from_scene(evidence.scene)
    )
    away_mm = 1e3 * np.abs(distances)
    gap = np.where(claimed, away_mm, 0.0).sum(axis=1) / np.maximum(claimed.sum(axis=1), 1)
    return {"contact_slide_mm": slide, "contact_gap_mm": gap}
