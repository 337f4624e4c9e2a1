"""Pose correctives in closed form: what linear blending lacks against blending the angle.

At a vertex that follows a joint's subtree with weight s, linear blending applies M = (1 - s) I + s R
to the offset x from the joint; wanted is the rotation by s times the angle. The corrective in the rest
pose is therefore M^-1 R(s angle) x - x, fitted linearly to the nine numbers of R - I.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float, Float32
from scipy.spatial.transform import Rotation

_STRENGTH = 0.6
"""Full strength would bulge where several joints act on one vertex."""
_RIDGE = 0.02
_REACH_M = 0.35
_ANGLES_RAD = (0.4, 0.8, 1.2, 1.6)
_OBLIQUE_SEED, _NUM_OBLIQUE = 1, 10


def pose_correctives(
    template: Float[np.ndarray, "verts 3"],
    joints: Float[np.ndarray, "joints 3"],
    weights: Float[np.ndarray, "verts joints"],
    parents: tuple[int, ...],
) -> Float32[np.ndarray, "verts 3 correctives"]:
    """The `posedirs` array: nine numbers of R - I for every joint but the root."""
    count = len(parents)
    follows = weights.astype(np.float64)  # weight of each joint's subtree
    for joint in range(count - 1, 0, -1):
        follows[:, parents[joint]] += follows[:, joint]
    rotvecs = _training_rotations()
    rotmats = Rotation.from_rotvec(rotvecs).as_matrix()
    features = (rotmats - np.eye(3)).reshape(-1, 9)
    solve = np.linalg.solve(features.T @ features + _RIDGE * np.eye(9), features.T)
    posedirs = np.zeros((len(template), 3, 9 * (count - 1)), np.float32)
    for joint in range(1, count):
        share, offsets = follows[:, joint], template - joints[joint]
        near = np.linalg.norm(offsets, axis=1) < _REACH_M
        rows = np.flatnonzero((share > 0.02) & (share < 0.98) & near)
        wanted = _wanted_correction(offsets[rows], share[rows], rotvecs, rotmats)
        fitted = _STRENGTH * np.einsum("kr,rvi->vik", solve, wanted)
        posedirs[rows, :, 9 * (joint - 1) : 9 * joint] = fitted
    return posedirs


def _wanted_correction(
    offsets: Float[np.ndarray, "near 3"],
    share: Float[np.ndarray, " near"],
    rotvecs: Float[np.ndarray, "rotations 3"],
    rotmats: Float[np.ndarray, "rotations 3 3"],
) -> Float[np.ndarray, "rotations near 3"]:
    blended = np.eye(3) + share[:, None, None] * (rotmats[:, None] - np.eye(3))
    partial = share[:, None] * rotvecs[:, None]  # (rotations, near, 3)
    turned = Rotation.from_rotvec(partial.reshape(-1, 3)).as_matrix().reshape(*partial.shape, 3)
    target = np.einsum("rvij,vj->rvi", turned, offsets)
    return np.linalg.solve(blended, target[..., None])[..., 0] - offsets


def _training_rotations() -> Float[np.ndarray, "rotations 3"]:
    rng = np.random.default_rng(_OBLIQUE_SEED)
    oblique = rng.standard_normal((_NUM_OBLIQUE, 3))
    oblique /= np.linalg.norm(oblique, axis=1, keepdims=True)
    axes = np.concatenate([np.eye(3), -np.eye(3), oblique])
    return np.array([axis * angle for axis, angle in itertools.product(axes, _ANGLES_RAD)])
