"""Rotations from directions, and the two-bone chain that makes legs and arms reach their targets.

World frame z up, metres. A bone frame is fixed by the bone's direction and its hinge axis, the axis
about which the joint flexes (positive = flexion). With pole p (where the knee or elbow points) and
chain direction d the hinge axis is p x d, at rest and when posed, for all four limbs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

Vectors = Float[np.ndarray, "... 3"]
"""Any batch axes; they broadcast."""
Rotmats = Float[np.ndarray, "... 3 3"]
Angles = float | Float[np.ndarray, "..."]
"""One for all, or one per batch entry."""

_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class LimbRest:
    """One limb in the rest pose."""

    upper: Float[np.ndarray, "3"]
    """Hip to knee, or shoulder to elbow, metres."""
    lower: Float[np.ndarray, "3"]
    """Knee to ankle, or elbow to wrist."""
    pole: Float[np.ndarray, "3"]
    """Where the middle joint points when it bends: +z for knees, -z for elbows."""

    @property
    def reach_m(self) -> float:
        """Length of the stretched limb, as far as the rest pose stretches it."""
        return float(np.linalg.norm(self.upper + self.lower))


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length one; a zero vector stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)


def apply(rotmats: Rotmats, vectors: Vectors) -> Vectors:
    """Rotate vectors, broadcasting the batch axes."""
    return (rotmats @ vectors[..., None])[..., 0]


def rotmat_about(axis: Vectors, angle_rad: Angles) -> Rotmats:
    """Right-handed turn about an axis (one for all, or one per angle)."""
    angle = np.asarray(angle_rad, np.float64)
    x, y, z = np.moveaxis(np.broadcast_to(unit(np.asarray(axis, np.float64)), (*angle.shape, 3)), -1, 0)
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*angle.shape, 3, 3)
    s, c = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return np.eye(3) + s * K + (1 - c) * (K @ K)


def rotvec_to_rotmat(rotvec: Vectors) -> Rotmats:
    """Rotation vectors to matrices, any batch shape."""
    return Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(*rotvec.shape, 3)


def rotmat_to_rotvec(rotmat: Rotmats) -> Vectors:
    """Matrices to rotation vectors with angle in [0, pi]."""
    return Rotation.from_matrix(rotmat.reshape(-1, 3, 3)).as_rotvec().reshape(rotmat.shape[:-1])


def fraction_of(rotmat: Rotmats, fraction: Angles) -> Rotmats:
    """The same turn carried out only in part."""
    share = np.asarray(fraction, np.float64)
    return rotvec_to_rotmat(rotmat_to_rotvec(rotmat) * share[..., None])


def blend(first: Rotmats, second: Rotmats, weight: Angles) -> Rotmats:
    """Shortest way from `first` (weight 0) to `second` (weight 1)."""
    return first @ fraction_of(np.swapaxes(first, -1, -2) @ second, weight)


def smallest_rotation(source: Vectors, target: Vectors) -> Rotmats:
    """The smallest turn that takes one direction to another."""
    a, b = np.broadcast_arrays(unit(source), unit(target))
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis, axis=-1)
    angle = np.arctan2(sine, (a * b).sum(-1))
    opposite = (sine < _TINY)[..., None]
    fallback = unit(np.cross(a, np.where(np.abs(a[..., :1]) < 0.9, [1.0, 0, 0], [0, 1.0, 0])))
    return rotmat_about(np.where(opposite, fallback, axis), angle)


def angle_about(axis: Vectors, source: Vectors, target: Vectors) -> Angles:
    """Signed angle about `axis` that brings `source` closest to `target`."""
    n = unit(axis)
    a = source - (source * n).sum(-1, keepdims=True) * n
    b = target - (target * n).sum(-1, keepdims=True) * n
    return np.arctan2((np.cross(a, b) * n).sum(-1), (a * b).sum(-1))


def bone_frame(direction: Vectors, hinge: Vectors) -> Rotmats:
    """Axes (hinge made square to the bone, bone, their cross product) as columns."""
    d = unit(direction)
    h = unit(hinge - (hinge * d).sum(-1, keepdims=True) * d)
    return np.stack([h, d, np.cross(h, d)], axis=-1)


def solve_two_bone(
    rest: LimbRest, start: Vectors, target: Vectors, pole: Vectors
) -> tuple[Rotmats, Rotmats]:
    """Global rotations of the upper and lower bone that bring the limb's end to `target`.

    A target out of reach is approached as far as the stretched (or fully folded) limb goes.

    Args:
        rest: the limb at rest.
        start: hip or shoulder, world.
        target: ankle or wrist, world.
        pole: where the knee or elbow shall point, world.
    """
    length1, length2 = np.linalg.norm(rest.upper), np.linalg.norm(rest.lower)
    chain = target - start
    distance = np.linalg.norm(chain, axis=-1)
    distance = np.clip(distance, abs(length1 - length2) + 0.02, rest.reach_m)
    d = unit(chain)
    along = (distance**2 + length1**2 - length2**2) / (2 * distance)
    height = np.sqrt(np.maximum(length1**2 - along**2, 0.0))
    side = unit(pole - (pole * d).sum(-1, keepdims=True) * d)
    upper = along[..., None] * d + height[..., None] * side
    lower = distance[..., None] * d - upper
    hinge = np.cross(pole, d)
    rest_hinge = np.cross(rest.pole, rest.upper + rest.lower)
    rotations = []
    for bone, rest_bone in ((upper, rest.upper), (lower, rest.lower)):
        rotations.append(bone_frame(bone, hinge) @ bone_frame(rest_bone, rest_hinge).T)
    return rotations[0], rotations[1]
