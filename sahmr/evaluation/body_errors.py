"""How far a body is from the true one, and how it sits in the scene: one body at a time, metres.

Source: SA-HMR, tools/eval_results.py and lib/evaluators/pose/metrics.py, as told in the networks page,
section 10.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from pipelines.metrics.truth import H36M_PELVIS, joint_errors


def mean_distance(points: Float[np.ndarray, "points 3"], target: Float[np.ndarray, "points 3"]) -> float:
    """Mean Euclidean distance of corresponding points."""
    return float(np.linalg.norm(points - target, axis=1).mean())


def body_errors(
    vertices_world: Float[np.ndarray, "verts 3"],
    true_vertices_world: Float[np.ndarray, "verts 3"],
    h36m_regressor: Float[np.ndarray, "17 verts"],
    in_contact: Bool[np.ndarray, " verts"],
) -> dict[str, float]:
    """Global, pelvis-aligned and Procrustes-aligned errors of joints and vertices.

    Args:
        vertices_world: the prediction. The scan's frame, because the regressor's rows do not sum to exactly
            one: in another frame aligned errors differ by about a millimetre.
        true_vertices_world: the truth.
        h36m_regressor: used as it is, for both.
        in_contact: vertices that touch the scene in truth. `contact_l2_v1` is the aligned error summed over
            them and divided by the number of **all** vertices, as SA-HMR's monitor C_HSCP_L2.

    Returns:
        By definition id; NaN throughout where the prediction is not finite.
    """
    vertices, truth = vertices_world.astype(np.float64), true_vertices_world.astype(np.float64)
    if not np.isfinite(vertices).all():
        return dict.fromkeys(BODY_KEYS, np.nan)
    joints, true_joints = h36m_regressor @ vertices, h36m_regressor @ truth
    aligned = vertices + true_joints[H36M_PELVIS] - joints[H36M_PELVIS]
    of_joints = joint_errors(joints, true_joints)
    return {
        "g_mpjpe_v1": of_joints["g_mpjpe_h36m14_v1"],
        "g_mpve_v1": mean_distance(vertices, truth),
        "mpjpe_v1": of_joints["mpjpe_h36m14_v1"],
        "mpve_v1": mean_distance(aligned, truth),
        "pa_mpjpe_v1": of_joints["pa_mpjpe_h36m14_v1"],
        "pelvis_mesh_v1": of_joints["transl_v1"],
        "contact_l2_v1": float((np.linalg.norm(aligned - truth, axis=1) * in_contact).mean()),
    }


BODY_KEYS = (
    "g_mpjpe_v1",
    "g_mpve_v1",
    "mpjpe_v1",
    "mpve_v1",
    "pa_mpjpe_v1",
    "pelvis_mesh_v1",
    "contact_l2_v1",
)


def scene_fit(distances_m: Float[np.ndarray, " verts"], in_contact: Bool[np.ndarray, " verts"]) -> float:
    """Sum of depths inside the scene, and of either distance for vertices that should touch it.

    With the true contact this is ConFE, with no contact PenE. A sum, not a mean: metres times vertices.

    Args:
        distances_m: signed distance of each vertex to the scene, negative inside.
        in_contact: vertices that touch the scene in truth.
    """
    counted = in_contact | (distances_m < 0)
    return float(np.abs(distances_m[counted].astype(np.float64)).sum())
