"""Cutting a recording into overlapping windows, and stitching the windows' fits together again.

Windows never cross a segment border (clip change or timestamp gap). Every frame of a recording lies in
at least one window: a segment shorter than a window is one short window, and the surplus of a longer one
goes into the overlaps, by HuMoR's rule for RGB videos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Float, Int

from pipelines.fitting.settings import WindowSettings
from pipelines.records import SmplhParameters

_NO_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Window:
    """A run of consecutive frames that is fitted as one motion."""

    start: int
    """First frame, counted in the recording."""
    length: int
    overlap: int
    """Frames shared with the window before; 0 at the start of a segment."""

    @property
    def frames(self) -> slice:
        """The window's frames in the recording."""
        return slice(self.start, self.start + self.length)


def cut_windows(segment_id: Int[np.ndarray, " frames"], settings: WindowSettings) -> tuple[Window, ...]:
    """Windows of a recording, in order; only frames trimmed on purpose lie in none."""
    first, last = settings.trim_frames, len(segment_id) - settings.trim_frames
    windows: list[Window] = []
    start = first
    for frame in range(first + 1, last + 1):
        if frame == last or segment_id[frame] != segment_id[start]:
            windows += _cut_segment(start, frame - start, settings.length, settings.overlap)
            start = frame
    return tuple(windows)


def _cut_segment(start: int, num_frames: int, length: int, overlap: int) -> list[Window]:
    """HuMoR's rule: least number of windows, surplus frames spread over the overlaps, first ones first."""
    if num_frames <= length:
        return [Window(start, num_frames, 0)]
    count = math.ceil((num_frames - overlap) / (length - overlap))
    surplus = length * count - overlap * (count - 1) - num_frames
    each, rest = divmod(surplus, count - 1)
    windows = [Window(start, length, 0)]
    for index in range(count - 1):
        shared = overlap + each + (1 if index < rest else 0)
        windows.append(Window(windows[-1].start + length - shared, length, shared))
    return windows


def frame_rows(windows: Sequence[Window]) -> Int[np.ndarray, "windows frames"]:
    """Frame of the recording at each place of each window; short windows repeat their last frame."""
    length = max(2, *(window.length for window in windows))  # a roll-out has at least one step
    return np.stack([np.minimum(np.arange(length), w.length - 1) + w.start for w in windows])


@dataclass(frozen=True, slots=True, eq=False)
class WindowFit:
    """What a fit says about one window's frames, camera frame."""

    parameters: SmplhParameters
    contacts: Float[np.ndarray, "frames 22"] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Stitched:
    """One result per frame of the recording."""

    parameters: SmplhParameters
    contacts: Float[np.ndarray, "frames 22"] | None
    window_id: Int[np.ndarray, " frames"]
    """Window with the largest share in the frame; -1 for trimmed frames (parameters zero)."""


def window_shares(
    windows: Sequence[Window], num_frames: int, stitch: str, usable: Sequence[bool] | None = None
) -> list[Float[np.ndarray, " frames"]]:
    """Each window's share of its frames; the shares of a frame in one or more windows add to one.

    `earlier_wins` gives an overlap to the earlier window, `cross_fade` ramps linearly through it. More
    than two windows share a frame when overlaps exceed half a window; ramps are then normalised. A window
    that is not usable has a share only where no usable one has.
    """
    usable = [True] * len(windows) if usable is None else usable
    shares = []
    for index, window in enumerate(windows):
        share = np.ones(window.length)
        if window.overlap:
            ramp = (np.arange(window.overlap) + 1) / (window.overlap + 1)
            share[: window.overlap] = 0 if stitch == "earlier_wins" else ramp
        following = windows[index + 1] if index + 1 < len(windows) else None
        if stitch == "cross_fade" and following is not None and following.overlap:
            ramp = (np.arange(following.overlap) + 1) / (following.overlap + 1)
            share[window.length - following.overlap :] *= 1 - ramp
        least = 1e-7  # so that an unusable neighbour never decides alone
        shares.append(np.maximum(share, least) * (1.0 if usable[index] else 1e-9))
    total = np.zeros(num_frames)
    for window, share in zip(windows, shares, strict=True):
        total[window.frames] += share
    shares = [s / total[w.frames] for w, s in zip(windows, shares, strict=True)]
    return [np.where(share < _NO_SHARE, 0.0, share) for share in shares]


def stitch_windows(
    windows: Sequence[Window],
    fits: Sequence[WindowFit],
    num_frames: int,
    stitch: str,
    usable: Sequence[bool] | None = None,
) -> Stitched:
    """Merge the windows' fits: weighted means of vectors, weighted turns between rotations."""
    num_betas = fits[0].parameters.betas.shape[1]
    merged = {
        "betas": np.zeros((num_frames, num_betas)),
        "transl": np.zeros((num_frames, 3)),
        "contacts": np.zeros((num_frames, 22)),
    }
    rotvecs = np.zeros((num_frames, 22, 3))
    so_far, best = np.zeros(num_frames), np.zeros(num_frames)
    window_id = np.full(num_frames, -1, dtype=np.int64)
    shares = window_shares(windows, num_frames, stitch, usable)
    for index, (window, fit, share) in enumerate(zip(windows, fits, shares, strict=True)):
        frames, parameters = window.frames, fit.parameters
        merged["betas"][frames] += share[:, None] * parameters.betas
        merged["transl"][frames] += share[:, None] * parameters.transl
        if fit.contacts is not None:
            merged["contacts"][frames] += share[:, None] * fit.contacts
        so_far[frames] += share
        part = np.divide(share, so_far[frames], out=np.zeros_like(share), where=share > 0)
        rotvecs[frames] = _blend_rotvecs(rotvecs[frames], _all_rotvecs(parameters), part)
        leads = share > best[frames]
        window_id[frames] = np.where(leads, index, window_id[frames])
        best[frames] = np.maximum(best[frames], share)
    return Stitched(
        SmplhParameters(
            merged["betas"], rotvecs[:, 0], rotvecs[:, 1:].reshape(num_frames, 63), merged["transl"]
        ),
        merged["contacts"] if fits[0].contacts is not None else None,
        window_id,
    )


def _all_rotvecs(parameters: SmplhParameters) -> Float[np.ndarray, "frames 22 3"]:
    body = parameters.body_pose.reshape(-1, 21, 3)
    return np.concatenate([parameters.global_orient[:, None], body], axis=1)


def _blend_rotvecs(
    old: Float[np.ndarray, "frames 22 3"],
    new: Float[np.ndarray, "frames 22 3"],
    part: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames 22 3"]:
    """Turn from `old` towards `new` by `part` (0 = old, 1 = new) along the shortest way."""
    blended = np.where((part >= 1)[:, None, None], new, old)
    between = (part > 0) & (part < 1)
    if between.any():
        start = roma.rotvec_to_rotmat(torch.as_tensor(old[between], dtype=torch.float64))
        end = roma.rotvec_to_rotmat(torch.as_tensor(new[between], dtype=torch.float64))
        turn = roma.rotmat_to_rotvec(end @ start.mT) * torch.as_tensor(part[between])[:, None, None]
        blended[between] = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn) @ start).numpy()
    return blended
