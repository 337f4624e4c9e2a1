"""An AMASS tree of a few motions whose floor and contacts are known, with the defects of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from pipelines.artifacts import write_npz

FRAME_RATE_HZ: Final = 120.0
NUM_FRAMES: Final = 300
LIFT_M: Final = 0.37
"""Every motion is this far above where its floor would be at z = 0 for a body of zero `trans`."""
STAND_SLIDE_STAND: Final = "CMU/01/stand_slide_stand"


def write_amass_tree(root: Path) -> None:
    """Write every motion."""
    standing = np.tile(_upright(), (NUM_FRAMES, 1))
    place = np.zeros((NUM_FRAMES, 3))
    place[:, 2] = LIFT_M
    slide = place.copy()
    slide[:, 0] = np.clip(np.arange(NUM_FRAMES) - 100, 0, 100) * 0.01  # 1.2 m/s for 100 frames
    stairs = place.copy()
    stairs[150:, 2] += 0.2
    _write(root / f"{STAND_SLIDE_STAND}_poses.npz", standing, slide)
    _write(root / "KIT/3/stairs_poses.npz", standing, stairs)
    _write(root / "KIT/3/brief_poses.npz", standing[:140], place[:140])
    _write(root / "ACCAD/f/slow_poses.npz", standing, slide, rate=20.0)
    _write(root / "ACCAD/f/broken_poses.npz", standing, np.full_like(place, np.nan))
    _write(root / "ACCAD/f/bytes_poses.npz", standing, place, gender=np.bytes_("female"))
    _write(root / "BioMotionLab_NTroje/rub001/0003_treadmill_slow_poses.npz", standing, slide)
    _write(root / "MPI_HDM05/dg/HDM_dg_07-01_01_120_poses.npz", standing, slide)
    _write(root / "SFU/0005/walk_poses.npz", standing, slide)
    _write(root / "BMLhandball/S01/throw_poses.npz", standing, slide, rate=120.0)
    write_npz(root / "CMU/01/shape.npz", {"betas": np.zeros(16)})


def _upright() -> Float[np.ndarray, "156"]:
    """SMPL+H pose of a body that stands in a z-up world, facing -y."""
    pose = np.zeros(156)
    pose[0] = np.pi / 2
    return pose


def _write(
    path: Path,
    poses: Float[np.ndarray, "frames 156"],
    trans: Float[np.ndarray, "frames 3"],
    *,
    rate: float = FRAME_RATE_HZ,
    gender: Any = "male",
) -> None:
    arrays = {
        "poses": poses,
        "trans": trans,
        "betas": np.linspace(-1, 1, 16),
        "dmpls": np.zeros((len(poses), 8)),
        "gender": np.array(gender),
        "mocap_framerate": np.array(rate),
    }
    write_npz(path, arrays)
