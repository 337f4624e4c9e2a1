"""Plants the sliding, hovering feet of captured motion: stance by height and speed, then exact feet.

Source of the idea: foot-skate clean-up in animation; every number here was chosen on the CMU walks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d

from pipelines.synthetic.footsteps import FLAT_RAD, FootMotion, lowest_skin, minimum_jerk, roll_foot
from pipelines.synthetic.inverse_kinematics import apply, blend, fraction_of
from pipelines.synthetic.rig import SIDES, FootRest

_STANDING = 0.8
"""Unrest (m/s) below which a foot stands."""
_HEIGHT_CHARGE = 8.0
"""Metres per second per metre of height above the foot's lowest."""
_FLAT_BAND_RAD = np.deg2rad(3.0)


@dataclass(frozen=True, slots=True, eq=False)
class RawFoot:
    """A captured foot: ankle and rear-foot rotation, world, 30 fps."""

    ankle: Float[np.ndarray, "frames 3"]
    rotation: Float[np.ndarray, "frames 3 3"]


def lock_feet(
    rests: tuple[FootRest, FootRest], raws: tuple[RawFoot, RawFoot], frame_rate_hz: float
) -> tuple[FootMotion, FootMotion]:
    """Both feet of a walk, at rest on the floor during each stance; one of them always stands."""
    left, right = find_stances(rests, raws, frame_rate_hz)
    return (
        lock_foot(rests[0], raws[0], left, frame_rate_hz),
        lock_foot(rests[1], raws[1], right, frame_rate_hz),
    )


def lock_foot(
    rest: FootRest, raw: RawFoot, stance: Bool[np.ndarray, " frames"], frame_rate_hz: float
) -> FootMotion:
    """The same foot, at rest on the floor during each stance, blended in between."""
    pitch, yaw = foot_angles(rest, raw)
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


def find_stances(
    rests: tuple[FootRest, FootRest], raws: tuple[RawFoot, RawFoot], frame_rate_hz: float
) -> tuple[Bool[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """Frames in which each foot stands: its heel or toe base is low and slow.

    A walk has no flight: where neither foot is, the calmer one is taken to stand.
    """
    unrest = [_unrest(rests[side], raws[side], frame_rate_hz) for side in SIDES]
    stances = [_without_flicker(unrest[side] < _STANDING) for side in SIDES]
    calmer = np.asarray(unrest[0] <= unrest[1])
    nobody = ~(stances[0] | stances[1])
    stances = [
        _without_flicker(stances[0] | nobody & calmer),
        _without_flicker(stances[1] | nobody & ~calmer),
    ]
    nobody = ~(stances[0] | stances[1])
    return stances[0] | nobody & calmer, stances[1] | nobody & ~calmer


def _unrest(rest: FootRest, raw: RawFoot, frame_rate_hz: float) -> Float[np.ndarray, " frames"]:
    """Speed (m/s) plus a charge for height, of the calmer of heel and toe base; smoothed."""
    charges = []
    for point in (rest.ball, rest.heel_point):
        place = raw.ankle + apply(raw.rotation, point)
        speed = np.linalg.norm(np.gradient(place, axis=0), axis=1) * frame_rate_hz
        height = np.maximum(place[:, 2] - np.percentile(place[:, 2], 5), 0.0)
        charges.append(speed + _HEIGHT_CHARGE * height)
    return np.asarray(gaussian_filter1d(np.minimum(*charges), 0.8, mode="nearest"))


def _without_flicker(flags: Bool[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Gaps of up to four frames closed, then stances of up to four dropped; ends count as held."""
    padded = np.pad(flags, 5, mode="edge")
    padded = binary_opening(binary_closing(padded, np.ones(5, bool)), np.ones(5, bool))
    return np.asarray(padded[5:-5])


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
