"""The frames of one recording: names, times, what exists of each, and where the motion is cut."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.datasets.layout import SUFFIXES, FrameName, Modality, ProxLayout
from pipelines.errors import DataInvalid, DataMissing

FRAME_MODALITIES: tuple[Modality, ...] = ("color", "depth", "mask_color", "mask_depth", "keypoints")
"""A frame exists when any of these has a file for it."""
_RATE_TOLERANCE = 1.6
_RATE_MIN_FRAMES = 10


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """Every frame of one recording, sorted by its whole name."""

    names: tuple[str, ...]
    clip: Int[np.ndarray, " frames"]
    index: Int[np.ndarray, " frames"]
    timestamps_s: Float[np.ndarray, " frames"]
    segment_id: Int[np.ndarray, " frames"]
    present: dict[Modality, Bool[np.ndarray, " frames"]]
    """Whether a file exists; it may still be broken."""
    unrecognised: tuple[str, ...]
    """Files whose names are no frame names."""

    def __len__(self) -> int:
        return len(self.names)


def list_frames(
    layout: ProxLayout, recording: str, *, frame_rate_hz: float, gap_intervals: float
) -> FrameTable:
    """Union of the frames of all modalities.

    Raises:
        DataMissing: the recording has no frame at all.
        DataInvalid: its timestamps contradict the frame rate.
    """
    stems: dict[Modality, set[str]] = {}
    unrecognised: list[str] = []
    for modality in FRAME_MODALITIES:
        stems[modality], unknown = _stems(layout, recording, modality)
        unrecognised += unknown
    names = tuple(sorted(set().union(*stems.values())))
    if not names:
        raise DataMissing(
            f"PROX recording {recording}: no frames",
            where=layout.base / "recordings" / recording,
            expected="Color/s001_frame_00001__00.00.00.029.jpg and the like",
        )
    parsed = [frame for frame in map(FrameName.parse, names) if frame is not None]
    clip = np.array([frame.clip for frame in parsed], dtype=np.int64)
    timestamps_s = np.array([frame.timestamp_s for frame in parsed], dtype=np.float64)
    _check_rate(recording, clip, timestamps_s, frame_rate_hz)
    return FrameTable(
        names=names,
        clip=clip,
        index=np.array([frame.index for frame in parsed], dtype=np.int64),
        timestamps_s=timestamps_s,
        segment_id=find_segments(clip, timestamps_s, gap_intervals / frame_rate_hz, 1 / frame_rate_hz),
        present={m: np.array([name in stems[m] for name in names], dtype=bool) for m in stems},
        unrecognised=tuple(sorted(unrecognised)),
    )


def find_segments(
    clip: Int[np.ndarray, " frames"],
    timestamps_s: Float[np.ndarray, " frames"],
    max_step_s: float,
    interval_s: float,
) -> Int[np.ndarray, " frames"]:
    """Number the stretches of continuous motion.

    A stretch ends where the clip changes, where time does not advance, and where frames are missing.
    PROX's times jitter (its first intervals are 21-25 ms), and one late stamp makes one long and one
    short step without any frame missing. So a step counts as a gap only if it is longer than
    `max_step_s` and neither neighbouring step makes up for it.
    """
    if len(clip) < 2:
        return np.zeros(len(clip), dtype=np.int64)
    steps = np.diff(timestamps_s)
    same_clip = clip[1:] == clip[:-1]
    excess = np.where(same_clip & (steps > 0), steps - interval_s, 0.0)
    after, before = np.append(excess[1:], 0.0), np.append(0.0, excess[:-1])
    limit = max_step_s - interval_s
    lasting = (excess + np.minimum(after, 0) > limit) & (excess + np.minimum(before, 0) > limit)
    cut = ~same_clip | (steps <= 0) | ((excess > limit) & lasting)
    return np.concatenate([[0], np.cumsum(cut)]).astype(np.int64)


def _stems(layout: ProxLayout, recording: str, modality: Modality) -> tuple[set[str], list[str]]:
    folder, suffix = layout.folder(recording, modality), SUFFIXES[modality]
    if not folder.is_dir():
        return set(), []
    found: set[str] = set()
    unknown: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = entry.name.removesuffix(suffix)
            if stem != entry.name and FrameName.parse(stem) is not None:
                found.add(stem)
            elif not entry.name.startswith("."):
                unknown.append(f"{folder.name}/{entry.name}")
    return found, unknown


def _check_rate(
    recording: str,
    clip: Int[np.ndarray, " frames"],
    timestamps_s: Float[np.ndarray, " frames"],
    frame_rate_hz: float,
) -> None:
    steps = np.diff(timestamps_s)[clip[1:] == clip[:-1]]
    if len(steps) < _RATE_MIN_FRAMES:
        return
    factor = float(np.median(steps)) * frame_rate_hz
    if not 1 / _RATE_TOLERANCE < factor < _RATE_TOLERANCE:
        raise DataInvalid(
            f"PROX recording {recording}: its timestamps contradict the frame rate",
            expected=f"{frame_rate_hz:g} frames per second",
            found=f"a median step of {np.median(steps) * 1000:.0f} ms",
            fix="set prox.frame_rate_hz to the recording's true rate",
        )
