"""The 21 vertices that smplx picks by number, found by geometry on the mean body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from pipelines.bodies.joints import PICKED_NAMES, SMPLX_JOINTS
from pipelines.bodies.standin.assets import NUM_BODY, BaseMesh, Rig
from pipelines.bodies.standin.tpose import dominant_joint

_EYELID_AHEAD_M = 0.016
_HEEL_HEIGHT_M = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class MeanBody:
    """The mean T-pose with what is needed to find places on it."""

    vertices: Float[np.ndarray, "posed 3"]
    """Body surface first (13380), then the eyeballs."""
    joints: Float[np.ndarray, "55 3"]
    weights: Float32[np.ndarray, "posed 55"]
    mirror: Int[np.ndarray, " body"]

    @property
    def surface(self) -> Float[np.ndarray, "body 3"]:
        """The closed body surface without eyeballs."""
        return self.vertices[:NUM_BODY]

    def joint(self, name: str) -> Float[np.ndarray, "3"]:
        """Place of a joint by name."""
        return self.joints[SMPLX_JOINTS.index(name)]

    def belongs_to(self, *names: str) -> Bool[np.ndarray, " posed"]:
        """Vertices whose dominant joint is one of these."""
        return np.isin(dominant_joint(self.weights), [SMPLX_JOINTS.index(name) for name in names])


def find_landmarks(body: MeanBody, mesh: BaseMesh, rig: Rig) -> dict[str, int]:
    """Surface vertex of every picked name; eyes are eyelid vertices. Left and right are partners."""
    surface = body.surface
    head = body.belongs_to("head", "jaw")[:NUM_BODY]
    below_eyes = surface[:, 1] < body.joint("left_eye")[1]
    on_mid_line = np.abs(surface[:, 0]) < 1e-6
    eyelid = body.joint("left_eye") + np.array([0, 0, _EYELID_AHEAD_M])
    ankle = body.belongs_to("left_ankle")[:NUM_BODY]
    low = surface[:, 1] < surface[:, 1].min() + _HEEL_HEIGHT_M
    left = {
        "eye": _best(head, -np.linalg.norm(surface - eyelid, axis=1)),
        "ear": _best(head, surface[:, 0]),
        "big_toe": _best(_bone_owns(rig, "toe1", ".L"), surface[:, 2]),
        "small_toe": _best(_bone_owns(rig, "toe5", ".L"), surface[:, 2] + 0.5 * surface[:, 0]),
        "heel": _best(ankle & low, -surface[:, 2]),
    }
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        middle, last = body.joint(f"left_{finger}2"), body.joint(f"left_{finger}3")
        owned = body.belongs_to(f"left_{finger}3")[:NUM_BODY]
        left[f"{finger}_tip"] = _best(owned, (surface - last) @ (last - middle))
    found = {"nose": _best(head & on_mid_line & below_eyes, surface[:, 2])}
    for name, vertex in left.items():
        found[f"left_{name}"] = vertex
        found[f"right_{name}"] = int(mesh.mirror[vertex])
    return {name: found[name] for name in PICKED_NAMES}


def _best(mask: Bool[np.ndarray, " body"], score: Float[np.ndarray, " body"]) -> int:
    candidates = np.flatnonzero(mask)
    return int(candidates[np.argmax(score[candidates])])


def _bone_owns(rig: Rig, prefix: str, letter: str) -> Bool[np.ndarray, " body"]:
    columns = [k for k, b in enumerate(rig.bones) if b.startswith(prefix) and b.endswith(letter)]
    return rig.weights[:NUM_BODY, columns].sum(1) > 0.5
