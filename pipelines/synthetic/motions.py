"""Human motions with known, truly planted feet, and the furniture that fits them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplxBody, load_smplx
from pipelines.errors import SettingsInvalid
from pipelines.records import Gender, SmplxParameters
from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families import lying, reaching, seats, training, turning
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.furniture import FurnitureNeed
from pipelines.synthetic.hands import hand_poses
from pipelines.synthetic.rig import build_rig
from pipelines.synthetic.settling import Actor, Support, fit_furniture, settle
from pipelines.synthetic.skin import smplx_parameters
from pipelines.synthetic.walk_solver import solve_walk
from pipelines.synthetic.walks import (
    FRAME_RATE_HZ,
    WalkEdit,
    cut,
    edit_gait,
    lay_out,
    load_gait,
    repeat_gait,
    walk_clips,
)

WALK: Final = "walk"

PROCEDURAL: Final[dict[str, MotionFamily]] = {
    family.name: family
    for group in (seats, reaching, turning, lying, training)
    for family in group.FAMILIES
}
HELD_OUT_FAMILIES: Final = (
    WALK,
    *(family.name for family in PROCEDURAL.values() if not family.for_training),
)
"""What the embedded recordings show. `walk` uses held-out CMU subjects, the others are generators
that the motion prior's training never calls."""
TRAINING_FAMILIES: Final = tuple(family.name for family in PROCEDURAL.values() if family.for_training)

_ROOM_M = 4.2
"""A recorded walk is bent until it fits into a square of this size."""
_CURVATURES_PER_M = (0.0, 0.12, 0.25, 0.4, 0.55, 0.7)


@dataclass(frozen=True, slots=True, eq=False)
class MotionClip:
    """One person moving, and what stands around him; world frame z up, floor z = 0."""

    name: str
    family: str
    gender: Gender
    parameters: SmplxParameters
    """World frame."""
    foot_contact: Bool[np.ndarray, "frames 4"]
    """Truly at rest on the floor: left toe base, left heel, right toe base, right heel."""
    furniture: tuple[FurnitureNeed, ...]
    source: str
    """CMU clip, or "procedural"."""
    frame_rate_hz: float = FRAME_RATE_HZ


def make_motion(
    family: str,
    num_frames: int,
    gender: Gender,
    betas: Float[np.ndarray, "10"],
    files: BodyFiles,
    seed: int,
) -> MotionClip:
    """Make one motion of a family for one body; equal arguments give equal clips.

    Raises:
        SettingsInvalid: no such family, or no frames.
    """
    if family != WALK and family not in PROCEDURAL:
        raise SettingsInvalid(
            "no such family of motions", expected=", ".join((WALK, *sorted(PROCEDURAL))), found=family
        )
    if num_frames < 2:
        raise SettingsInvalid("a motion needs at least two frames", found=num_frames)
    body = _load_body(files, gender)
    rng = np.random.default_rng([seed, *family.encode()])
    betas = np.asarray(betas, np.float64)
    make = _make_walk if family == WALK else _make_procedural
    return make(family, num_frames, body, betas, rng)


def _make_walk(
    family: str,
    num_frames: int,
    body: SmplxBody,
    betas: Float[np.ndarray, "10"],
    rng: np.random.Generator,
) -> MotionClip:
    rig = build_rig(body, betas)
    name = str(rng.choice(walk_clips(held_out=True)))
    edit = WalkEdit(mirror=bool(rng.uniform() < 0.5), speed=rng.uniform(0.9, 1.1))
    gait = repeat_gait(edit_gait(load_gait(name), edit), num_frames)
    first = int(rng.integers(0, len(gait.turn_rad) - num_frames + 1))
    gait = cut(gait, first, num_frames)
    sign = -1.0 if rng.uniform() < 0.5 else 1.0
    for curvature in _CURVATURES_PER_M:
        bent = WalkEdit(curvature_per_m=sign * curvature)
        path = lay_out(gait, rig.leg_m, bent)
        if np.ptp(path.pelvis[:, :2], axis=0).max() < _ROOM_M:
            break
    motion = solve_walk(rig, path, FRAME_RATE_HZ)
    hands = hand_poses(body, rng, np.zeros((num_frames, 2)), FRAME_RATE_HZ)
    return MotionClip(
        name=f"{family}_{name}",
        family=family,
        gender=body.gender,
        parameters=smplx_parameters(rig, motion, betas, hands),
        foot_contact=motion.foot_contact,
        furniture=(),
        source=gait.source,
    )


def _make_procedural(
    family: str,
    num_frames: int,
    body: SmplxBody,
    betas: Float[np.ndarray, "10"],
    rng: np.random.Generator,
) -> MotionClip:
    rig = build_rig(body, betas)
    choreography = Choreography.begin(rig, rng)
    blocks = tuple(PROCEDURAL[family].direct(choreography, num_frames / FRAME_RATE_HZ))
    performance = choreography.perform(num_frames, FRAME_RATE_HZ)
    flatness = choreography.flat_hands.evaluate(num_frames, FRAME_RATE_HZ, 0.1)
    hands = hand_poses(body, rng, flatness, FRAME_RATE_HZ)
    support = Support(
        choreography.support.evaluate(num_frames, FRAME_RATE_HZ, 0.0)[:, 0],
        choreography.legs_rest.evaluate(num_frames, FRAME_RATE_HZ, 0.0)[:, 0],
    )
    settled = settle(Actor(rig, body, betas, hands), performance, support, blocks)
    return MotionClip(
        name=family,
        family=family,
        gender=body.gender,
        parameters=smplx_parameters(rig, settled.motion, betas, hands),
        foot_contact=settled.motion.foot_contact,
        furniture=fit_furniture(rig, blocks, settled, support, FRAME_RATE_HZ),
        source="procedural",
    )


@lru_cache(maxsize=3)
def _load_body(files: BodyFiles, gender: Gender) -> SmplxBody:
    return load_smplx(files, gender)
