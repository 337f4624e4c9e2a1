"""BVH: skeleton and motion in one file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.mocap.motion import CapturedMotion

CMU_METRES_PER_UNIT: Final = 0.0254 / 0.45
"""CMU's files keep the lengths of their ASF skeletons; BVH itself has no unit."""


@dataclass(slots=True)
class _Joint:
    name: str
    parent: int
    offset: list[float] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    end: list[float] | None = None
    """Offset of its first child or end site: the bone that turns with it."""


def read_bvh(path: Path, metres_per_unit: float = CMU_METRES_PER_UNIT) -> CapturedMotion:
    """Read a BVH file; a joint is taken for the bone to its first child.

    Raises:
        DataMissing: no such file.
        DataInvalid: not understood.
    """
    if not path.is_file():
        raise DataMissing("motion capture file not found", where=path)
    head, separator, tail = path.read_text(encoding="latin1").partition("MOTION")
    try:
        joints = _hierarchy(head.split())
        words = tail.split()
        count, interval_s = (
            int(words[words.index("Frames:") + 1]),
            float(words[words.index("Time:") + 1]),
        )
        values = np.array(words[words.index("Time:") + 2 :], dtype=np.float64).reshape(count, -1)
        if values.shape[1] != sum(len(joint.channels) for joint in joints) or not interval_s > 0:
            raise ValueError(f"{values.shape[1]} numbers a frame")
        rotations, root = _pose(joints, values)
    except (ValueError, IndexError) as error:
        raise DataInvalid(
            f"BVH file is not understood ({error})",
            where=path,
            expected="HIERARCHY, then MOTION with as many numbers a frame as there are channels",
            found=None if separator else "no MOTION",
        ) from None
    bones = [np.zeros(3) if joint.parent < 0 else np.array(joint.end or [0, 0, 0]) for joint in joints]
    return CapturedMotion(
        names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        zero_bone_m=np.stack(bones).astype(np.float64) * metres_per_unit,
        zero_start_m=np.array([joint.offset for joint in joints], np.float64) * metres_per_unit,
        rotations=rotations,
        root_m=root * metres_per_unit,
        frame_rate_hz=1 / interval_s,
    )


def _hierarchy(words: list[str]) -> list[_Joint]:
    joints: list[_Joint] = []
    stack: list[int] = []
    position = 1 if words[:1] == ["HIERARCHY"] else len(words)
    opened = -1
    while position < len(words):
        word = words[position]
        if word in ("ROOT", "JOINT"):
            joints.append(_Joint(words[position + 1], stack[-1] if stack else -1))
            opened, position = len(joints) - 1, position + 2
        elif word == "End":
            opened, position = -1, position + 2
        elif word == "{":
            stack.append(opened)
            position += 1
        elif word == "}":
            stack.pop()
            position += 1
        elif word == "OFFSET":
            _place(joints, stack, [float(value) for value in words[position + 1 : position + 4]])
            position += 4
        elif word == "CHANNELS":
            count = int(words[position + 1])
            joints[stack[-1]].channels = words[position + 2 : position + 2 + count]
            position += 2 + count
        else:
            raise ValueError(f"{word} in the hierarchy")
    if not joints:
        raise ValueError("no HIERARCHY")
    return joints


def _place(joints: list[_Joint], stack: list[int], offset: list[float]) -> None:
    """Keep an offset with its joint, and as the end of its parent's bone if it is the first."""
    is_end_site = stack[-1] < 0
    owner = stack[-2] if is_end_site else joints[stack[-1]].parent
    if not is_end_site:
        joints[stack[-1]].offset = offset
    if owner >= 0 and joints[owner].end is None:
        joints[owner].end = offset


def _pose(
    joints: list[_Joint], values: Float[np.ndarray, "frames channels"]
) -> tuple[Float[np.ndarray, "frames joints 3 3"], Float[np.ndarray, "frames 3"]]:
    rotations = np.zeros((len(values), len(joints), 3, 3))
    root = np.zeros((len(values), 3))
    column = 0
    for row, joint in enumerate(joints):
        own = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        turns = [k for k, name in enumerate(joint.channels) if name.endswith("rotation")]
        axes = "".join(joint.channels[k][0] for k in turns)
        local = np.broadcast_to(np.eye(3), (len(values), 3, 3))
        if turns:  # channels are listed outermost first: turns about moving axes
            local = Rotation.from_euler(axes, own[:, turns], degrees=True).as_matrix()
        rotations[:, row] = local if joint.parent < 0 else rotations[:, joint.parent] @ local
        if joint.parent < 0:
            moves = {name[0]: k for k, name in enumerate(joint.channels) if name.endswith("position")}
            root = np.stack([own[:, moves[axis]] for axis in "XYZ"], axis=1)
    return rotations, root
