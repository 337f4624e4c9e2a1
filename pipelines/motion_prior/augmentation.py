"""Making many motions out of few, so that the priors learn how bodies move and not only these clips.

Mirror, other speed, backwards in time, arms and head of another clip, smooth random turns of the
joints and a wandering root. Contact labels of a changed clip are found anew from speed and height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation, Slerp

from pipelines.config import Settings
from pipelines.motion_prior.training_data import FRAME_RATE_HZ, TrainingClip, mirrored

_UPPER = (12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
"""Neck, head and both arms, exchanged together."""
_TURN_LIMIT_RAD = (
    (0.15, (3, 6, 9)),
    (0.25, (1, 2, 4, 5, 7, 8, 12, 15)),
    (0.45, (16, 17, 18, 19)),
    (0.15, (10, 11, 13, 14, 20, 21)),
)
"""Standard deviation of the random turns: spine; legs and head; arms; toes, collars and wrists."""


class AugmentationSettings(Settings):
    """How many copies of each clip, and how they are changed."""

    copies: int = 2
    """Changed copies per clip, beside the clip itself."""
    mirror_probability: float = 0.5
    reverse_probability: float = 0.3
    speed_range: tuple[float, float] = (0.75, 1.35)
    exchange_probability: float = 0.4
    wander_probability: float = 0.4
    """Of random turns and a wandering root."""
    wandering_joints: float = 0.35
    """Share of the joints that wander in one clip; all at once would need more than 48 latents."""
    wander_scale: float = 1.0
    root_tilt_rad: float = 0.15
    root_turn_rad: float = 0.6
    root_shift_m: float = 0.12


def augmented(
    clips: Sequence[TrainingClip], settings: AugmentationSettings, seed: int
) -> list[TrainingClip]:
    """The clips and `copies` changed versions of each; equal arguments give equal clips."""
    rng = np.random.default_rng([seed, 7])
    result = list(clips)
    for clip in clips:
        for copy in range(settings.copies):
            changed = _changed(clip, clips, settings, rng)
            result.append(replace(changed, name=f"{clip.name} #{copy + 1}"))
    return result


def resampled(clip: TrainingClip, speed: float) -> TrainingClip:
    """The same motion `speed` times as fast; negative = backwards."""
    frames = len(clip.transl)
    times = np.arange(0, frames - 1, abs(speed))
    if speed < 0:
        times = frames - 1 - times
    rotvecs = np.stack(
        [
            Slerp(np.arange(frames), Rotation.from_rotvec(clip.rotvecs[:, joint]))(times).as_rotvec()
            for joint in range(clip.rotvecs.shape[1])
        ],
        axis=1,
    )
    low = np.minimum(times.astype(int), frames - 2)
    share = (times - low)[:, None]
    transl = clip.transl[low] + share * (clip.transl[low + 1] - clip.transl[low])
    return replace(clip, rotvecs=rotvecs, transl=transl, contacts=None)


def with_upper_body_of(clip: TrainingClip, donor: TrainingClip) -> TrainingClip:
    """Neck, head and arms of another motion (its beginning; repeated to and fro if it is shorter)."""
    frames, length = len(clip.transl), len(donor.transl)
    phase = np.arange(frames) % (2 * length - 2)
    rows = np.where(phase < length, phase, 2 * length - 2 - phase)
    rotvecs = clip.rotvecs.copy()
    rotvecs[:, _UPPER] = donor.rotvecs[rows][:, _UPPER]
    return replace(clip, rotvecs=rotvecs, contacts=None)


def wandering(
    clip: TrainingClip, settings: AugmentationSettings, rng: np.random.Generator
) -> TrainingClip:
    """Smooth random turns of some joints and of the root, and a smooth random shift of the root."""
    frames = len(clip.transl)
    strength = settings.wander_scale * rng.uniform(0, 1)
    rotvecs = clip.rotvecs.copy()
    for limit, joints in _TURN_LIMIT_RAD:
        for joint in joints:
            if rng.random() > settings.wandering_joints:
                continue
            turn = Rotation.from_rotvec(strength * limit * _smooth_noise(rng, frames))
            rotvecs[:, joint] = (Rotation.from_rotvec(rotvecs[:, joint]) * turn).as_rotvec()
    scale = np.array([settings.root_tilt_rad, settings.root_tilt_rad, settings.root_turn_rad])
    turn = Rotation.from_rotvec(strength * scale * _smooth_noise(rng, frames))
    rotvecs[:, 0] = (turn * Rotation.from_rotvec(rotvecs[:, 0])).as_rotvec()
    shift = strength * settings.root_shift_m * _smooth_noise(rng, frames)
    return replace(clip, rotvecs=rotvecs, transl=clip.transl + shift, contacts=None)


def _changed(
    clip: TrainingClip,
    donors: Sequence[TrainingClip],
    settings: AugmentationSettings,
    rng: np.random.Generator,
) -> TrainingClip:
    if rng.random() < settings.mirror_probability:
        clip = mirrored(clip)
    speed = rng.uniform(*settings.speed_range)
    clip = resampled(clip, -speed if rng.random() < settings.reverse_probability else speed)
    if rng.random() < settings.exchange_probability:
        clip = with_upper_body_of(clip, donors[int(rng.integers(len(donors)))])
    if rng.random() < settings.wander_probability:
        clip = wandering(clip, settings, rng)
    return clip


def _smooth_noise(rng: np.random.Generator, frames: int) -> Float[np.ndarray, "frames 3"]:
    """Unit variance: six sinusoids of 0.1 to 1.2 Hz per axis, slow ones more often."""
    frequency = 0.1 * 12 ** rng.uniform(0, 1, (6, 1, 3))
    phase = rng.uniform(0, 2 * np.pi, (6, 1, 3))
    times = np.arange(frames)[None, :, None] / FRAME_RATE_HZ
    return np.asarray(np.sin(2 * np.pi * frequency * times + phase).sum(0) / np.sqrt(3))
