"""Hands at ease in SMPL-X's hand PCA: slowly varying, opened where they rest on something."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from pipelines.bodies.model import SmplxBody
from pipelines.synthetic.tracks import sway

_UNREST = 0.12
"""Radians along each of the first components."""


def hand_poses(
    body: SmplxBody,
    rng: np.random.Generator,
    flatness: Float[np.ndarray, "frames 2"],
    frame_rate_hz: float,
) -> Float[np.ndarray, "frames 2 12"]:
    """PCA coefficients of both hands; 0 = the model's mean (a loose curl), flatness 1 = opened."""
    frames = len(flatness)
    poses = np.empty((frames, 2, 12))
    falloff = _UNREST / np.sqrt(1 + np.arange(12))
    sides = (
        (body.left_hand_components, body.left_hand_mean),
        (body.right_hand_components, body.right_hand_mean),
    )
    for side, (components, mean) in enumerate(sides):
        rows = components.double().numpy()
        # Rows of real files are not quite orthonormal: least squares finds the flattest hand.
        flat = np.linalg.lstsq(rows.T, -mean.double().numpy(), rcond=None)[0]
        level = rng.normal(0, 1, 12) * falloff
        slow = sway(rng, frames, 12, frame_rate_hz, (0.05, 0.4)) * 0.4 * falloff
        poses[:, side] = flatness[:, side : side + 1] * flat + level + slow
    return poses
