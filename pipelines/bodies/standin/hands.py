"""A hand pose space from synthetic grasps: mean and principal directions of 15 finger joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

NUM_GRASPS = 1554
"""As many as the training coefficients in SMPL-X files."""
_SEED = 0
_CURL_RAD = (1.25, 1.5, 0.95)
"""Full curl of the three joints of a finger."""
_SPREAD = {"index": 1.4, "middle": 0.3, "pinky": -1.4, "ring": -0.7}
"""Order and sideways share of the fingers; the thumb comes last."""


@dataclass(frozen=True, slots=True, eq=False)
class HandSpace:
    """Rotation vectors of one hand: index, middle, pinky, ring, thumb, three joints each."""

    mean: Float[np.ndarray, "45"]
    components: Float[np.ndarray, "45 45"]
    """Orthonormal rows, most variance first."""
    coefficients: Float[np.ndarray, "grasps 45"]
    """The training grasps in this basis."""

    def mirrored(self) -> HandSpace:
        """The other hand: a reflection in x keeps a rotation vector's x and turns y and z round."""
        flip = np.tile([1.0, -1.0, -1.0], 15)
        return HandSpace(self.mean * flip, self.components * flip, self.coefficients)


def left_hand_space() -> HandSpace:
    """PCA of random grasps of the left hand in the T-pose frame (curl turns about -z)."""
    grasps = _grasps(np.random.default_rng(_SEED))
    mean = grasps.mean(0)
    _, _, components = np.linalg.svd(grasps - mean, full_matrices=False)
    largest = np.abs(components).argmax(axis=1)
    components *= np.sign(components[np.arange(len(components)), largest])[:, None]
    return HandSpace(mean, components, (grasps - mean) @ components.T)


def _grasps(rng: np.random.Generator) -> Float[np.ndarray, "grasps 45"]:
    pose = np.zeros((NUM_GRASPS, 15, 3))
    closing = rng.beta(1.2, 1.6, NUM_GRASPS)
    for finger, sideways in enumerate(_SPREAD.values()):
        curl = np.clip(closing + rng.normal(0, 0.18, NUM_GRASPS), -0.1, 1.05)
        spread = rng.normal(0, 0.12, NUM_GRASPS) * (1 - 0.6 * curl)
        for bone, full_rad in enumerate(_CURL_RAD):
            own = np.clip(curl + rng.normal(0, 0.06, NUM_GRASPS), -0.15, 1.1)
            pose[:, 3 * finger + bone, 2] = -full_rad * own
        pose[:, 3 * finger, 1] = sideways * spread
    thumb = np.clip(0.6 * closing + rng.normal(0, 0.2, NUM_GRASPS), -0.2, 1)
    pose[:, 12] = thumb[:, None] * [0.5, 0.55, -0.2]
    pose[:, 13, 1] = 0.45 * thumb
    pose[:, 14, 1] = 0.7 * thumb
    pose += rng.normal(0, 0.015, pose.shape)
    return pose.reshape(NUM_GRASPS, 45)
