"""Joint names and index maps between SMPL-X, SMPL+H, OpenPose and HuMoR, by name where a name exists.

Output joints of a body are its kinematic joints, then the 21 `PICKED_NAMES` (mesh vertices), then for
SMPL-X the 51 static face landmarks: SMPL+H 52 + 21 = 73, SMPL-X 55 + 21 + 51 = 127.
"""

from __future__ import annotations

from typing import Final

SMPL_BODY_JOINTS: Final = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)
"""The 22 joints every model shares; indices are equal in SMPL+H and SMPL-X."""

SMPL_PARENTS: Final = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parent of each body joint in the kinematic tree of the model files."""

HUMOR_PARENTS: Final = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 12, 12, 13, 14, 16, 17, 18, 19)
"""HuMoR's table for bone lengths: collars under the neck. Not a kinematic tree.

Source: humor body_model/utils.py.
"""

SMPL_FLIP: Final = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20)
"""Left <-> right partner of each body joint."""

_FINGERS: Final = ("index", "middle", "pinky", "ring", "thumb")
HAND_JOINTS: Final = tuple(
    f"{side}_{finger}{bone}" for side in ("left", "right") for finger in _FINGERS for bone in (1, 2, 3)
)
SMPLH_JOINTS: Final = SMPL_BODY_JOINTS + HAND_JOINTS
SMPLX_JOINTS: Final = (*SMPL_BODY_JOINTS, "jaw", "left_eye", "right_eye", *HAND_JOINTS)


def _parents(joints: tuple[str, ...]) -> tuple[int, ...]:
    def parent(name: str) -> int:
        if name in SMPL_BODY_JOINTS:
            return SMPL_PARENTS[SMPL_BODY_JOINTS.index(name)]
        if name in ("jaw", "left_eye", "right_eye"):
            return joints.index("head")
        bone = int(name[-1])
        return joints.index(f"{name[:-1]}{bone - 1}" if bone > 1 else f"{name.split('_')[0]}_wrist")

    return tuple(parent(name) for name in joints)


SMPLH_PARENTS: Final = _parents(SMPLH_JOINTS)
SMPLX_PARENTS: Final = _parents(SMPLX_JOINTS)

PICKED_NAMES: Final = (
    "nose",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
    "left_thumb_tip",
    "left_index_tip",
    "left_middle_tip",
    "left_ring_tip",
    "left_pinky_tip",
    "right_thumb_tip",
    "right_index_tip",
    "right_middle_tip",
    "right_ring_tip",
    "right_pinky_tip",
)
"""Mesh vertices that smplx appends to the kinematic joints, in its order."""

# fmt: off
PICKED_SMPLH: Final = (
    332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787,
    2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133,
)
"""Vertex of each picked name in the 6890 mesh (smplx/vertex_ids.py)."""

PICKED_SMPLX: Final = (
    9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635,
    5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022,
)
"""Vertex of each picked name in the 10475 mesh (smplx/vertex_ids.py)."""

HUMOR_KEY_VERTICES: Final = (
    4404, 920, 3076, 3169, 823, 4310, 1010, 1085, 4495, 4569, 6615, 3217, 3313, 6713, 6785,
    3383, 6607, 3207, 1241, 1508, 4797, 4122, 1618, 1569, 5135, 5040, 5691, 5636, 5404, 2230,
    2173, 2108, 134, 3645, 6543, 3123, 3024, 4194, 1306, 182, 3694, 4294, 744,
)
"""The 43 SMPL+H vertices of HuMoR's overlap energy; on the stand-in they are arbitrary skin points."""
# fmt: on

BODY25_NAMES: Final = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)
"""OpenPose BODY_25, file order."""

IGNORED_BODY25: Final = (1, 9, 12)
"""Neck and hips: PROX and HuMoR give these keypoints weight zero, for OpenPose and SMPL disagree."""


def _output_index(joints: tuple[str, ...]) -> dict[str, int]:
    index = {name: len(joints) + k for k, name in enumerate(PICKED_NAMES)}
    return index | {name: k for k, name in enumerate(joints) if name not in index} | {"mid_hip": 0}


def _openpose_hand(joints: tuple[str, ...], side: str) -> tuple[int, ...]:
    index = _output_index(joints)
    rows = [index[f"{side}_wrist"]]
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        rows += [index[f"{side}_{finger}{bone}"] for bone in (1, 2, 3)] + [index[f"{side}_{finger}_tip"]]
    return tuple(rows)


BODY25_FROM_SMPLH: Final = tuple(_output_index(SMPLH_JOINTS)[name] for name in BODY25_NAMES)
"""Output joint (of 73) of each BODY_25 keypoint; mid hip is the pelvis."""
BODY25_FROM_SMPLX: Final = tuple(_output_index(SMPLX_JOINTS)[name] for name in BODY25_NAMES)
"""Output joint (of 127) of each BODY_25 keypoint."""
LEFT_HAND_FROM_SMPLX: Final = _openpose_hand(SMPLX_JOINTS, "left")
RIGHT_HAND_FROM_SMPLX: Final = _openpose_hand(SMPLX_JOINTS, "right")
LEFT_HAND_FROM_SMPLH: Final = _openpose_hand(SMPLH_JOINTS, "left")
RIGHT_HAND_FROM_SMPLH: Final = _openpose_hand(SMPLH_JOINTS, "right")
FACE51_FROM_SMPLX: Final = tuple(range(76, 127))
"""OpenPose face 17..67: brows, nose, eyes, lips."""
PROX118_FROM_SMPLX: Final = (
    BODY25_FROM_SMPLX + LEFT_HAND_FROM_SMPLX + RIGHT_HAND_FROM_SMPLX + FACE51_FROM_SMPLX
)
"""Output joint (of 127) of each row of PROX's 118 keypoints."""


def _flip_by_name(names: tuple[str, ...]) -> tuple[int, ...]:
    swap = {"left_": "right_", "right_": "left_"}

    def partner(name: str) -> str:
        prefix = next((side for side in swap if name.startswith(side)), "")
        return swap.get(prefix, "") + name.removeprefix(prefix)

    return tuple(names.index(partner(name)) for name in names)


BODY25_FLIP: Final = _flip_by_name(BODY25_NAMES)
"""Left <-> right partner of each BODY_25 keypoint."""

# fmt: off
FACE51_FLIP: Final = (
    9, 8, 7, 6, 5, 4, 3, 2, 1, 0,  # brows
    10, 11, 12, 13, 18, 17, 16, 15, 14,  # nose
    28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23,  # eyes
    37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38,  # outer lip
    47, 46, 45, 44, 43, 50, 49, 48,  # inner lip
)
"""Left <-> right partner of each static face landmark."""
# fmt: on
PROX118_FLIP: Final = (
    BODY25_FLIP
    + tuple(range(46, 67))
    + tuple(range(25, 46))
    + tuple(67 + partner for partner in FACE51_FLIP)
)
"""Left <-> right partner of each row of PROX's 118 keypoints (hands change places)."""

H36M_NAMES: Final = (
    "pelvis",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "torso",
    "neck",
    "nose",
    "head",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
)
"""Rows of `J_regressor_h36m.npy`."""
H36M14: Final = (3, 2, 1, 4, 5, 6, 16, 15, 14, 11, 12, 13, 8, 10)
"""The 14 rows of the H36M regressor that METRO and SA-HMR use, in their order."""


def body_joint(name: str) -> int:
    """Index of a SMPL body joint by name."""
    return SMPL_BODY_JOINTS.index(name)
