"""What the imitated person wears: one colour per face, from the joint that moves it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from pipelines.bodies.joints import SMPLX_JOINTS
from pipelines.bodies.model import SmplxBody
from pipelines.geometry.meshes import vertex_normals
from pipelines.synthetic.rendering import Surface

_SHOES = ("left_ankle", "right_ankle", "left_foot", "right_foot")
_TROUSERS = ("pelvis", "left_hip", "right_hip", "left_knee", "right_knee")
_SHIRT = (
    "spine1", "spine2", "spine3", "left_collar", "right_collar", "left_shoulder", "right_shoulder",
)  # fmt: skip
_SLEEVES = ("left_elbow", "right_elbow")
_SKINS = ((0.87, 0.68, 0.57), (0.76, 0.55, 0.43), (0.55, 0.37, 0.27), (0.93, 0.77, 0.68))
_HAIRS = ((0.10, 0.08, 0.07), (0.30, 0.19, 0.11), (0.55, 0.42, 0.25), (0.35, 0.33, 0.32))
_CLOTHS = (
    (0.15, 0.22, 0.42), (0.55, 0.14, 0.16), (0.18, 0.42, 0.30), (0.75, 0.72, 0.66),
    (0.22, 0.22, 0.24), (0.62, 0.50, 0.28), (0.36, 0.48, 0.66), (0.48, 0.30, 0.50),
)  # fmt: skip


def dress(body: SmplxBody, rng: np.random.Generator) -> Float[np.ndarray, "faces 3"]:
    """Face colours (0..1) of hair, skin, shirt, trousers and shoes, with stripes and cloth noise."""
    owner = body.skinning.weights.argmax(dim=0).numpy()
    rest = body.skinning.template.double().numpy()
    colors = np.tile(np.array(_SKINS[rng.integers(len(_SKINS))]), (len(rest), 1))
    shirt, trousers = rng.choice(len(_CLOTHS), 2, replace=False)
    _paint(colors, owner, _TROUSERS, _CLOTHS[trousers])
    _paint(colors, owner, _SHOES, (0.13, 0.12, 0.12))
    sleeves = (*_SHIRT, *_SLEEVES) if rng.random() < 0.6 else _SHIRT
    _paint(colors, owner, sleeves, _CLOTHS[shirt])
    if rng.random() < 0.5:
        stripe = np.isin(owner, _ids(sleeves)) & (np.sin(2 * np.pi * rest[:, 1] / 0.09) > 0.3)
        colors[stripe] = np.clip(colors[stripe] * 0.6 + 0.3, 0, 1)
    colors[_hair(owner, rest)] = _HAIRS[rng.integers(len(_HAIRS))]
    colors *= 1 + 0.05 * rng.standard_normal((len(rest), 1))
    return np.clip(colors[body.faces.numpy()].mean(axis=1), 0.02, 1)


def body_surface(
    vertices: Float[np.ndarray, "vertices 3"],
    faces: Int[np.ndarray, "faces 3"],
    face_colors: Float[np.ndarray, "faces 3"],
) -> Surface:
    """A posed, dressed body ready for ray casting."""
    tensor, index = torch.as_tensor(vertices), torch.as_tensor(faces)
    normals = vertex_normals(tensor, index, area_weighted=True).numpy()[faces].mean(axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return Surface(vertices, faces, normals / np.maximum(length, 1e-9), face_colors)


def _ids(names: tuple[str, ...]) -> list[int]:
    return [SMPLX_JOINTS.index(name) for name in names]


def _paint(
    colors: Float[np.ndarray, "vertices 3"],
    owner: Int[np.ndarray, " vertices"],
    joints: tuple[str, ...],
    color: tuple[float, float, float],
) -> None:
    colors[np.isin(owner, _ids(joints))] = color


def _hair(owner: Int[np.ndarray, " vertices"], rest: Float[np.ndarray, "vertices 3"]) -> np.ndarray:
    head = np.isin(owner, _ids(("head",)))
    top, chin = rest[head, 1].max(), rest[head, 1].min()
    height = (rest[:, 1] - chin) / (top - chin)
    depth = rest[:, 2] - rest[head, 2].mean()
    return head & ((height > 0.78) | ((depth < -0.02) & (height > 0.35)))
