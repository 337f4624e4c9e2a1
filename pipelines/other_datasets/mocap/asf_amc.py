"""Acclaim's two files: ASF tells the skeleton, AMC the angles of every frame.

Source: the facts of the body-models page, section 10: lengths times 2.54 cm / 0.45; a bone turns by
C M inverse(C), C from `axis`, both of Euler angles about x, then y, then z.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from pipelines.errors import DataInvalid, DataMissing
from pipelines.other_datasets.mocap.motion import CapturedMotion

INCH_M: Final = 0.0254
_ROOT: Final = "root"
_ROOT_ORDER: Final = ("TX", "TY", "TZ", "RX", "RY", "RZ")
_TURNS: Final = ("rx", "ry", "rz")


@dataclass(frozen=True, slots=True, eq=False)
class AsfBone:
    """One bone of a skeleton."""

    name: str
    parent: str
    zero_bone_m: Float[np.ndarray, "3"]
    axis: Float[np.ndarray, "3 3"]
    """C: the bone's own axes in the zero pose."""
    turns: tuple[str, ...]
    """Angles that AMC tells of it, in their order; empty for a bone that never turns."""


def read_asf_amc(asf: Path, amc: Path, frame_rate_hz: float = 120.0) -> CapturedMotion:
    """Read a skeleton and one of its motions.

    Args:
        asf: the skeleton.
        amc: the motion.
        frame_rate_hz: neither file tells it; CMU's is 120 (60 for a few subjects).

    Raises:
        DataMissing: a file is absent.
        DataInvalid: a file is not understood, or the motion is of another skeleton.
    """
    bones, metres = read_asf(asf)
    frames = list(_amc_frames(amc, bones))
    if not frames:
        raise DataInvalid("AMC file holds no frame", where=amc)
    root = np.stack([frame[_ROOT] for frame in frames])
    names = (_ROOT, *bones)
    parents = (-1, *(names.index(bone.parent) for bone in bones.values()))
    rotations = np.zeros((len(frames), len(names), 3, 3))
    rotations[:, 0] = _turned(root[:, 3:])
    for row, bone in enumerate(bones.values(), 1):
        angles = np.zeros((len(frames), 3))
        for column, turn in enumerate(bone.turns):
            angles[:, _TURNS.index(turn)] = [frame[bone.name][column] for frame in frames]
        local = bone.axis @ _turned(angles) @ bone.axis.T
        rotations[:, row] = rotations[:, parents[row]] @ local
    zero_bone_m = np.stack([np.zeros(3), *(bone.zero_bone_m for bone in bones.values())])
    return CapturedMotion(
        names=names,
        parents=parents,
        zero_bone_m=zero_bone_m,
        zero_start_m=np.stack([np.zeros(3), *(zero_bone_m[parent] for parent in parents[1:])]),
        rotations=rotations,
        root_m=root[:, :3] * metres,
        frame_rate_hz=frame_rate_hz,
    )


def read_asf(path: Path) -> tuple[dict[str, AsfBone], float]:
    """Bones, parents before children, and metres per unit of length.

    Raises:
        DataMissing: no such file.
        DataInvalid: not understood.
    """
    sections = _sections(path)
    try:
        units = dict(line.split()[:2] for line in sections["units"])
        order = next(line.split()[1:] for line in sections[_ROOT] if line.split()[0] == "order")
        metres = INCH_M / float(units["length"])
        if tuple(order) != _ROOT_ORDER or units.get("angle", "deg") != "deg":
            raise ValueError(f"root order {' '.join(order)}, angle {units.get('angle')}")
        parents = _hierarchy(sections["hierarchy"])
        found = [_bone(block, parents, metres) for block in _blocks(sections["bonedata"])]
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise DataInvalid(
            f"ASF file is not understood ({type(error).__name__}: {error})",
            where=path,
            expected=f"units in degrees, root order {' '.join(_ROOT_ORDER)}, bonedata, hierarchy",
        ) from None
    bones = {bone.name: bone for bone in found}
    return {name: bones[name] for name in parents if name in bones}, metres


def _sections(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise DataMissing("motion capture file not found", where=path)
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for raw in path.read_text(encoding="latin1").splitlines():
        line = raw.split("#")[0].strip()
        if line.startswith(":"):
            current = sections.setdefault(line[1:].split()[0].lower(), [])
        elif line:
            current.append(line)
    return sections


def _blocks(lines: list[str]) -> Iterator[dict[str, list[str]]]:
    block: dict[str, list[str]] = {}
    for line in lines:
        key, *values = line.split()
        if key == "begin":
            block = {}
        elif key == "end":
            yield block
        else:
            block.setdefault(key, values)  # lines after `limits` hold further pairs


def _bone(block: Mapping[str, list[str]], parents: Mapping[str, str], metres: float) -> AsfBone:
    name = block["name"][0]
    direction = np.array([float(value) for value in block["direction"]])
    *angles, order = block["axis"]
    if order != "XYZ":
        raise ValueError(f"axis order {order} of {name}")
    return AsfBone(
        name=name,
        parent=parents[name],
        zero_bone_m=direction * float(block["length"][0]) * metres,
        axis=_turned(np.array([[float(angle) for angle in angles]]))[0],
        turns=tuple(turn for turn in block.get("dof", ()) if turn in _TURNS),
    )


def _hierarchy(lines: list[str]) -> dict[str, str]:
    """Child -> parent, parents before children."""
    pairs = [line.split() for line in lines if line not in ("begin", "end")]
    return {child: parent for parent, *children in pairs for child in children}


def _amc_frames(
    path: Path, bones: Mapping[str, AsfBone]
) -> Iterator[dict[str, Float[np.ndarray, " numbers"]]]:
    if not path.is_file():
        raise DataMissing("motion capture file not found", where=path)
    wanted = {_ROOT: 6, **{name: len(bone.turns) for name, bone in bones.items() if bone.turns}}
    frame: dict[str, Float[np.ndarray, " numbers"]] = {}
    for number, line in enumerate(path.read_text(encoding="latin1").splitlines(), 1):
        name, *words = line.split() or [""]
        if name.isdigit() and not words:
            if frame:
                yield _whole(frame, wanted, f"{path}, before line {number}")
            frame = {}
        elif name in wanted:
            frame[name] = np.array([float(word) for word in words])
    if frame:
        yield _whole(frame, wanted, str(path))


def _whole(
    frame: dict[str, Float[np.ndarray, " numbers"]], wanted: Mapping[str, int], where: str
) -> dict[str, Float[np.ndarray, " numbers"]]:
    wrong = [name for name, count in wanted.items() if len(frame.get(name, ())) != count]
    if wrong:
        raise DataInvalid(
            "AMC frame does not fit the skeleton",
            where=where,
            expected=f"{wanted[wrong[0]]} numbers of {wrong[0]}",
            found=len(frame.get(wrong[0], ())),
            fix="take the ASF file of the same subject",
        )
    return frame


def _turned(degrees: Float[np.ndarray, "frames 3"]) -> Float[np.ndarray, "frames 3 3"]:
    """Turn about the fixed x, then y, then z axis."""
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
