"""Sparse, non-negative joint regressors fitted over the sampled bodies."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float, Float32
from scipy.optimize import nnls

from pipelines.bodies.joints import H36M_NAMES, PICKED_NAMES, PICKED_SMPLH, SMPLH_JOINTS

_PER_DIRECTION = 5
_REACH_M = 0.3
_NUM_FITTED = 60
_SUM_WEIGHT = 30.0


def fit_joint_regressor(
    vertices: Float32[np.ndarray, "bodies verts 3"],
    joints: Float[np.ndarray, "bodies joints 3"],
    weights: Float32[np.ndarray, "verts joints"],
    parents: tuple[int, ...],
) -> Float[np.ndarray, "joints verts"]:
    """Rows that sum to one and give the joints from the vertices of any sampled body.

    Candidates are the nearest vertices in each of 26 directions: with plain nearest ones the spine
    would land on the skin of the back.
    """
    regressor = np.zeros((len(parents), vertices.shape[1]))
    fitted = np.linspace(0, len(vertices) - 1, min(_NUM_FITTED, len(vertices))).astype(int)
    for joint, parent in enumerate(parents):
        owned = weights[:, joint] + (weights[:, parent] if parent >= 0 else 0)
        offsets = vertices.mean(0) - joints[:, joint].mean(0)
        columns = _candidates(offsets, owned > 0.05)
        rows = vertices[fitted][:, columns].transpose(0, 2, 1).reshape(-1, len(columns))
        system = np.concatenate([rows, np.full((1, len(columns)), _SUM_WEIGHT)])
        wanted = np.append(joints[fitted, joint].ravel(), _SUM_WEIGHT)
        solution, _ = nnls(system.astype(np.float64), wanted)
        regressor[joint, columns] = solution / solution.sum()
    return regressor


def _candidates(offsets: Float[np.ndarray, "verts 3"], allowed: np.ndarray) -> np.ndarray:
    directions = np.array([d for d in itertools.product((-1, 0, 1), repeat=3) if any(d)], np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance = np.linalg.norm(offsets, axis=1) + 1e-9
    sector = (offsets / distance[:, None] @ directions.T).argmax(axis=1)
    chosen = []
    for index in range(len(directions)):
        inside = np.flatnonzero((sector == index) & allowed & (distance < _REACH_M))
        chosen.append(inside[np.argsort(distance[inside])[:_PER_DIRECTION]])
    return np.concatenate(chosen)


def h36m_regressor(
    smplh_regressor: Float[np.ndarray, "52 6890"], template: Float[np.ndarray, "6890 3"]
) -> Float[np.ndarray, "17 6890"]:
    """Human3.6M joints as mixtures of SMPL+H joints, the nose and the top of the head."""

    def joint(name: str) -> Float[np.ndarray, "6890"]:
        return smplh_regressor[SMPLH_JOINTS.index(name)]

    def vertex(index: int) -> Float[np.ndarray, "6890"]:
        return np.eye(1, len(template), index)[0]

    head_z = (joint("head") @ template)[2]
    crown = template[:, 1] - 0.2 * np.abs(template[:, 0]) - 0.1 * np.abs(template[:, 2] - head_z)
    nose = vertex(PICKED_SMPLH[PICKED_NAMES.index("nose")])
    shoulders = (joint("left_shoulder") + joint("right_shoulder")) / 2
    mixed = {
        "pelvis": (joint("left_hip") + joint("right_hip")) / 2,
        "torso": (joint("spine2") + joint("spine3")) / 2,
        "neck": (joint("neck") + shoulders) / 2,
        "nose": 0.6 * joint("head") + 0.4 * nose,
        "head": 0.35 * joint("head") + 0.65 * vertex(int(np.argmax(crown))),
    }
    return np.stack([mixed[name] if name in mixed else joint(name) for name in H36M_NAMES])
