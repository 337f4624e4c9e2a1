"""From captured bones to SMPL+H clips.

A joint of the body turns as its bone does, after the smallest rotation that takes the body's rest bone to
the bone of the zero pose; trunk, head and collars keep the capture's own rotation, toes follow the foot.
The root's path is scaled by the ratio of leg lengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPL_BODY_JOINTS, SMPL_PARENTS
from pipelines.bodies.model import load_smplh
from pipelines.errors import DataInvalid
from pipelines.motion_prior.training_data import TrainingClip
from pipelines.other_datasets.amass.dataset import evenly
from pipelines.other_datasets.amass.floor import find_floor, label_contacts
from pipelines.other_datasets.mocap.motion import CapturedMotion
from pipelines.other_datasets.settings import AmassSettings
from pipelines.records import Gender

_SIDES: Final = ("left", "right")
_TRUNK: Final = {
    "pelvis": ("root", "Hips"),
    "spine1": ("lowerback", "LowerBack"),
    "spine2": ("upperback", "Spine"),
    "spine3": ("thorax", "Spine1"),
    "neck": ("upperneck", "Neck1"),
    "head": ("head", "Head"),
}
_LIMBS: Final = {
    "hip": ("femur", "UpLeg"),
    "knee": ("tibia", "Leg"),
    "ankle": ("foot", "Foot"),
    "foot": ("foot", "Foot"),
    "collar": ("clavicle", "Shoulder"),
    "shoulder": ("humerus", "Arm"),
    "elbow": ("radius", "ForeArm"),
    "wrist": ("hand", "Hand"),
}
_AS_CAPTURED: Final = (*_TRUNK, "left_collar", "right_collar")
"""Joints whose bones stand alike in both rest poses."""
_ALONG: Final = {
    **{f"{side}_{joint}": f"{side}_{child}" for side in _SIDES for joint, child in (
        ("hip", "knee"), ("knee", "ankle"), ("ankle", "foot"), ("shoulder", "elbow"), ("elbow", "wrist"),
    )},
}  # fmt: skip
"""Joint -> the joint its bone leads to."""
_WORLD_FROM_FILE: Final = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""y up -> z up."""
_MIN_FRAMES: Final = 4


def retarget(
    motion: CapturedMotion,
    files: BodyFiles,
    gender: Gender = "neutral",
    betas: Float[np.ndarray, "10"] | None = None,
) -> tuple[Float[np.ndarray, "frames 22 3"], Float[np.ndarray, "frames 3"]]:
    """Rotation vectors (root in the world, z up) and translations of a body that moves alike.

    Raises:
        DataInvalid: the capture lacks a bone of the CMU skeleton.
    """
    shape = np.zeros(10) if betas is None else betas
    body = load_smplh(files, gender)
    rest = body.skinning.rest_joints(torch.tensor(shape[None], dtype=body.dtype))[0].numpy()
    rows = _bone_rows(motion)
    turned = np.stack(
        [
            motion.rotations[:, rows[joint]] @ _alignment(joint, motion, rows, rest)
            for joint in SMPL_BODY_JOINTS
        ],
        axis=1,
    )
    world = _WORLD_FROM_FILE @ turned
    local = world.copy()
    for joint in range(1, len(SMPL_BODY_JOINTS)):
        local[:, joint] = np.swapaxes(world[:, SMPL_PARENTS[joint]], -1, -2) @ world[:, joint]
    rotvecs = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 22, 3)
    scale = _leg(rest) / _captured_leg(motion, rows)
    pelvis = scale * motion.root_m @ _WORLD_FROM_FILE.T
    return rotvecs, pelvis - rest[0]


def captured_clip(
    motion: CapturedMotion,
    name: str,
    files: BodyFiles,
    settings: AmassSettings | None = None,
) -> TrainingClip:
    """A clip of the neutral mean body, with floor and contacts found as for AMASS.

    Raises:
        DataInvalid: bones are missing, the capture is shorter than four frames or has no single floor.
    """
    settings = settings or AmassSettings()
    if len(motion.root_m) < _MIN_FRAMES:
        raise DataInvalid("capture is too short", where=name, found=f"{len(motion.root_m)} frames")
    rotvecs, transl = retarget(motion, files)
    body = load_smplh(files, "neutral")
    with torch.no_grad():
        joints = body.joints(
            torch.zeros(len(transl), 10, dtype=body.dtype),
            torch.tensor(rotvecs[:, 0], dtype=body.dtype),
            torch.tensor(rotvecs[:, 1:].reshape(-1, 63), dtype=body.dtype),
            torch.tensor(transl, dtype=body.dtype),
        ).numpy()
    floor = find_floor(joints.astype(np.float64), motion.frame_rate_hz, settings)
    if floor.is_terrain:
        raise DataInvalid("capture stands on several heights", where=name, fix="leave it out")
    contacts = label_contacts(joints.astype(np.float64), floor.toe_height_m, settings)
    picked = evenly(len(transl), motion.frame_rate_hz, settings.frame_rate_hz)
    return TrainingClip(
        name=name,
        family=name.split("_", maxsplit=1)[0],
        gender="neutral",
        betas=np.zeros(10),
        rotvecs=rotvecs[picked],
        transl=(transl - [0.0, 0.0, floor.height_m])[picked],
        contacts=contacts[picked],
    )


def _bone_rows(motion: CapturedMotion) -> dict[str, int]:
    """Bone of every body joint, by the names of CMU's ASF or BVH files."""
    rows = {}
    for joint in SMPL_BODY_JOINTS:
        names = _bone_names(joint)
        found = [motion.names.index(name) for name in names if name in motion.names]
        if not found:
            raise DataInvalid(
                f"capture has no bone for {joint}",
                expected=" or ".join(names),
                found=", ".join(motion.names),
                fix="only skeletons with CMU's bone names can be retargeted",
            )
        rows[joint] = found[0]
    return rows


def _bone_names(joint: str) -> tuple[str, str]:
    if joint in _TRUNK:
        return _TRUNK[joint]
    side, _, limb = joint.partition("_")
    asf, bvh = _LIMBS[limb]
    return side[0] + asf, side.title() + bvh


def _alignment(
    joint: str, motion: CapturedMotion, rows: Mapping[str, int], rest: Float[np.ndarray, "22 3"]
) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation from the body's rest bone to the capture's zero bone."""
    if joint in _AS_CAPTURED:
        return np.eye(3)
    side, _, limb = joint.partition("_")
    along = {"foot": f"{side}_ankle", "wrist": f"{side}_elbow"}.get(limb, joint)
    start, end = (SMPL_BODY_JOINTS.index(name) for name in (along, _ALONG[along]))
    return _smallest_rotation(rest[end] - rest[start], motion.zero_bone_m[rows[joint]])


def _smallest_rotation(
    source: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    angle = np.arctan2(sine, float(a @ b))
    return Rotation.from_rotvec(axis * (angle / sine if sine > 0 else 0.0)).as_matrix()


def _leg(rest: Float[np.ndarray, "22 3"]) -> float:
    hip, knee, ankle = (
        rest[SMPL_BODY_JOINTS.index(f"left_{name}")] for name in ("hip", "knee", "ankle")
    )
    return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))


def _captured_leg(motion: CapturedMotion, rows: Mapping[str, int]) -> float:
    bones = motion.zero_bone_m[[rows["left_hip"], rows["left_knee"]]]
    return float(np.linalg.norm(bones, axis=1).sum())
