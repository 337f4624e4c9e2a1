"""PROX's body segments on the stand-in: seven contact parts and the head, by joint and normal."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from pipelines.bodies.joints import HAND_JOINTS, SMPLX_JOINTS
from pipelines.bodies.standin.topology import NUM_SMPLX_BODY
from pipelines.geometry.meshes import vertex_normals

_SEAT_TOP_M, _SEAT_BOTTOM_M = 0.03, -0.13
"""The gluteus reaches from just above the pelvis joint to this far below the hips."""


def find_segments(
    vertices: Float[np.ndarray, "10475 3"],
    faces: Int[np.ndarray, "20908 3"],
    joints: Float[np.ndarray, "55 3"],
    weights: Float[np.ndarray, "10475 55"],
) -> dict[str, Int[np.ndarray, " ids"]]:
    """SMPL-X vertex ids of each segment, from the mean body in T-pose (y up, facing +z)."""
    dominant = weights.argmax(axis=1)
    normals = vertex_normals(
        torch.as_tensor(vertices), torch.as_tensor(faces), area_weighted=True
    ).numpy()
    down, back = -normals[:, 1], -normals[:, 2]

    def owned(*names: str) -> Bool[np.ndarray, "10475"]:
        return np.isin(dominant, [SMPLX_JOINTS.index(name) for name in names])

    def hand(side: str) -> Bool[np.ndarray, "10475"]:
        fingers = [name for name in HAND_JOINTS if name.startswith(side)]
        return owned(f"{side}_wrist", *fingers) & (down > 0.2)

    def sole(side: str) -> Bool[np.ndarray, "10475"]:
        return owned(f"{side}_ankle", f"{side}_foot") & (down > 0.5)

    seat_top = joints[SMPLX_JOINTS.index("pelvis"), 1] + _SEAT_TOP_M
    seat_bottom = joints[SMPLX_JOINTS.index("left_hip"), 1] + _SEAT_BOTTOM_M
    height = vertices[:, 1]
    hips = owned("left_hip", "right_hip")
    gluteus = (hips | owned("pelvis")) & (back > 0.25) & (height < seat_top) & (height > seat_bottom)
    masks = {
        "L_Leg": sole("left"),
        "R_Leg": sole("right"),
        "L_Hand": hand("left"),
        "R_Hand": hand("right"),
        "back": (owned("spine1", "spine2", "spine3") & (back > 0.35))
        | (owned("left_collar", "right_collar") & (back > 0.5)),
        "gluteus": gluteus,
        "butt": gluteus,  # PROX ships the same list under two names
        "thighs": hips & (back > 0.2) & (height <= seat_bottom),
    }
    skin = np.arange(len(vertices)) < NUM_SMPLX_BODY
    found = {name: np.flatnonzero(mask & skin) for name, mask in masks.items()}
    found["body_mask"] = np.flatnonzero(owned("neck", "head", "jaw", "left_eye", "right_eye"))
    return found
