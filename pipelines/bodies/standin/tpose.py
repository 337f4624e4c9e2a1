"""From MakeHuman's bones to the SMPL joints, and every sampled body into the T-pose.

The pose is set with the full rig, whose twist bones make the arm raise and the forearm turn clean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.spatial.transform import Rotation

from pipelines.bodies.joints import SMPLX_JOINTS
from pipelines.bodies.standin.assets import NUM_BODY, BaseMesh, Rig
from pipelines.bodies.standin.eyes import NUM_EYE, unit_eye

_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_FINGER_NAME = {str(number): name for name, number in _FINGER_NUMBER.items()}
_SPINE = {
    "root": "pelvis",
    "pelvis": "pelvis",
    "spine05": "pelvis",
    "spine04": "spine1",
    "spine03": "spine1",
    "spine02": "spine2",
    "spine01": "spine3",
    "breast": "spine3",
}
_LIMBS = {
    "clavicle": "collar",
    "shoulder01": "collar",
    "upperarm": "shoulder",
    "lowerarm": "elbow",
    "wrist": "wrist",
    "metacarpal": "wrist",
    "upperleg": "hip",
    "lowerleg": "knee",
    "foot": "ankle",
    "toe": "foot",
}
_HEAD_OF = {
    "spine1": "spine04",
    "spine2": "spine02",
    "spine3": "spine01",
    "neck": "neck01",
    "head": "head",
    "jaw": "jaw",
}
_LIMB_HEAD_OF = {
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "collar": "clavicle",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "eye": "eye",
}


@dataclass(frozen=True, slots=True, eq=False)
class TposedBodies:
    """Bodies in T-pose with round eyeballs; mid-height at y = 0, so the pelvis moves with shape."""

    vertices: Float32[np.ndarray, "bodies posed 3"]
    """Body surface (13380), left eyeball, right eyeball (546 each)."""
    joints: Float[np.ndarray, "bodies 55 3"]


def smplx_weights(rig: Rig) -> Float32[np.ndarray, "all 55"]:
    """Skinning weights of the SMPL-X joints: those of the merged bones added up."""
    jaw = _descendants(rig, "jaw")
    weights = np.zeros((len(rig.weights), len(SMPLX_JOINTS)), np.float32)
    for column, bone in enumerate(rig.bones):
        weights[:, SMPLX_JOINTS.index(_joint_of_bone(bone, jaw))] += rig.weights[:, column]
    return weights


def tpose_bodies(rig: Rig, mesh: BaseMesh, bodies: Float[np.ndarray, "bodies all 3"]) -> TposedBodies:
    """Pose every body into the T-pose and replace its eyes by spheres."""
    heads = np.stack([bodies[:, ids].mean(1) for ids in rig.heads], axis=1)
    tails = np.stack([bodies[:, ids].mean(1) for ids in rig.tails], axis=1)
    rotations = _bone_rotations(rig, heads, tails)
    places = _bone_places(rig, rotations, heads)
    eyes = [mesh.groups["helper-l-eye"], mesh.groups["helper-r-eye"]]
    used = np.concatenate([np.arange(NUM_BODY), *eyes])
    offsets = places - np.einsum("nbij,nbj->nbi", rotations, heads)
    vertices = np.zeros((len(bodies), NUM_BODY + 2 * NUM_EYE, 3), np.float32)
    joints = np.stack([_joint_place(rig, places, name) for name in SMPLX_JOINTS], axis=1)
    for row, body in enumerate(bodies):
        motion = np.concatenate([rotations[row].reshape(-1, 9), offsets[row]], axis=1)
        blended = rig.weights[used] @ motion.astype(np.float32)
        posed = np.einsum("vij,vj->vi", blended[:, :9].reshape(-1, 3, 3), body[used]) + blended[:, 9:]
        vertices[row, :NUM_BODY] = posed[:NUM_BODY]
        for side in (0, 1):
            first = NUM_BODY + side * NUM_EYE
            helper = posed[NUM_BODY + side * len(eyes[0]) :][: len(eyes[side])]
            ball, centre = _eyeball(helper, mirrored=side == 1)
            vertices[row, first : first + NUM_EYE] = ball
            joints[row, SMPLX_JOINTS.index(("left_eye", "right_eye")[side])] = centre
        middle = (posed[:NUM_BODY, 1].max() + posed[:NUM_BODY, 1].min()) / 2
        vertices[row, :, 1] -= middle
        joints[row, :, 1] -= middle
    return TposedBodies(vertices, joints)


def _joint_of_bone(bone: str, jaw: set[str]) -> str:
    name, _, letter = bone.partition(".")
    side = {"L": "left_", "R": "right_"}.get(letter, "")
    if name in _SPINE:
        return _SPINE[name]
    if name.startswith("neck"):
        return "neck"
    if name.startswith("finger"):
        number, phalanx = name.removeprefix("finger").split("-")
        return f"{side}{_FINGER_NAME[number]}{phalanx}"
    if name == "eye":
        return f"{side}eye"
    if bone in jaw:
        return "jaw"
    limb = next((joint for prefix, joint in _LIMBS.items() if name.startswith(prefix)), None)
    return f"{side}{limb}" if limb else "head"


def _descendants(rig: Rig, bone: str) -> set[str]:
    found = {bone}
    for name, parent in zip(rig.bones, rig.parents, strict=True):  # parents come first
        if parent >= 0 and rig.bones[parent] in found:
            found.add(name)
    return found


def _joint_place(
    rig: Rig, places: Float[np.ndarray, "bodies bones 3"], joint: str
) -> Float[np.ndarray, "bodies 3"]:
    def head(bone: str) -> Float[np.ndarray, "bodies 3"]:
        return places[:, rig.index(bone)]

    if joint == "pelvis":
        return (head("pelvis.L") + head("spine04")) / 2
    if joint in _HEAD_OF:
        return head(_HEAD_OF[joint])
    side, part = joint.split("_")
    letter = {"left": ".L", "right": ".R"}[side]
    if part == "foot":
        return (head(f"toe1-1{letter}") + head(f"toe3-1{letter}")) / 2
    if part[:-1] in _FINGER_NUMBER:
        return head(f"finger{_FINGER_NUMBER[part[:-1]]}-{part[-1]}{letter}")
    return head(_LIMB_HEAD_OF[part] + letter)


def _smallest_rotation(
    source: Float[np.ndarray, "bodies 3"], target: Float[np.ndarray, "..."]
) -> Rotation:
    target = np.broadcast_to(target, source.shape)
    axis = np.cross(source, target)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, np.einsum("ni,ni->n", source, target)[:, None])
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle)


def _about_x(angle: Float[np.ndarray, " bodies"]) -> Rotation:
    return Rotation.from_rotvec(angle[:, None] * [1.0, 0.0, 0.0])


def _bone_rotations(
    rig: Rig, heads: Float[np.ndarray, "bodies bones 3"], tails: Float[np.ndarray, "bodies bones 3"]
) -> Float[np.ndarray, "bodies bones 3 3"]:
    """World rotation of each bone; bones without a target follow their parent."""
    targets: dict[str, Rotation] = {}
    for letter, sign in ((".L", 1.0), (".R", -1.0)):
        targets |= _arm_targets(rig, heads, tails, letter, sign)
        targets |= _leg_targets(rig, heads, letter, sign)
    identity = np.broadcast_to(np.eye(3), (len(heads), 3, 3))
    rotations = np.zeros((*heads.shape[:2], 3, 3))
    for index, (bone, parent) in enumerate(zip(rig.bones, rig.parents, strict=True)):
        if bone in targets:
            rotations[:, index] = targets[bone].as_matrix()
        else:
            rotations[:, index] = identity if parent < 0 else rotations[:, parent]
    return rotations


def _arm_targets(
    rig: Rig,
    heads: Float[np.ndarray, "bodies bones 3"],
    tails: Float[np.ndarray, "bodies bones 3"],
    letter: str,
    sign: float,
) -> dict[str, Rotation]:
    """Arm along +-x, palm down, fingers flat; twist and raise spread over the helper bones."""

    def span(start: str, end: str) -> Float[np.ndarray, "bodies 3"]:
        return heads[:, rig.index(end + letter)] - heads[:, rig.index(start + letter)]

    outward = np.array([sign, 0.0, 0.0])
    upper = _smallest_rotation(span("upperarm01", "lowerarm01"), outward)
    raised = upper.as_rotvec()
    forearm = _smallest_rotation(upper.apply(span("lowerarm01", "wrist")), outward) * upper
    hand = _smallest_rotation(forearm.apply(span("wrist", "finger3-1")), outward) * forearm
    across = hand.apply(span("finger5-1", "finger2-1"))
    twist = np.arctan2(across[:, 1], across[:, 2])
    hand = _about_x(twist) * hand
    targets = {
        "clavicle": Rotation.from_rotvec(0.2 * raised),
        "shoulder01": Rotation.from_rotvec(0.35 * raised),
        "upperarm01": upper,
        "upperarm02": upper,
        "lowerarm01": _about_x(0.35 * twist) * forearm,
        "lowerarm02": _about_x(0.8 * twist) * forearm,
        "wrist": hand,
    }
    targets |= {f"metacarpal{number}": hand for number in range(1, 5)}
    targets |= {f"finger1-{phalanx}": hand for phalanx in range(1, 4)}
    for number in range(2, 6):
        for phalanx in range(1, 4):
            bone = rig.index(f"finger{number}-{phalanx}{letter}")
            along = hand.apply(tails[:, bone] - heads[:, bone])
            flat = along * [1.0, 0.0, 1.0]
            flat /= np.linalg.norm(flat, axis=1, keepdims=True)
            flat[:, 2] *= 0.5  # brings spread fingers closer together
            targets[f"finger{number}-{phalanx}"] = _smallest_rotation(along, flat) * hand
    return {bone + letter: rotation for bone, rotation in targets.items()}


def _leg_targets(
    rig: Rig, heads: Float[np.ndarray, "bodies bones 3"], letter: str, sign: float
) -> dict[str, Rotation]:
    """Legs nearly straight down, feet unturned."""

    def span(start: str, end: str) -> Float[np.ndarray, "bodies 3"]:
        return heads[:, rig.index(end + letter)] - heads[:, rig.index(start + letter)]

    thigh = _smallest_rotation(span("upperleg01", "lowerleg01"), np.array([0.045 * sign, -1.0, 0.01]))
    shin = _smallest_rotation(span("lowerleg01", "foot"), np.array([0.015 * sign, -1.0, -0.05]))
    still = Rotation.from_rotvec(np.zeros((len(heads), 3)))
    targets = {"pelvis": still, "foot": still}
    targets |= {"upperleg01": thigh, "upperleg02": thigh, "lowerleg01": shin, "lowerleg02": shin}
    return {bone + letter: rotation for bone, rotation in targets.items()}


def _bone_places(
    rig: Rig,
    rotations: Float[np.ndarray, "bodies bones 3 3"],
    heads: Float[np.ndarray, "bodies bones 3"],
) -> Float[np.ndarray, "bodies bones 3"]:
    places = np.zeros_like(heads)
    for index, parent in enumerate(rig.parents):
        if parent < 0:
            places[:, index] = heads[:, index]
            continue
        bone = heads[:, index] - heads[:, parent]
        places[:, index] = places[:, parent] + np.einsum("nij,nj->ni", rotations[:, parent], bone)
    return places


def _eyeball(
    helper: Float[np.ndarray, "helper 3"], mirrored: bool
) -> tuple[Float[np.ndarray, "546 3"], Float[np.ndarray, "3"]]:
    """The sphere that fills the helper eye, and its centre."""
    centre = (helper.max(0) + helper.min(0)) / 2
    radius = 0.985 * np.ptp(helper[:, 0]) / 2
    points, _ = unit_eye()
    return points * radius * ([-1, 1, 1] if mirrored else [1, 1, 1]) + centre, centre


def dominant_joint(weights: Float32[np.ndarray, "verts joints"]) -> Int[np.ndarray, " verts"]:
    """The joint with the largest weight at each vertex."""
    return weights.argmax(axis=1)
