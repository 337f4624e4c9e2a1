"""Shape and expression directions: principal components of sampled bodies and faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

NUM_SHAPES = 16
NUM_EXPRESSIONS = 10
_NUM_FACES = 400


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalSpace:
    """Mean and directions scaled by their standard deviation, so coefficients are N(0, 1)."""

    mean: Float[np.ndarray, "verts 3"]
    directions: Float[np.ndarray, "verts 3 components"]
    explained: Float[np.ndarray, " components"]
    """Share of the variance that the first components explain, cumulative."""


def principal_space(samples: Float32[np.ndarray, "samples verts 3"], count: int) -> PrincipalSpace:
    """PCA through the small Gram matrix; the largest entry of each direction is positive."""
    mean = samples.mean(0, dtype=np.float64)
    centred = (samples - mean).reshape(len(samples), -1)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    directions = (centred.T @ vectors) / np.sqrt(len(samples) - 1)
    # The sign of an eigenvector is arbitrary; fixing it keeps the seed the same on every machine.
    directions *= np.sign(directions[np.abs(directions).argmax(0), np.arange(count)])
    explained = values.cumsum() / np.square(centred).sum()
    return PrincipalSpace(mean, directions.reshape(*samples.shape[1:], count), explained)


def expression_directions(
    face_units: dict[str, Float32[np.ndarray, "verts 3"]], rng: np.random.Generator
) -> PrincipalSpace:
    """PCA of random mixtures of face units (without gaze and tongue), right mostly following left."""
    names = [name for name in face_units if not name.startswith(("eyeLook", "tongue"))]
    amounts = np.clip(rng.exponential(0.25, (_NUM_FACES, len(names))), 0, 1)
    for column, name in enumerate(names):
        left = name.removesuffix("Right") + "Left"
        if name.endswith("Right") and left in names:
            amounts[:, column] = 0.85 * amounts[:, names.index(left)] + 0.15 * amounts[:, column]
    units = np.stack([face_units[name] for name in names])
    faces = np.tensordot(amounts.astype(np.float32), units, 1)
    return principal_space(faces, NUM_EXPRESSIONS)
