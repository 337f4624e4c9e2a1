"""Motion clips as the priors are trained on them: states, contact labels, windows.

A clip is in a world frame with z up and the floor at z = 0, at 30 frames per second. Where a clip does
not bring its own contact labels they follow from speed and height, as in HuMoR.

Differs from HuMoR: its speed limit is 5 mm per frame of the source capture (60 to 120 Hz, so 0.3 to
0.6 m/s); ours is 0.3 m/s whatever the rate. Its floor is found from the motion; ours is given. Heights
count from the body's own toe height when it stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPL_FLIP
from pipelines.bodies.model import SmplhBody, load_smplh
from pipelines.errors import DataInvalid
from pipelines.geometry.rotations import rotvec_to_rotmat
from pipelines.motion_prior.canonical import (
    heading_rotmat,
    pelvis_offset,
    planar_shift,
    to_local_frame,
)
from pipelines.motion_prior.state import CONTACT_JOINTS, NUM_CONTACTS, MotionState, states_from_motion
from pipelines.records import Gender

FRAME_RATE_HZ = 30.0
CONTACT_SPEED_M_S = 0.3
CONTACT_HEIGHT_M = 0.08
"""Ankles, knees, wrists above the standing toe height."""
TOE_CONTACT_HEIGHT_M = 0.04
MAX_TURN_RAD = 0.6
"""Per frame (18 rad/s): faster turns are flips of a limb, no motion."""
_TOES = (5, 6)
"""Rows of CONTACT_JOINTS that are toe bases."""
_HIPS = 0
"""Row of CONTACT_JOINTS that HuMoR never labels."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingClip:
    """One motion of one body, 30 Hz, z up, floor at z = 0."""

    name: str
    family: str
    """What kind of motion; whole families are held out."""
    gender: Gender
    betas: Float[np.ndarray, "10"]
    rotvecs: Float[np.ndarray, "frames 22 3"]
    """Root in the world, then 21 body joints relative to their parents."""
    transl: Float[np.ndarray, "frames 3"]
    contacts: Bool[np.ndarray, "frames 9"] | None = None
    """Order of state.CONTACT_JOINTS; None = from speed and height."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingMotions:
    """All frames of all clips in one row each, with the clip they belong to."""

    states: MotionState
    """(frames,), in each clip's own world frame."""
    body_rotvecs: Float[Tensor, "frames 21 3"]
    contacts: Float[Tensor, "frames 9"]
    clip: Int[Tensor, " frames"]
    first_frame: Int[Tensor, " clips"]
    num_frames: Int[Tensor, " clips"]
    jump_before: Bool[Tensor, " frames"]
    """A joint turned faster than MAX_TURN_RAD since the frame before."""
    rest_joints: Float[Tensor, "clips 22 3"]
    families: tuple[str, ...]
    """Of each clip."""

    def windows(
        self, starts: Int[Tensor, " windows"], length: int
    ) -> tuple[MotionState, Float[Tensor, "windows length 9"], Float[Tensor, "windows 22 3"]]:
        """Windows in the canonical frame of their first state; contacts; rest joints."""
        rows = starts[:, None] + torch.arange(length)
        states = self.states[rows]
        first = states[:, :1]
        R, shift = heading_rotmat(first.root_rotmat), planar_shift(first.transl)
        canonical = to_local_frame(states, R, shift, pelvis_offset(first))
        return canonical, self.contacts[rows], self.rest_joints[self.clip[starts]]

    def random_starts(
        self, count: int, length: int, generator: torch.Generator
    ) -> Int[Tensor, " windows"]:
        """Starts of windows, uniform over all frames that leave room for the whole window."""
        possible = self.possible_starts(length)
        return possible[torch.randint(len(possible), (count,), generator=generator)]

    def possible_starts(self, length: int) -> Int[Tensor, " starts"]:
        """Every frame from which a window of this length stays inside its clip and has no jump."""
        frames = torch.arange(len(self.clip))
        last = (frames + length - 1).clamp(max=len(frames) - 1)
        inside = frames + length <= (self.first_frame + self.num_frames)[self.clip]
        jumps = self.jump_before.long().cumsum(0)
        return frames[inside & (jumps[last] == jumps)]


def prepare_motions(clips: Sequence[TrainingClip], files: BodyFiles) -> TrainingMotions:
    """States of all clips; the two end frames of each are dropped (central differences only).

    Raises:
        DataInvalid: a clip is shorter than four frames or holds values that are not finite.
    """
    parts, contacts, rests, lengths = [], [], [], []
    for clip in clips:
        _check(clip)
        body = load_smplh(files, clip.gender)
        states, labels, rest = _clip_states(clip, body)
        parts.append(states)
        contacts.append(labels)
        rests.append(rest)
        lengths.append(len(labels))
    count = torch.tensor(lengths)
    fields = MotionState.__slots__
    return TrainingMotions(
        states=MotionState(*(torch.cat([getattr(part, name) for part in parts]) for name in fields)),
        body_rotvecs=torch.cat([_tensor(clip.rotvecs[1:-1, 1:]) for clip in clips]),
        contacts=torch.cat(contacts),
        jump_before=torch.cat([_jumps(part) for part in parts]),
        clip=torch.repeat_interleave(torch.arange(len(clips)), count),
        first_frame=count.cumsum(0) - count,
        num_frames=count,
        rest_joints=torch.stack(rests),
        families=tuple(clip.family for clip in clips),
    )


def mirrored(clip: TrainingClip) -> TrainingClip:
    """The clip seen in a mirror (left and right exchanged); the body must be symmetric."""
    flip = list(SMPL_FLIP)
    # Rest axes: x is left, so the mirror plane is x = 0; world: the plane is y = 0 of any clip.
    body = clip.rotvecs[:, flip] * np.array([1.0, -1.0, -1.0])
    root = _mirrored_root(clip.rotvecs[:, 0])
    rotvecs = np.concatenate([root[:, None], body[:, 1:]], axis=1)
    pairs = [0, 2, 1, 4, 3, 6, 5, 8, 7]
    return TrainingClip(
        name=f"{clip.name} mirrored",
        family=clip.family,
        gender=clip.gender,
        betas=clip.betas,
        rotvecs=rotvecs,
        transl=clip.transl * np.array([-1.0, 1.0, 1.0]),
        contacts=None if clip.contacts is None else clip.contacts[:, pairs],
    )


def label_contacts(
    joints: Float[Tensor, "frames 22 3"], toe_height_m: float
) -> Bool[Tensor, "frames 9"]:
    """Contacts by speed over both neighbouring frames and height above the standing toe height."""
    points = joints[:, list(CONTACT_JOINTS)]
    speed = torch.linalg.vector_norm(points[1:] - points[:-1], dim=-1) * FRAME_RATE_HZ
    slowest = torch.cat([speed[:1], torch.minimum(speed[1:], speed[:-1]), speed[-1:]])
    limit = torch.full((NUM_CONTACTS,), CONTACT_HEIGHT_M)
    limit[list(_TOES)] = TOE_CONTACT_HEIGHT_M
    contact = (slowest < CONTACT_SPEED_M_S) & (points[..., 2] < toe_height_m + limit)
    contact[:, _HIPS] = False
    return contact


def toe_height(body: SmplhBody, betas: Float[Tensor, "betas"]) -> float:
    """Height of the lower toe base above the lowest skin in the rest pose, metres."""
    zero = torch.zeros(1, 66, dtype=body.dtype)
    mesh = body(betas[None], zero[:, :3], zero[:, :63], zero[:, :3])
    toes = mesh.joints[0, [CONTACT_JOINTS[row] for row in _TOES], 1]
    return float(toes.min() - mesh.vertices[0, :, 1].min())


def _clip_states(
    clip: TrainingClip, body: SmplhBody
) -> tuple[MotionState, Float[Tensor, "frames 9"], Float[Tensor, "22 3"]]:
    betas, transl = _tensor(clip.betas), _tensor(clip.transl)
    rotmats = rotvec_to_rotmat(_tensor(clip.rotvecs))
    joints = body.joints_from_rotmats(betas.expand(len(transl), -1), rotmats, transl)
    states = states_from_motion(transl, rotmats[:, 0], rotmats[:, 1:], joints, FRAME_RATE_HZ)
    if clip.contacts is None:
        labels = label_contacts(joints, toe_height(body, betas))
    else:
        labels = torch.from_numpy(clip.contacts.copy())
    return states[1:-1], labels[1:-1].float(), body.skinning.rest_joints(betas[None])[0]


def _jumps(states: MotionState) -> Bool[Tensor, " frames"]:
    rotmats = torch.cat([states.root_rotmat[:, None], states.body_rotmats], dim=1)
    trace = (rotmats[1:] * rotmats[:-1]).sum((-1, -2))
    jump = (trace < 1 + 2 * math.cos(MAX_TURN_RAD)).any(1)
    return torch.cat([torch.zeros(1, dtype=torch.bool), jump])


def _mirrored_root(root: Float[np.ndarray, "frames 3"]) -> Float[np.ndarray, "frames 3"]:
    # M R M with M = diag(-1, 1, 1) both in the world and in the body.
    return root * np.array([1.0, -1.0, -1.0])


def _tensor(array: Float[np.ndarray, "*shape"]) -> Float[Tensor, "*shape"]:
    return torch.tensor(array, dtype=torch.float32)


def _check(clip: TrainingClip) -> None:
    if len(clip.transl) < 4:
        raise DataInvalid(
            "training clip is too short", where=clip.name, expected="4 frames", found=len(clip.transl)
        )
    if not (np.isfinite(clip.rotvecs).all() and np.isfinite(clip.transl).all()):
        raise DataInvalid("training clip holds values that are not finite", where=clip.name)
