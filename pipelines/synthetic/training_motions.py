"""Clips the motion prior is trained on: CMU walks of the other subjects, and the training families.

Nothing the embedded recordings show is in here: no held-out CMU subject, no recording family.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.model import SmplhBody, load_smplh
from pipelines.motion_prior.state import CONTACT_JOINTS
from pipelines.motion_prior.training_data import TrainingClip
from pipelines.records import Gender
from pipelines.synthetic.choreography import Choreography
from pipelines.synthetic.families import training
from pipelines.synthetic.families.family import MotionFamily
from pipelines.synthetic.inverse_kinematics import rotmat_to_rotvec
from pipelines.synthetic.performance import SolvedMotion, solve
from pipelines.synthetic.rig import ANKLE, BALL, PELVIS, SIDES, BodyRig, build_rig, local_rotations
from pipelines.synthetic.settling import Actor, Support, settle
from pipelines.synthetic.walk_solver import solve_walk
from pipelines.synthetic.walks import FRAME_RATE_HZ, WalkEdit, edit_gait, lay_out, load_gait, walk_clips

WALK_SHARE: Final = 0.5
"""Share of the minutes that are captured walks; the rest is divided evenly over the families."""
_GENDERS: Final[tuple[Gender, ...]] = ("neutral", "male", "female")
_MAX_CURVATURE_PER_M = 0.8
_MAX_SPEED_M_S = 1.9
_PROCEDURAL_S = (4.0, 8.0)


def training_clips(files: BodyFiles, seed: int, minutes: float) -> list[TrainingClip]:
    """Clips of about the given total length; equal arguments give equal clips.

    Walks are mirrored, slowed, quickened and bent at random, and every clip has a body of its own.
    """
    rng = np.random.default_rng([seed, 1])
    bodies = {gender: load_smplh(files, gender) for gender in _GENDERS}
    clips = _take(_walks(bodies, rng), 60 * minutes * WALK_SHARE)
    families = training.FAMILIES
    for family in families:
        share_s = 60 * minutes * (1 - WALK_SHARE) / len(families)
        clips += _take(_procedural(family, bodies, rng), share_s)
    return clips


def _take(clips: Iterator[TrainingClip], seconds: float) -> list[TrainingClip]:
    taken: list[TrainingClip] = []
    while sum(len(clip.transl) for clip in taken) < seconds * FRAME_RATE_HZ:
        taken.append(next(clips))
    return taken


def _walks(bodies: dict[Gender, SmplhBody], rng: np.random.Generator) -> Iterator[TrainingClip]:
    names = walk_clips(held_out=False)
    while True:
        for name in rng.permutation(names):
            gender, betas = _person(rng)
            rig = build_rig(bodies[gender], betas)
            captured = load_gait(str(name))
            edit = WalkEdit(
                mirror=bool(rng.uniform() < 0.5),
                speed=min(rng.uniform(0.8, 1.25), _MAX_SPEED_M_S / captured.speed_m_s),
                curvature_per_m=_MAX_CURVATURE_PER_M * rng.uniform(-1, 1) * (rng.uniform() < 0.7),
                curl_per_m=0.25 * rng.uniform(-1, 1),
            )
            gait = edit_gait(captured, edit)
            motion = solve_walk(rig, lay_out(gait, rig.leg_m, edit), FRAME_RATE_HZ)
            yield _clip(f"walk {name}", "walk", gender, betas, rig, motion)


def _procedural(
    family: MotionFamily, bodies: dict[Gender, SmplhBody], rng: np.random.Generator
) -> Iterator[TrainingClip]:
    while True:
        gender, betas = _person(rng)
        body = bodies[gender]
        rig = build_rig(body, betas)
        seconds = rng.uniform(*_PROCEDURAL_S)
        num_frames = round(seconds * FRAME_RATE_HZ)
        choreography = Choreography.begin(rig, rng)
        blocks = tuple(family.direct(choreography, seconds))
        performance = choreography.perform(num_frames, FRAME_RATE_HZ)
        support = Support(
            choreography.support.evaluate(num_frames, FRAME_RATE_HZ, 0.0)[:, 0],
            choreography.legs_rest.evaluate(num_frames, FRAME_RATE_HZ, 0.0)[:, 0],
        )
        if any(plan.kind != "table" for plan in blocks):
            actor = Actor(rig, body, betas, np.zeros((num_frames, 2, 12)))
            motion = settle(actor, performance, support, blocks).motion
        else:
            motion = solve(rig, performance)
        yield _clip(family.name, family.name, gender, betas, rig, motion)


def _person(rng: np.random.Generator) -> tuple[Gender, Float[np.ndarray, "10"]]:
    gender = _GENDERS[int(rng.integers(len(_GENDERS)))]
    return gender, np.clip(rng.standard_normal(10), -2, 2)


def _clip(
    name: str,
    family: str,
    gender: Gender,
    betas: Float[np.ndarray, "10"],
    rig: BodyRig,
    motion: SolvedMotion,
) -> TrainingClip:
    return TrainingClip(
        name=name,
        family=family,
        gender=gender,
        betas=betas,
        rotvecs=rotmat_to_rotvec(local_rotations(motion.rotations)),
        transl=motion.joints[:, PELVIS] - rig.joints[PELVIS],
        contacts=_contacts(motion),
    )


def _contacts(motion: SolvedMotion) -> Bool[np.ndarray, "frames 9"]:
    """Ankles with the heel, toe bases with the toes; nothing else of these motions touches the floor."""
    contacts = np.zeros((len(motion.joints), len(CONTACT_JOINTS)), dtype=bool)
    for side in SIDES:
        contacts[:, CONTACT_JOINTS.index(BALL[side])] = motion.foot_contact[:, 2 * side]
        contacts[:, CONTACT_JOINTS.index(ANKLE[side])] = motion.foot_contact[:, 2 * side + 1]
    return contacts
