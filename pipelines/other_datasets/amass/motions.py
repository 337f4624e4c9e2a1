"""The files of AMASS: which subsets belong to which split, and what one motion holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float

from pipelines.artifacts import read_npz
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import Gender

Split = Literal["train", "val", "test"]
SUBSETS: Final[Mapping[Split, tuple[str, ...]]] = {
    "train": (
        "CMU",
        "MPI_Limits",
        "TotalCapture",
        "Eyes_Japan_Dataset",
        "KIT",
        "BioMotionLab_NTroje",
        "BMLmovi",
        "EKUT",
        "ACCAD",
    ),
    "val": ("MPI_HDM05", "SFU", "MPI_mosh"),
    "test": ("Transitions_mocap", "HumanEva"),
}
"""Source: HuMoR, section 4 and its data scripts."""
FRAME_RATES_HZ: Final = {
    "BMLhandball/": 240.0,
    "20160930_50032": 59.0,
    "20161014_50033": 59.0,
}
"""True rates of motions whose files tell another, by a part of their name (the last two are DFaust's)."""
_TREADMILL: Final = re.compile(r"^BioMotionLab_NTroje/.*(treadmill|normal)")
_SKATING: Final = re.compile(r"^MPI_HDM05/dg/HDM_dg_07-01")
_POSE_SIZE, _BODY = 156, slice(0, 66)
_KEYS: Final = ("poses", "trans", "betas", "gender", "mocap_framerate")


@dataclass(frozen=True, slots=True, eq=False)
class AmassMotion:
    """One motion as captured: SMPL+H, z up, floor somewhere near z = 0."""

    name: str
    gender: Gender
    betas: Float[np.ndarray, "16"]
    rotvecs: Float[np.ndarray, "frames 22 3"]
    """Root in the world, then 21 body joints relative to their parents; hands are left out."""
    transl: Float[np.ndarray, "frames 3"]
    frame_rate_hz: float


def left_out(name: str) -> str | None:
    """Why a motion takes no part in training whatever it holds; None for the others.

    Args:
        name: path below the root without suffix, parts parted by `/`.
    """
    if _TREADMILL.match(name):
        return "treadmill"
    return "skating" if _SKATING.match(name) else None


def read_motion(path: Path, name: str) -> AmassMotion:
    """Read one `*_poses.npz`.

    Raises:
        DataMissing: no such file.
        DataInvalid: a key is absent or has another shape, or numbers are not finite.
    """
    if not path.is_file():
        raise DataMissing("AMASS motion not found", where=path)
    arrays = read_npz(path)
    missing = [key for key in _KEYS if key not in arrays]
    if missing:
        raise DataInvalid(
            f"AMASS motion lacks {', '.join(missing)}",
            where=path,
            expected=", ".join(_KEYS),
            found=", ".join(sorted(arrays)),
            fix="use the SMPL+H release of AMASS",
        )
    poses, transl = _array(arrays, "poses", path), _array(arrays, "trans", path)
    betas = _array(arrays, "betas", path).reshape(-1)
    if poses.shape != (len(transl), _POSE_SIZE) or transl.shape[1:] != (3,) or len(betas) < 16:
        raise DataInvalid(
            "AMASS motion is not SMPL+H",
            where=path,
            expected=f"poses (frames, {_POSE_SIZE}), trans (frames, 3), betas (16)",
            found=f"poses {poses.shape}, trans {transl.shape}, betas {betas.shape}",
            fix="use the SMPL+H release of AMASS, not SMPL-X",
        )
    return AmassMotion(
        name=name,
        gender=_gender(arrays["gender"], path),
        betas=betas[:16],
        rotvecs=poses[:, _BODY].reshape(-1, 22, 3),
        transl=transl,
        frame_rate_hz=_frame_rate(name, arrays["mocap_framerate"], path),
    )


def _frame_rate(name: str, stored: Any, path: Path) -> float:
    known = [rate for part, rate in FRAME_RATES_HZ.items() if part in name]
    if known:
        return known[0]
    rate = float(np.asarray(stored, np.float64).reshape(-1)[0])
    if not rate > 0:
        raise DataInvalid("AMASS motion has no frame rate", where=path, found=stored)
    return rate


def _gender(stored: Any, path: Path) -> Gender:
    text = np.asarray(stored).reshape(-1)[0]
    text = text.decode() if isinstance(text, bytes) else str(text)
    for gender in ("male", "female", "neutral"):
        if text == gender:
            return gender
    raise DataInvalid("AMASS motion has an unknown gender", where=path, found=text)


def _array(arrays: Mapping[str, Any], key: str, path: Path) -> Float[np.ndarray, "..."]:
    array = np.asarray(arrays[key])
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise DataInvalid(f"AMASS key {key} holds no finite numbers", where=path, found=array.dtype)
    return array.astype(np.float64)
