"""Plants the sliding, hovering feet of captured motion: stance by height and speed, then exact feet.

Source of the idea: foot-skate clean-up in animation; every number here was chosen on the CMU walks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_closing, binary_opening

from pipelines.synthetic.footsteps import FLAT_RAD, FootMotion, lowest_skin, minimum_jerk, roll_foot
from pipelines.synthetic.inverse_kinematics import apply, blend, fraction_of
from pipelines.synthetic.rig import FootRest

_LOW_M = 0.045
_SLOW_M_S = 0.45
_FLAT_BAND_RAD = np.deg2rad(3.0)


@dataclass(frozen=True, slots=True, eq=False)
class RawFoot:
    """A captured foot: ankle and rear-foot rotation, world, 30 fps."""

    ankle: Float[np.ndarray, "frames 3"]
    rotation: Float[np.ndarray, "frames 3 3"]


def lock_foot(rest: FootRest, raw: RawFoot, frame_rate_hz: float) -> FootMotion:
    """The same foot, at rest on the floor during each stance, blended in between."""
    pitch, yaw = foot_angles(rest, raw)
    stance = find_stance(rest, raw, frame_rate_hz)
    spans = _spans(stance)
    if not spans:
        return _free_foot(rest, raw)
    level = pitch - _flat_pitch(pitch, stance, frame_rate_hz)
    ankle, rotation, toes = raw.ankle.copy(), raw.rotation.copy(), raw.rotation.copy()
    toe_planted, heel_planted = np.zeros_like(stance), np.zeros_like(stance)
    for first, last in spans:
        rows = slice(first, last + 1)
        rolled = _roll_in_stance(level[rows], from_start=first == 0)
        foot = _plant(rest, raw, rows, rolled, yaw[rows])
        ankle[rows], rotation[rows], toes[rows] = foot.ankle, foot.ankle_rotation, foot.toe_rotation
        toe_planted[rows], heel_planted[rows] = foot.toe_planted, foot.heel_planted
    _blend_swings(raw, spans, ankle, rotation, toes, rest)
    motion = FootMotion(ankle, rotation, toes, toe_planted, heel_planted)
    ankle[:, 2] -= np.minimum(lowest_skin(rest, ankle, rotation, toes), 0.0)
    return motion


def foot_angles(
    rest: FootRest, raw: RawFoot
) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """Heel raised > 0 and direction of the toes; the foot at rest on the floor has pitch 0."""
    forward = raw.rotation @ rest.level.T @ np.array([0.0, 0.0, 1.0])
    pitch = np.arcsin(np.clip(-forward[:, 2], -1, 1))
    return pitch, np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))


def find_stance(rest: FootRest, raw: RawFoot, frame_rate_hz: float) -> Bool[np.ndarray, " frames"]:
    """Frames in which the heel or the toe base is low and slow."""
    stance = np.zeros(len(raw.ankle), dtype=bool)
    for point in (rest.ball, rest.heel_point):
        place = raw.ankle + apply(raw.rotation, point)
        velocity = np.gradient(place, axis=0) * frame_rate_hz
        low = place[:, 2] < np.percentile(place[:, 2], 5) + _LOW_M
        slow = np.linalg.norm(velocity[:, :2], axis=1) < _SLOW_M_S
        stance |= low & slow & (np.abs(velocity[:, 2]) < 0.6)
    ends_filled = np.pad(stance, 4, mode="edge")
    ends_filled = binary_opening(binary_closing(ends_filled, np.ones(4)), np.ones(5))
    return np.asarray(ends_filled[4:-4])


def _flat_pitch(
    pitch: Float[np.ndarray, " frames"], stance: Bool[np.ndarray, " frames"], frame_rate_hz: float
) -> float:
    """Pitch the capture gives a flat foot: that of the stance frames in which the foot hardly turns."""
    rate = np.abs(np.gradient(pitch)) * frame_rate_hz
    calm = stance & (rate <= np.quantile(rate[stance], 0.4))
    return float(np.median(pitch[calm]))


def _roll_in_stance(
    level: Float[np.ndarray, " frames"], from_start: bool
) -> Float[np.ndarray, " frames"]:
    """Toes come down, foot lies flat, heel goes up: exactly zero in between, monotone on both sides."""
    share = minimum_jerk(np.clip((np.abs(level) - _FLAT_BAND_RAD) / (2 * _FLAT_BAND_RAD), 0, 1))
    rolled = level * share
    order = np.arange(len(level))
    turn = 0 if from_start else len(level) // 3
    leaving = np.maximum.accumulate(np.where(order >= turn, np.maximum(rolled, 0.0), 0.0))
    if from_start:
        return np.asarray(leaving)
    landing = np.where(order < turn, np.minimum(rolled, 0.0), 0.0)
    return np.asarray(leaving + np.minimum.accumulate(landing[::-1])[::-1])


def _plant(
    rest: FootRest,
    raw: RawFoot,
    rows: slice,
    pitch: Float[np.ndarray, " frames"],
    yaw: Float[np.ndarray, " frames"],
) -> FootMotion:
    """One stance at one place: where the raw foot's pivot was, on average."""
    frames = len(pitch)
    still = np.zeros(frames, dtype=bool)
    heading = np.full(frames, np.median(yaw))
    template = roll_foot(rest, np.zeros((frames, 3)), heading, pitch, still)
    weight = np.where(np.abs(pitch) < FLAT_RAD, 1.0, 0.15)[:, None]
    offset = (weight * (raw.ankle[rows] - template.ankle)).sum(axis=0) / weight.sum()
    place = np.repeat([[offset[0], offset[1], 0.0]], frames, axis=0)
    return roll_foot(rest, place, heading, pitch, still)


def _blend_swings(
    raw: RawFoot,
    spans: list[tuple[int, int]],
    ankle: Float[np.ndarray, "frames 3"],
    rotation: Float[np.ndarray, "frames 3 3"],
    toes: Float[np.ndarray, "frames 3 3"],
    rest: FootRest,
) -> None:
    frames = len(ankle)
    swings = [(before[1], after[0]) for before, after in pairwise(spans)]
    swings += [(spans[-1][1], frames)] if spans[-1][1] < frames - 1 else []
    swings += [(-1, spans[0][0])] if spans[0][0] > 0 else []
    for begin, end in swings:
        rows = np.arange(begin + 1, end)
        share = minimum_jerk((rows - begin) / (end - begin))
        left = begin if begin >= 0 else end
        right = end if end < frames else begin
        shift = ankle[[left, right]] - raw.ankle[[left, right]]
        turn = rotation[[left, right]] @ np.swapaxes(raw.rotation[[left, right]], -1, -2)
        ankle[rows] = raw.ankle[rows] + shift[0] + share[:, None] * (shift[1] - shift[0])
        between = blend(np.repeat(turn[:1], len(rows), 0), np.repeat(turn[1:], len(rows), 0), share)
        rotation[rows] = between @ raw.rotation[rows]
        bend = rotation[left].T @ toes[left] if begin >= 0 else np.eye(3)
        fade = 1 - minimum_jerk(np.clip((rows - begin) / 8, 0, 1))
        toes[rows] = rotation[rows] @ fraction_of(np.repeat(bend[None], len(rows), 0), fade)


def _free_foot(rest: FootRest, raw: RawFoot) -> FootMotion:
    ankle = raw.ankle.copy()
    ankle[:, 2] -= np.minimum(lowest_skin(rest, ankle, raw.rotation, raw.rotation), 0.0)
    nowhere = np.zeros(len(ankle), dtype=bool)
    return FootMotion(ankle, raw.rotation, raw.rotation, nowhere, nowhere)


def _spans(flags: Bool[np.ndarray, " frames"]) -> list[tuple[int, int]]:
    """First and last row of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
