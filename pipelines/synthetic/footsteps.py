"""Feet that stand still exactly where they are planted, and roll and swing in between.

A foot is two rigid pieces, rear foot and toes. While it is planted one of three things holds: it lies
flat; the heel has lifted and it turns about the toe base, toes flat; or only the heel has landed and it
turns about the heel. World frame, z up, floor z = 0, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import PchipInterpolator

from pipelines.synthetic.inverse_kinematics import apply, rotmat_about
from pipelines.synthetic.rig import REST_LEFT, WORLD_FROM_REST, WORLD_UP, FootRest

FLAT_RAD = np.deg2rad(0.3)
"""A piece counts as planted while the foot is turned off it by no more than this."""
_EARLY = 0.75
"""A swinging foot gains speed early (1 = symmetric), since the body has moved on before it."""
_TOE_ROLL_LIMIT_RAD = np.deg2rad(50.0)


@dataclass(frozen=True, slots=True, eq=False)
class FootMotion:
    """One foot over time."""

    ankle: Float[np.ndarray, "frames 3"]
    ankle_rotation: Float[np.ndarray, "frames 3 3"]
    """World from rest axes."""
    toe_rotation: Float[np.ndarray, "frames 3 3"]
    toe_planted: Bool[np.ndarray, " frames"]
    """Toe base and toes at rest on the floor."""
    heel_planted: Bool[np.ndarray, " frames"]
    """Whole rear foot at rest on the floor; not while it rolls over the heel at landing."""


@dataclass(frozen=True, slots=True)
class Plant:
    """The foot stands here; x, y is the ankle joint over the floor when the foot lies flat."""

    x_m: float
    y_m: float
    yaw_rad: float
    begin_s: float
    end_s: float
    strike_rad: float = 0.0
    """How far the toes are raised at landing (the foot rolls down over `strike_s`)."""
    strike_s: float = 0.1
    push_rad: float = 0.35
    """How far the heel is raised at take-off (it rises over `push_s`)."""
    push_s: float = 0.15
    lift_m: float = 0.04
    """Extra height at the middle of the swing that follows."""

    @property
    def xy(self) -> Float[np.ndarray, "2"]:
        """Ankle over the floor."""
        return np.array([self.x_m, self.y_m])


@dataclass(slots=True)
class FootPlan:
    """Where one foot stands, in order of time; it swings between one plant's end and the next begin."""

    plants: list[Plant] = field(default_factory=list)

    def evaluate(self, rest: FootRest, times_s: Float[np.ndarray, " frames"]) -> FootMotion:
        """The foot at the given times."""
        pitch = self._pitch(times_s)
        yaw, ball, swinging = self._place(rest, times_s)
        return roll_foot(rest, ball, yaw, pitch, swinging)

    def _pitch(self, times_s: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
        """Heel raised > 0, toes raised < 0."""
        keys: dict[float, float] = {}
        for number, plant in enumerate(self.plants):
            last = number == len(self.plants) - 1
            strike_s = min(plant.strike_s, 0.4 * (plant.end_s - plant.begin_s))
            push_s = min(plant.push_s, 0.5 * (plant.end_s - plant.begin_s))
            keys[plant.begin_s] = -plant.strike_rad if number else 0.0
            keys[plant.begin_s + strike_s] = 0.0
            if not last:
                keys[plant.end_s - push_s] = 0.0
                keys[plant.end_s] = plant.push_rad
                gap = self.plants[number + 1].begin_s - plant.end_s
                keys[plant.end_s + 0.25 * gap] = 0.8 * plant.push_rad
        times = sorted(keys)
        if len(times) < 2:
            return np.zeros(len(times_s))
        curve = PchipInterpolator(times, [keys[t] for t in times])
        return np.asarray(curve(np.clip(times_s, times[0], times[-1])))

    def _place(
        self, rest: FootRest, times_s: Float[np.ndarray, " frames"]
    ) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, "frames 3"], Bool[np.ndarray, " frames"]]:
        """Yaw, and the flat foot's ankle over the floor with the swing's lift as its height."""
        yaw = np.full(len(times_s), self.plants[0].yaw_rad)
        place = np.zeros((len(times_s), 3))
        place[:, :2] = self.plants[0].xy
        swinging = np.zeros(len(times_s), dtype=bool)
        for before, after in pairwise(self.plants):
            gap = max(after.begin_s - before.end_s, 1e-6)
            s = np.clip((times_s - before.end_s) / gap, 0.0, 1.0)
            ease = minimum_jerk(s**_EARLY)
            inside = times_s > before.end_s
            turn = (after.yaw_rad - before.yaw_rad + np.pi) % (2 * np.pi) - np.pi
            yaw[inside] = before.yaw_rad + (ease * turn)[inside]
            place[inside, :2] = (before.xy + ease[:, None] * (after.xy - before.xy))[inside]
            place[inside, 2] = (before.lift_m * _bump(s))[inside]
            swinging |= (s > 0) & (s < 1)
        return yaw, place, swinging


def minimum_jerk(s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """0 to 1 with zero velocity and acceleration at both ends."""
    return s**3 * (10 - 15 * s + 6 * s**2)


def roll_foot(
    rest: FootRest,
    place: Float[np.ndarray, "frames 3"],
    yaw: Float[np.ndarray, " frames"],
    pitch: Float[np.ndarray, " frames"],
    swinging: Bool[np.ndarray, " frames"],
) -> FootMotion:
    """Turn a flat foot about its toe base (pitch > 0) or its heel (pitch < 0).

    Args:
        rest: the foot.
        place: ankle over the floor of the foot lying flat (x, y) and height added to it (z).
        yaw: direction of the toes, 0 = +x.
        pitch: heel raised > 0, toes raised < 0, radians.
        swinging: True where neither piece touches the floor by plan.
    """
    heading = rotmat_about(WORLD_UP, yaw) @ WORLD_FROM_REST
    flat = heading @ rest.level
    flat_ankle = place + np.array([0.0, 0.0, rest.ankle_height_m])
    rear = heading @ rotmat_about(REST_LEFT, pitch) @ rest.level
    raised = pitch >= 0
    pivot = np.where(raised[:, None], rest.ball, rest.heel_point)
    ankle = flat_ankle + apply(flat, pivot) - apply(rear, pivot)
    toe_share = np.clip(pitch, 0.0, _TOE_ROLL_LIMIT_RAD) * _toe_bend(swinging, pitch)
    toes = rear @ rest.level.T @ rotmat_about(REST_LEFT, -toe_share) @ rest.level
    lowest = lowest_skin(rest, ankle, rear, toes)
    # The heel is round and toes straighten in the swing: the lowest skin point decides the height.
    rolling = ~swinging & (pitch < 0)
    ankle[:, 2] -= np.where(rolling, lowest, np.minimum(lowest, 0.0) * swinging)
    return FootMotion(
        ankle,
        rear,
        toes,
        toe_planted=~swinging & (pitch > -FLAT_RAD),
        heel_planted=~swinging & (np.abs(pitch) < FLAT_RAD),
    )


def lowest_skin(
    rest: FootRest,
    ankle: Float[np.ndarray, "frames 3"],
    rear: Float[np.ndarray, "frames 3 3"],
    toes: Float[np.ndarray, "frames 3 3"],
) -> Float[np.ndarray, " frames"]:
    """Height of the lowest point of the two rigid pieces."""
    ball = ankle + apply(rear, rest.ball)
    rear_low = ankle[:, 2] + (rest.rear @ rear[:, 2, :].T).min(axis=0)
    toe_low = ball[:, 2] + (rest.toes @ toes[:, 2, :].T).min(axis=0)
    return np.asarray(np.minimum(rear_low, toe_low))


def _bump(s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """0 at both ends with zero slope and curvature, 1 in the middle."""
    return 64 * (s * (1 - s)) ** 3


def _toe_bend(
    swinging: Bool[np.ndarray, " frames"], pitch: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """1 while the toes stay flat on the floor; they straighten over the first frames of a swing."""
    since = np.zeros(len(pitch))
    for frame in range(1, len(pitch)):
        since[frame] = since[frame - 1] + 1 if swinging[frame] else 0
    return np.asarray(1 - minimum_jerk(np.clip(since / 8, 0, 1)))
