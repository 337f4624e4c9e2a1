"""CMU walks, bent, repeated and mirrored as asked, with feet that do not slide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from pipelines.artifacts import read_npz
from pipelines.bodies.joints import SMPL_FLIP
from pipelines.synthetic.inverse_kinematics import (
    rotmat_about,
    rotmat_to_rotvec,
    rotvec_to_rotmat,
)
from pipelines.synthetic.rig import PELVIS, WORLD_FROM_REST, WORLD_UP

HELD_OUT_SUBJECTS: Final = ("02", "10", "32", "43", "49", "55")
"""CMU subjects seen in the embedded recordings only; the motion prior is trained on the others."""

FRAME_RATE_HZ: Final = 30.0

_FILE = Path(__file__).parent / "mocap" / "cmu_walks.npz"
_CROSS_FADE = 8
_MIN_CYCLE = 24
_MAX_TURN_RAD = 0.7 / FRAME_RATE_HZ
"""Per frame: a captured straight walk bent faster than this would drag its standing feet."""


@dataclass(frozen=True, slots=True, eq=False)
class Gait:
    """A walk without its place: what the body does in its own heading. z up, 30 fps."""

    source: str
    leg_m: float
    """Stretched leg of the body the lengths belong to."""
    velocity_m: Float[np.ndarray, "frames 2"]
    """Pelvis displacement to the next frame, forward and left."""
    turn_rad: Float[np.ndarray, " frames"]
    """Heading change to the next frame."""
    height_m: Float[np.ndarray, " frames"]
    tilt: Float[np.ndarray, "frames 3"]
    """Pelvis rotation vector once the heading is taken away."""
    pose: Float[np.ndarray, "frames 21 3"]
    """Local rotation vectors of the body joints."""

    @property
    def speed_m_s(self) -> float:
        """Mean speed of the pelvis, for a body of `leg_m`."""
        return float(np.linalg.norm(self.velocity_m, axis=1).mean() * FRAME_RATE_HZ)


@dataclass(frozen=True, slots=True)
class WalkEdit:
    """How a captured walk is varied."""

    mirror: bool = False
    speed: float = 1.0
    curvature_per_m: float = 0.0
    """Extra turning to the left per metre walked."""
    curl_per_m: float = 0.0
    """Change of that curvature per metre (a path that bends one way, then the other)."""


def walk_clips(held_out: bool) -> tuple[str, ...]:
    """Names of the captured walks of the held-out (or of all other) subjects."""
    names = [str(name) for name in _archive()["names"]]
    return tuple(name for name in names if (name.split("_")[0] in HELD_OUT_SUBJECTS) == held_out)


def load_gait(name: str) -> Gait:
    """One captured walk."""
    archive = _archive()
    row = [str(known) for known in archive["names"]].index(name)
    rows = slice(archive["first"][row], archive["first"][row] + archive["frames"][row])
    rotvecs = archive["pose"][rows].astype(np.float64).reshape(-1, 22, 3) * (np.pi / 32767)
    pelvis = gaussian_filter1d(archive["pelvis_m"][rows].astype(np.float64), 0.8, axis=0, mode="nearest")
    root = rotvec_to_rotmat(rotvecs[:, PELVIS])
    heading = np.unwrap(np.arctan2(root[:, 1, 2], root[:, 0, 2]))
    level = rotmat_about(WORLD_UP, -heading)
    step = np.diff(pelvis[:, :2], axis=0, append=2 * pelvis[-1:, :2] - pelvis[-2:-1, :2])
    c, s = np.cos(heading), np.sin(heading)
    velocity = np.stack([c * step[:, 0] + s * step[:, 1], -s * step[:, 0] + c * step[:, 1]], axis=1)
    return Gait(
        source=f"CMU {name}",
        leg_m=float(archive["leg_m"]),
        velocity_m=velocity,
        turn_rad=np.diff(heading, append=2 * heading[-1] - heading[-2]),
        height_m=pelvis[:, 2],
        tilt=rotmat_to_rotvec(WORLD_FROM_REST.T @ level @ root),
        pose=gaussian_filter1d(rotvecs[:, 1:], 0.6, axis=0, mode="nearest"),
    )


def edit_gait(gait: Gait, edit: WalkEdit) -> Gait:
    """Mirror left and right, then walk slower or faster."""
    velocity, turn, tilt, pose = gait.velocity_m, gait.turn_rad, gait.tilt, gait.pose
    if edit.mirror:
        flip = np.array(SMPL_FLIP[1:]) - 1
        sign = np.array([1.0, -1.0, -1.0])
        velocity, turn = velocity * np.array([1.0, -1.0]), -turn
        tilt, pose = tilt * sign, pose[:, flip] * sign
    frames = len(turn)
    times = np.arange(int((frames - 1) / edit.speed) + 1) * edit.speed

    def resample(values: Float[np.ndarray, "frames *dims"]) -> Float[np.ndarray, "samples *dims"]:
        low = np.minimum(times.astype(int), frames - 2)
        share = (times - low).reshape(-1, *[1] * (values.ndim - 1))
        return values[low] + share * (values[low + 1] - values[low])

    return Gait(
        gait.source,
        gait.leg_m,
        resample(velocity) * edit.speed,
        resample(turn) * edit.speed,
        resample(gait.height_m),
        resample(tilt),
        resample(pose),
    )


def repeat_gait(gait: Gait, num_frames: int) -> Gait:
    """Go on walking: the best-matching stretch of whole strides is repeated with cross-fades."""
    if len(gait.turn_rad) >= num_frames:
        return gait
    begin, end = _best_cycle(gait)
    cycles = int(np.ceil((num_frames - begin) / (end - begin))) + 1
    index = np.concatenate([np.arange(end), *[np.arange(begin, end)] * cycles])[:num_frames]
    partner, weight = index.copy(), np.zeros(num_frames)
    for cycle in range(cycles + 1):
        last = end + cycle * (end - begin)
        for k in range(_CROSS_FADE):
            row = last - _CROSS_FADE + k
            if row < num_frames:
                partner[row] = begin - _CROSS_FADE + k
                weight[row] = (k + 0.5) / _CROSS_FADE

    def fade(values: Float[np.ndarray, "frames *dims"]) -> Float[np.ndarray, "samples *dims"]:
        w = weight.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - w) * values[index] + w * values[partner]

    return Gait(
        gait.source,
        gait.leg_m,
        fade(gait.velocity_m),
        fade(gait.turn_rad),
        fade(gait.height_m),
        fade(gait.tilt),
        fade(gait.pose),
    )


@dataclass(frozen=True, slots=True, eq=False)
class WalkPath:
    """A gait put on the floor, for a body of a given leg length."""

    pelvis: Float[np.ndarray, "frames 3"]
    local: Float[np.ndarray, "frames 22 3 3"]
    """Local rotations, pelvis first (world from rest axes)."""


def lay_out(gait: Gait, leg_m: float, edit: WalkEdit) -> WalkPath:
    """Integrate heading and place from (0, 0) facing +x; lengths scale with the leg."""
    scale = leg_m / gait.leg_m
    step = scale * gait.velocity_m
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(step, axis=1))[:-1]])
    curvature = edit.curvature_per_m + edit.curl_per_m * walked
    bend = np.clip(curvature * np.linalg.norm(step, axis=1), -_MAX_TURN_RAD, _MAX_TURN_RAD)
    turn = gait.turn_rad + bend
    heading = np.concatenate([[0.0], np.cumsum(turn)[:-1]])
    c, s = np.cos(heading), np.sin(heading)
    moved = np.stack([c * step[:, 0] - s * step[:, 1], s * step[:, 0] + c * step[:, 1]], axis=1)
    place = np.concatenate([np.zeros((1, 2)), np.cumsum(moved, axis=0)[:-1]])
    root = rotmat_about(WORLD_UP, heading) @ WORLD_FROM_REST @ rotvec_to_rotmat(gait.tilt)
    local = np.concatenate([root[:, None], rotvec_to_rotmat(gait.pose)], axis=1)
    return WalkPath(np.concatenate([place, scale * gait.height_m[:, None]], axis=1), local)


def cut(gait: Gait, first: int, num_frames: int) -> Gait:
    """A stretch of a gait."""
    rows = slice(first, first + num_frames)
    return Gait(
        gait.source,
        gait.leg_m,
        gait.velocity_m[rows],
        gait.turn_rad[rows],
        gait.height_m[rows],
        gait.tilt[rows],
        gait.pose[rows],
    )


def _best_cycle(gait: Gait) -> tuple[int, int]:
    """Rows (begin, end) where the body does nearly the same, at least most of a stride apart."""
    features = np.concatenate(
        [
            gait.pose.reshape(len(gait.pose), -1),
            np.gradient(gait.pose, axis=0).reshape(len(gait.pose), -1) * 5,
        ],
        axis=1,
    )
    last = len(features) - 1
    best, found = np.inf, (_CROSS_FADE, last)
    for begin in range(_CROSS_FADE, last - _MIN_CYCLE):
        ends = np.arange(begin + _MIN_CYCLE, last + 1)
        distance = np.linalg.norm(features[ends] - features[begin], axis=1)
        pick = int(distance.argmin())
        if distance[pick] < best:
            best, found = float(distance[pick]), (begin, int(ends[pick]))
    return found


@lru_cache
def _archive() -> dict[str, np.ndarray]:
    return read_npz(_FILE)
