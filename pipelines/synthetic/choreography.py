"""Directing a body by name: stand, step, turn, sit, reach; written as keys, read as a `Performance`.

A choreography keeps the time and where the feet and the pelvis are, so that actions follow each other.
World frame z up, floor z = 0; a heading is the direction faced, radians, 0 = +x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.footsteps import FootPlan, Plant
from pipelines.synthetic.inverse_kinematics import rotmat_about, rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.synthetic.performance import ArmGoal, LegGoal, Performance, bend
from pipelines.synthetic.rig import LEFT, SIDES, WORLD_FROM_REST, WORLD_UP, BodyRig, Side
from pipelines.synthetic.tracks import KeyTrack, sway

SMOOTHING_S = 0.09
HANG = (0.06, 0.2, -0.95)
"""A hanging hand from its shoulder, share of the arm: forward, outward, up."""
ELBOW_BACK = (-0.8, 0.55, -0.2)


@dataclass(frozen=True, slots=True)
class Style:
    """How one person carries himself; drawn once per clip."""

    stance_m: float
    """Half the distance between the ankles."""
    toe_out_rad: float
    crouch: float
    """Share of the standing pelvis height that is given away by bent knees."""
    stoop_rad: float
    sway: float
    """Scale of the natural unrest."""

    @staticmethod
    def draw(rng: np.random.Generator, rig: BodyRig) -> Style:
        """A random but ordinary person."""
        return Style(
            stance_m=rig.leg_m * rng.uniform(0.115, 0.16),
            toe_out_rad=np.deg2rad(rng.uniform(3, 12)),
            crouch=rng.uniform(0.004, 0.014),
            stoop_rad=np.deg2rad(rng.uniform(0, 6)),
            sway=rng.uniform(0.6, 1.2),
        )


@dataclass(slots=True)
class Choreography:
    """Keys of one clip, growing in time."""

    rig: BodyRig
    rng: np.random.Generator
    style: Style
    heading_rad: float = 0.0
    time_s: float = 0.0
    xy: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0)))
    height: KeyTrack = field(default_factory=lambda: KeyTrack((1.0,)))
    """Pelvis above the floor, metres."""
    yaw: KeyTrack = field(default_factory=lambda: KeyTrack((0.0,)))
    lean: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0)))
    """Pelvis pitch forward, roll to the right."""
    spine: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0, 0.0)))
    head: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0, 0.0)))
    recline: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0, 0.0)))
    """Rotation vector applied to the upright pelvis in world axes (lying down)."""
    wrist: tuple[KeyTrack, KeyTrack] = field(
        default_factory=lambda: (KeyTrack((0.0, 0.0, 0.0)), KeyTrack((0.0, 0.0, 0.0)))
    )
    in_world: tuple[KeyTrack, KeyTrack] = field(
        default_factory=lambda: (KeyTrack((0.0,)), KeyTrack((0.0,)))
    )
    hang: tuple[KeyTrack, KeyTrack] = field(default_factory=lambda: (KeyTrack(HANG), KeyTrack(HANG)))
    upright: KeyTrack = field(default_factory=lambda: KeyTrack((1.0,)))
    palm: tuple[KeyTrack, KeyTrack] = field(
        default_factory=lambda: (KeyTrack((0.0, 0.0, -1.0, 0.0)), KeyTrack((0.0, 0.0, -1.0, 0.0)))
    )
    """Direction and weight."""
    elbow: tuple[KeyTrack, KeyTrack] = field(
        default_factory=lambda: (KeyTrack(ELBOW_BACK), KeyTrack(ELBOW_BACK))
    )
    free: tuple[KeyTrack, KeyTrack] = field(default_factory=lambda: (KeyTrack((0.0,)), KeyTrack((0.0,))))
    angles: tuple[KeyTrack, KeyTrack] = field(
        default_factory=lambda: (KeyTrack((0.0,) * 4), KeyTrack((0.0,) * 4))
    )
    unrest: KeyTrack = field(default_factory=lambda: KeyTrack((1.0,)))
    """Scale of the pelvis sway; small where the body rests on furniture."""
    legs_rest: KeyTrack = field(default_factory=lambda: KeyTrack((0.0,)))
    """1 while free legs lie on the bed."""
    support: KeyTrack = field(default_factory=lambda: KeyTrack((0.0,)))
    """1 while the trunk rests on furniture."""
    plans: tuple[FootPlan, FootPlan] = field(default_factory=lambda: (FootPlan(), FootPlan()))
    flat_hands: KeyTrack = field(default_factory=lambda: KeyTrack((0.0, 0.0)))
    """How far each hand is opened flat, 0 = relaxed."""

    @staticmethod
    def begin(
        rig: BodyRig,
        rng: np.random.Generator,
        heading_rad: float = 0.0,
        at: Sequence[float] = (0.0, 0.0),
    ) -> Choreography:
        """Standing at a place with the hands hanging."""
        style = Style.draw(rng, rig)
        self = Choreography(rig, rng, style, heading_rad)
        middle = np.asarray(at, np.float64)
        for side in SIDES:
            x, y = middle + self.direction(0.0, self.outward(side) * style.stance_m)
            yaw = heading_rad + self.outward(side) * style.toe_out_rad
            self.plans[side].plants.append(Plant(x, y, yaw, 0.0, np.inf))
            self.hang[side].key(0.0, np.array(HANG) + rng.normal(0, 0.02, 3))
            self.elbow[side].key(0.0, np.array(ELBOW_BACK) + rng.normal(0, 0.08, 3))
        self.xy.key(0.0, self.over_feet())
        self.height.key(0.0, [self.standing_m])
        self.yaw.key(0.0, [heading_rad])
        self.lean.key(0.0, [0.4 * style.stoop_rad, 0.0])
        self.spine.key(0.0, [style.stoop_rad, 0.0, 0.0])
        self.head.key(0.0, [-0.5 * style.stoop_rad, 0.0, 0.0])
        return self

    @property
    def standing_m(self) -> float:
        """Pelvis height of this person standing at ease."""
        return self.rig.standing_pelvis_m * (1 - self.style.crouch)

    @staticmethod
    def outward(side: Side) -> float:
        """+1 for left, -1 for right: the sign of a body's outside."""
        return 1.0 if side == LEFT else -1.0

    def direction(self, forward: float, left: float) -> Float[np.ndarray, "2"]:
        """World x, y of a vector in the present heading."""
        c, s = np.cos(self.heading_rad), np.sin(self.heading_rad)
        return np.array([c * forward - s * left, s * forward + c * left])

    def foot(self, side: Side) -> Plant:
        """Where a foot stands last."""
        return self.plans[side].plants[-1]

    def over_feet(self, share_left: float = 0.5) -> Float[np.ndarray, "2"]:
        """Where the pelvis stands over its feet, slightly before the ankles."""
        ankles = share_left * self.foot(0).xy + (1 - share_left) * self.foot(1).xy
        return np.asarray(ankles + self.direction(0.035 * self.rig.leg_m, 0.0))

    def wait(self, seconds: float) -> None:
        """Let time pass; every track that is not moved keeps its value."""
        self.time_s += seconds

    def step(
        self,
        side: Side,
        xy: Float[np.ndarray, "2"],
        yaw_rad: float,
        seconds: float,
        lift_m: float = 0.05,
        weight_shift: float = 0.7,
    ) -> None:
        """Lift one foot now and put it down; the pelvis leans over the other foot meanwhile."""
        plan = self.plans[side]
        last = plan.plants[-1]
        shuffle = float(np.linalg.norm(xy - last.xy)) < 0.25
        plan.plants[-1] = Plant(
            last.x_m,
            last.y_m,
            last.yaw_rad,
            last.begin_s,
            self.time_s,
            last.strike_rad,
            last.strike_s,
            push_rad=0.3 if shuffle else 0.75,
            push_s=min(0.16 if shuffle else 0.34, 0.6 * (self.time_s - last.begin_s)),
            lift_m=lift_m,
        )
        begin = self.time_s
        self.time_s += seconds
        forward = float(np.dot(xy - last.xy, self.direction(1.0, 0.0)))
        strike = np.clip(0.9 * (forward - 0.3), 0.0, 0.3)
        plan.plants.append(Plant(float(xy[0]), float(xy[1]), yaw_rad, self.time_s, np.inf, strike, 0.1))
        if begin - self.xy.times_s[-1] > seconds:  # standing still until now
            self.xy.hold(begin - 0.6 * seconds)
        self.xy.key(begin + 0.5 * seconds, self._over_stance(side, weight_shift))
        self.yaw.hold(begin - 0.3 * seconds)

    def _over_stance(self, swinging: Side, weight_shift: float) -> Float[np.ndarray, "2"]:
        """Pelvis at mid-swing: hardly before the standing foot, sideways only partly over it."""
        across, along = (
            self.over_feet(share if swinging == 1 else 1 - share) for share in (weight_shift, 0.9)
        )
        forward = self.direction(1.0, 0.0)
        return np.asarray(across + float(np.dot(along - across, forward)) * forward)

    def settle(self, seconds: float) -> None:
        """Come to stand evenly over both feet, facing the heading."""
        self.time_s += seconds
        self.xy.key(self.time_s, self.over_feet())
        self.yaw.key(self.time_s, [self.heading_rad])

    def walk(self, waypoints: Sequence[tuple[float, float, float]], pace_s: float) -> None:
        """Steps through (x, y, heading) body places, left and right by turns, then feet together."""
        side: Side = self._first_side(waypoints)
        swing_s = 0.76 * pace_s
        for number, (x, y, heading) in enumerate(waypoints):
            self.heading_rad = heading
            place = np.array([x, y]) + self.direction(
                0.0, self.outward(side) * 0.75 * self.style.stance_m
            )
            self._swing_arms(side, swing_s, 0.7 if number > 0 else 0.4)
            self.step(side, place, heading + self.outward(side) * 0.6 * self.style.toe_out_rad, swing_s)
            self.yaw.key(self.time_s, [heading])
            self.wait(pace_s - swing_s)
            side = 1 if side == 0 else 0
        x, y, heading = waypoints[-1]
        place = np.array([x, y]) + self.direction(0.0, self.outward(side) * self.style.stance_m)
        self._swing_arms(side, swing_s, 0.0)
        self.step(side, place, heading + self.outward(side) * self.style.toe_out_rad, swing_s, 0.04)
        self.settle(0.3)

    def turn_in_place(self, angle_rad: float, num_steps: int, pace_s: float) -> None:
        """Turn on the spot, the feet following each other round."""
        centre = 0.5 * (self.foot(0).xy + self.foot(1).xy)
        side: Side = 0 if angle_rad > 0 else 1
        begin_heading = self.heading_rad
        self.head.hold(self.time_s)
        for number in range(num_steps):
            ahead = angle_rad * min(1.0, (number + 1.5) / num_steps)
            self.heading_rad = begin_heading + ahead
            place = centre + self.direction(0.0, self.outward(side) * self.style.stance_m)
            begin = self.time_s
            self.step(
                side,
                place,
                self.heading_rad + self.outward(side) * self.style.toe_out_rad,
                0.75 * pace_s,
            )
            self.yaw.key(self.time_s, [begin_heading + angle_rad * (number + 1) / num_steps])
            self.head.key(begin + 0.5 * pace_s, [self.head.last[0], 0.0, 0.35 * np.sign(angle_rad)])
            self.wait(0.25 * pace_s)
            side = 1 if side == 0 else 0
        self.heading_rad = begin_heading + angle_rad
        place = centre + self.direction(0.0, self.outward(side) * self.style.stance_m)
        self.step(
            side,
            place,
            self.heading_rad + self.outward(side) * self.style.toe_out_rad,
            0.75 * pace_s,
            0.035,
        )
        self.head.key(self.time_s + 0.2, [self.head.last[0], 0.0, 0.0])
        self.settle(0.35)

    def put_hand(
        self,
        side: Side,
        begin_s: float,
        end_s: float,
        wrist: Float[np.ndarray, "3"],
        palm: Sequence[float] = (0.0, 0.0, -1.0),
        palm_weight: float = 0.9,
        flat: bool = True,
    ) -> None:
        """Bring a wrist to a world place, arriving at `end_s`."""
        if self.in_world[side].last[0] < 0.5:
            self.wrist[side].key(begin_s, wrist)
        self.wrist[side].move(begin_s, end_s, wrist)
        self.in_world[side].move(begin_s, end_s, [1.0])
        self.palm[side].move(begin_s, end_s, [*palm, palm_weight])
        hands = self.flat_hands.last.copy()
        hands[side] = 0.8 if flat else 0.0
        self.flat_hands.hold(max(begin_s, (self.flat_hands.times_s or [0.0])[-1]))
        self.flat_hands.key(max(end_s, self.flat_hands.times_s[-1] + 0.05), hands)

    def drop_hand(self, side: Side, begin_s: float, end_s: float) -> None:
        """Let a hand hang again."""
        self.in_world[side].move(begin_s, end_s, [0.0])
        self.palm[side].move(begin_s, end_s, [0.0, 0.0, -1.0, 0.0])
        hands = self.flat_hands.last.copy()
        hands[side] = 0.0
        self.flat_hands.hold(max(begin_s, (self.flat_hands.times_s or [0.0])[-1]))
        self.flat_hands.key(max(end_s, self.flat_hands.times_s[-1] + 0.05), hands)

    def perform(self, num_frames: int, frame_rate_hz: float) -> Performance:
        """The first frames of the clip as goals for every part of the body."""

        def curve(track: KeyTrack, smoothing_s: float = SMOOTHING_S) -> Float[np.ndarray, "frames dims"]:
            return track.evaluate(num_frames, frame_rate_hz, smoothing_s)

        def noise(dims: int) -> Float[np.ndarray, "frames dims"]:
            return self.style.sway * sway(self.rng, num_frames, dims, frame_rate_hz)

        times = np.arange(num_frames) / frame_rate_hz
        unrest = curve(self.unrest)
        pelvis = np.concatenate([curve(self.xy, 0.12), curve(self.height)], axis=1)
        pelvis += unrest * noise(3) * np.array([0.004, 0.004, 0.0015])
        angles = np.concatenate([curve(self.lean), curve(self.yaw, 0.12)], axis=1)
        angles += unrest * noise(3) * np.deg2rad([0.5, 0.5, 1.0])
        upright = rotmat_about(WORLD_UP, angles[:, 2]) @ WORLD_FROM_REST
        upright = upright @ bend(np.concatenate([angles[:, :2], np.zeros((num_frames, 1))], axis=1))
        return Performance(
            pelvis=pelvis,
            pelvis_rotation=_turned(curve(self.recline), upright),
            spine=curve(self.spine) + noise(3) * np.deg2rad([0.8, 0.6, 1.0]),
            head=curve(self.head) + noise(3) * np.deg2rad([1.5, 1.0, 2.5]),
            legs=(self._leg(0, times, curve), self._leg(1, times, curve)),
            arms=(self._arm(0, curve, noise), self._arm(1, curve, noise)),
        )

    def _leg(self, side: Side, times, curve) -> LegGoal:  # type: ignore[no-untyped-def]
        return LegGoal(
            foot=self.plans[side].evaluate(self.rig.feet[side], times),
            free=np.clip(curve(self.free[side])[:, 0], 0, 1),
            angles=curve(self.angles[side]),
        )

    def _arm(self, side: Side, curve, noise) -> ArmGoal:  # type: ignore[no-untyped-def]
        palm = curve(self.palm[side])
        in_world = np.clip(curve(self.in_world[side])[:, 0], 0, 1)
        free = (1 - in_world)[:, None]
        return ArmGoal(
            wrist=curve(self.wrist[side]),
            hang=curve(self.hang[side]) + free * noise(3) * 0.012,
            upright=curve(self.upright)[:, 0],
            in_world=in_world,
            palm=palm[:, :3],
            palm_weight=np.clip(palm[:, 3], 0, 1),
            elbow=curve(self.elbow[side]) + noise(3) * 0.03,
            lift_m=np.zeros(len(palm)),
        )

    def _first_side(self, waypoints: Sequence[tuple[float, float, float]]) -> Side:
        return 0 if self.rng.uniform() < 0.5 or len(waypoints) < 2 else 1

    def _swing_arms(self, side: Side, seconds: float, amount: float) -> None:
        """Bring the hand opposite to the stepping foot forward."""
        for arm in SIDES:
            forward = amount * (0.32 if arm != side else -0.2)
            up = -0.95 + 0.1 * amount
            self.hang[arm].hold(self.time_s - 0.1)
            self.hang[arm].key(self.time_s + 0.9 * seconds, [0.06 + forward, 0.2, up])


def recline_rotvec(heading_rad: float, head_to: float, back_rad: float = 0.0) -> Float[np.ndarray, "3"]:
    """World rotation vector from sitting upright to lying on the back along the bed.

    Args:
        heading_rad: where the seated person faces (out of the bed).
        head_to: +1 = the head comes to lie on his left, -1 = on his right.
        back_rad: how far short of lying flat the trunk stays.
    """
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    forward, left, up = np.array([c, s, 0.0]), np.array([-s, c, 0.0]), WORLD_UP
    flat = np.stack([head_to * forward, head_to * left, up], axis=1)  # rest left, up, forward
    seated = np.stack([left, up, forward], axis=1)
    raised = rotmat_about(flat[:, 0], np.array(back_rad)) @ flat
    return np.asarray(rotmat_to_rotvec(raised @ seated.T))


def _turned(
    recline: Float[np.ndarray, "frames 3"], upright: Float[np.ndarray, "frames 3 3"]
) -> Float[np.ndarray, "frames 3 3"]:
    return rotvec_to_rotmat(recline) @ upright
