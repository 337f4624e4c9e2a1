"""Key values over time, and the smooth, slightly swaying curves made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

PADDING_S = 1.0
"""Curves are evaluated beyond both ends before they are smoothed, so that the ends do not flatten."""


@dataclass(slots=True)
class KeyTrack:
    """One quantity at chosen times; monotone between neighbouring keys, so it never overshoots."""

    start: Sequence[float]
    times_s: list[float] = field(default_factory=list)
    values: list[Float[np.ndarray, " dims"]] = field(default_factory=list)

    @property
    def last(self) -> Float[np.ndarray, " dims"]:
        """Value of the latest key."""
        return self.values[-1] if self.values else np.asarray(self.start, np.float64)

    def key(self, time_s: float, value: Sequence[float] | Float[np.ndarray, " dims"]) -> None:
        """Pass through a value at a time; keys that come too early take the place of later ones."""
        while self.times_s and self.times_s[-1] > time_s - 1e-3:
            self.times_s.pop()
            self.values.pop()
        self.times_s.append(float(time_s))
        self.values.append(np.asarray(value, np.float64))

    def hold(self, time_s: float) -> None:
        """Keep the latest value until a time."""
        if not self.times_s or self.times_s[-1] < time_s - 1e-3:
            self.key(time_s, self.last)

    def move(
        self, begin_s: float, end_s: float, value: Sequence[float] | Float[np.ndarray, " dims"]
    ) -> None:
        """Rest until `begin_s`, then go to a value and arrive at `end_s`."""
        self.hold(begin_s)
        self.key(end_s, value)

    def evaluate(
        self, num_frames: int, frame_rate_hz: float, smoothing_s: float
    ) -> Float[np.ndarray, "frames dims"]:
        """The curve at the frames, smoothed by a Gaussian of the given standard deviation."""
        pad = round(PADDING_S * frame_rate_hz)
        times = (np.arange(num_frames + 2 * pad) - pad) / frame_rate_hz
        if len(self.times_s) < 2:
            return np.repeat(self.last[None], num_frames, axis=0)
        curve = PchipInterpolator(self.times_s, np.stack(self.values))
        values = np.asarray(curve(np.clip(times, self.times_s[0], self.times_s[-1])))
        if smoothing_s > 0:
            values = gaussian_filter1d(values, smoothing_s * frame_rate_hz, axis=0, mode="nearest")
        return values[pad : pad + num_frames]


def smooth_lower_envelope(
    values: Float[np.ndarray, " frames"], width_frames: int, sigma_frames: float
) -> Float[np.ndarray, " frames"]:
    """A smooth curve that stays at or below `values`."""
    lowest = minimum_filter1d(values, 2 * width_frames + 1, mode="nearest")
    smooth = gaussian_filter1d(
        lowest, sigma_frames, mode="nearest", truncate=width_frames / sigma_frames
    )
    return np.asarray(smooth)


def sway(
    rng: np.random.Generator,
    num_frames: int,
    dims: int,
    frame_rate_hz: float,
    band_hz: tuple[float, float] = (0.15, 0.9),
) -> Float[np.ndarray, "frames dims"]:
    """Band-limited noise of unit standard deviation: eight sinusoids of random pitch and phase."""
    count = 8
    frequency = rng.uniform(*band_hz, (count, dims))
    phase = rng.uniform(0, 2 * np.pi, (count, dims))
    times = np.arange(num_frames)[:, None, None] / frame_rate_hz
    waves = np.sin(2 * np.pi * frequency * times + phase)
    return np.asarray(waves.sum(axis=1) * np.sqrt(2 / count))
