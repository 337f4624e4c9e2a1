"""The skeleton and the soles of one body at rest: what a motion must know of the body it is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from pipelines.bodies.joints import SMPL_PARENTS, body_joint
from pipelines.bodies.model import SmplhBody, SmplxBody
from pipelines.synthetic.inverse_kinematics import LimbRest, apply, rotmat_about

Side = Literal[0, 1]
LEFT: Side = 0
RIGHT: Side = 1
SIDES: tuple[Side, Side] = (LEFT, RIGHT)

NUM_JOINTS = 22
PELVIS, HEAD, NECK = body_joint("pelvis"), body_joint("head"), body_joint("neck")
SPINE = tuple(body_joint(f"spine{k}") for k in (1, 2, 3))


def _both(name: str) -> tuple[int, int]:
    return body_joint(f"left_{name}"), body_joint(f"right_{name}")


HIP, KNEE, ANKLE, BALL = _both("hip"), _both("knee"), _both("ankle"), _both("foot")
COLLAR, SHOULDER, ELBOW, WRIST = _both("collar"), _both("shoulder"), _both("elbow"), _both("wrist")

REST_UP = np.array([0.0, 1.0, 0.0])
REST_FORWARD = np.array([0.0, 0.0, 1.0])
REST_LEFT = np.array([1.0, 0.0, 0.0])
WORLD_UP = np.array([0.0, 0.0, 1.0])
WORLD_FROM_REST = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Upright and facing +x: rest forward (+z) to world +x, left (+x) to +y, up (+y) to +z."""


@dataclass(frozen=True, slots=True, eq=False)
class FootRest:
    """One foot at rest, relative to its ankle joint, after it was levelled."""

    level: Float[np.ndarray, "3 3"]
    """Turn about rest x that puts heel and ball on one plane."""
    ball: Float[np.ndarray, "3"]
    """Ankle to toe-base joint (unlevelled)."""
    heel_point: Float[np.ndarray, "3"]
    """Ankle to the point the foot rolls about at heel strike (unlevelled)."""
    rear: Float[np.ndarray, "rear 3"]
    """Skin behind the toe base, relative to the ankle (unlevelled)."""
    toes: Float[np.ndarray, "toes 3"]
    """Skin of the toes, relative to the toe base (unlevelled)."""
    ankle_height_m: float
    """Height of the ankle joint when the levelled foot stands on the floor."""


@dataclass(frozen=True, slots=True, eq=False)
class SkinRegions:
    """Vertex ids by rest pose."""

    trunk: Int[np.ndarray, " trunk"]
    """Trunk without the head, buttocks and upper thighs: what rests on seats and beds."""
    chest: Int[np.ndarray, " chest"]
    """The part of it above the middle of the spine."""
    head: Int[np.ndarray, " head"]
    hands: tuple[Int[np.ndarray, " left"], Int[np.ndarray, " right"]]
    forearms: tuple[Int[np.ndarray, " left_arm"], Int[np.ndarray, " right_arm"]]
    """From the elbow to the finger tips."""
    legs: tuple[Int[np.ndarray, " left_leg"], Int[np.ndarray, " right_leg"]]
    """From the middle of the thigh down."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyRig:
    """One body (gender, betas, model) at rest; y up, facing +z, left at +x, metres."""

    joints: Float[np.ndarray, "22 3"]
    feet: tuple[FootRest, FootRest]
    thigh_top_m: float
    """Thickness of the thigh above its bone, two thirds of the way to the knee."""
    palm_m: float
    """Skin of the palm below the wrist joint, T-pose."""
    regions: SkinRegions

    @property
    def offsets(self) -> Float[np.ndarray, "22 3"]:
        """Parent to joint."""
        return self.joints - np.where(
            np.arange(NUM_JOINTS)[:, None] > 0, self.joints[list(SMPL_PARENTS)], 0.0
        )

    def leg(self, side: Side) -> LimbRest:
        """Hip, knee, ankle."""
        j = self.joints
        return LimbRest(j[KNEE[side]] - j[HIP[side]], j[ANKLE[side]] - j[KNEE[side]], REST_FORWARD)

    def arm(self, side: Side) -> LimbRest:
        """Shoulder, elbow, wrist."""
        j = self.joints
        return LimbRest(
            j[ELBOW[side]] - j[SHOULDER[side]], j[WRIST[side]] - j[ELBOW[side]], -REST_FORWARD
        )

    @property
    def leg_m(self) -> float:
        """Hip to ankle of the stretched leg (mean of both)."""
        return float(np.mean([self.leg(side).reach_m for side in SIDES]))

    @property
    def arm_m(self) -> float:
        """Shoulder to wrist of the stretched arm (mean of both)."""
        return float(np.mean([self.arm(side).reach_m for side in SIDES]))

    @property
    def standing_pelvis_m(self) -> float:
        """Pelvis height above the floor with straight legs and level feet."""
        ankle = np.mean([self.joints[ANKLE[side], 1] for side in SIDES])
        return float(self.joints[PELVIS, 1] - ankle + np.mean([f.ankle_height_m for f in self.feet]))

    def forward_kinematics(
        self, rotations: Float[np.ndarray, "frames 22 3 3"], pelvis: Float[np.ndarray, "frames 3"]
    ) -> Float[np.ndarray, "frames 22 3"]:
        """World joints from global rotations."""
        offsets = self.offsets
        joints = np.empty((len(pelvis), NUM_JOINTS, 3))
        joints[:, 0] = pelvis
        for joint in range(1, NUM_JOINTS):
            parent = SMPL_PARENTS[joint]
            joints[:, joint] = joints[:, parent] + apply(rotations[:, parent], offsets[joint])
        return joints


def build_rig(body: SmplxBody | SmplhBody, betas: Float[np.ndarray, "10"]) -> BodyRig:
    """Measure a body's rest pose: joints, soles, thigh and palm thickness."""
    joints, vertices = _rest_pose(body, betas)
    return BodyRig(
        joints=joints,
        feet=(_measure_foot(joints, vertices, LEFT), _measure_foot(joints, vertices, RIGHT)),
        thigh_top_m=_thigh_top(joints, vertices),
        palm_m=_palm(joints, vertices),
        regions=_regions(joints, vertices),
    )


def local_rotations(
    rotations: Float[np.ndarray, "frames 22 3 3"],
) -> Float[np.ndarray, "frames 22 3 3"]:
    """Rotations relative to the parent from global ones."""
    local = rotations.copy()
    parents = list(SMPL_PARENTS[1:])
    local[:, 1:] = np.swapaxes(rotations[:, parents], -1, -2) @ rotations[:, 1:]
    return local


def global_rotations(
    local: Float[np.ndarray, "frames 22 3 3"],
) -> Float[np.ndarray, "frames 22 3 3"]:
    """Global rotations from rotations relative to the parent."""
    rotations = local.copy()
    for joint in range(1, NUM_JOINTS):
        rotations[:, joint] = rotations[:, SMPL_PARENTS[joint]] @ local[:, joint]
    return rotations


def _rest_pose(
    body: SmplxBody | SmplhBody, betas: Float[np.ndarray, "10"]
) -> tuple[Float[np.ndarray, "22 3"], Float[np.ndarray, "verts 3"]]:
    def zeros(size: int) -> torch.Tensor:
        return torch.zeros(1, size, dtype=body.dtype)

    shape = torch.as_tensor(betas, dtype=body.dtype)[None]
    if isinstance(body, SmplhBody):
        mesh = body(shape, zeros(3), zeros(63), zeros(3))
    else:
        mesh = body(
            betas=shape,
            expression=zeros(10),
            global_orient=zeros(3),
            body_pose=zeros(63),
            jaw_pose=zeros(3),
            leye_pose=zeros(3),
            reye_pose=zeros(3),
            left_hand_pose=zeros(12),
            right_hand_pose=zeros(12),
            transl=zeros(3),
        )
    return (
        mesh.joints[0, :NUM_JOINTS].double().numpy(),
        mesh.vertices[0].double().numpy(),
    )


def _measure_foot(
    joints: Float[np.ndarray, "22 3"], vertices: Float[np.ndarray, "verts 3"], side: Side
) -> FootRest:
    ankle, ball = joints[ANKLE[side]], joints[BALL[side]]
    below = (vertices[:, 1] < ankle[1] + 0.01) & (np.sign(vertices[:, 0]) == np.sign(ankle[0]))
    skin = vertices[below] - ankle
    toe_base = ball - ankle
    heel = skin[skin[:, 2] < 0.0]
    front = skin[np.abs(skin[:, 2] - toe_base[2]) < 0.04]
    low_heel, low_front = heel[heel[:, 1].argmin()], front[front[:, 1].argmin()]
    pitch = np.arctan2(low_front[1] - low_heel[1], low_front[2] - low_heel[2])
    level = rotmat_about(REST_LEFT, np.array(pitch))
    levelled = skin @ level.T
    return FootRest(
        level=level,
        ball=toe_base,
        heel_point=np.array([low_heel[0], skin[:, 1].min(), low_heel[2]]),
        rear=skin[skin[:, 2] <= toe_base[2]],
        toes=skin[skin[:, 2] > toe_base[2]] - toe_base,
        ankle_height_m=float(-levelled[:, 1].min()),
    )


def _regions(joints: Float[np.ndarray, "22 3"], vertices: Float[np.ndarray, "verts 3"]) -> SkinRegions:
    knee_y, hip_y = joints[KNEE[0], 1], joints[HIP[0], 1]
    middle = np.abs(vertices[:, 0]) < joints[SHOULDER[0], 0]
    headless = middle & (vertices[:, 1] < joints[NECK, 1])
    below_hips = vertices[:, 1] < hip_y + 0.5 * (knee_y - hip_y)
    return SkinRegions(
        trunk=np.flatnonzero(headless & (vertices[:, 1] > hip_y + 0.6 * (knee_y - hip_y))),
        chest=np.flatnonzero(headless & (vertices[:, 1] > joints[SPINE[1], 1])),
        head=np.flatnonzero(middle & (vertices[:, 1] > joints[HEAD, 1])),
        hands=(
            np.flatnonzero(vertices[:, 0] > joints[WRIST[0], 0]),
            np.flatnonzero(vertices[:, 0] < joints[WRIST[1], 0]),
        ),
        forearms=(
            np.flatnonzero(vertices[:, 0] > joints[ELBOW[0], 0] - 0.04),
            np.flatnonzero(vertices[:, 0] < joints[ELBOW[1], 0] + 0.04),
        ),
        legs=(
            np.flatnonzero(below_hips & (vertices[:, 0] > 0)),
            np.flatnonzero(below_hips & (vertices[:, 0] < 0)),
        ),
    )


def _thigh_top(joints: Float[np.ndarray, "22 3"], vertices: Float[np.ndarray, "verts 3"]) -> float:
    place = joints[HIP[0]] + 0.65 * (joints[KNEE[0]] - joints[HIP[0]])
    ring = (np.abs(vertices[:, 1] - place[1]) < 0.03) & (np.abs(vertices[:, 0] - place[0]) < 0.06)
    return float(vertices[ring, 2].max() - place[2])


def _palm(joints: Float[np.ndarray, "22 3"], vertices: Float[np.ndarray, "verts 3"]) -> float:
    wrist = joints[WRIST[0]]
    hand = vertices[(vertices[:, 0] > wrist[0] + 0.02) & (vertices[:, 0] < wrist[0] + 0.08)]
    return float(wrist[1] - hand[:, 1].min())
