"""Running along the frames of a recording, clip by clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int


def by_segment(
    change: Callable[[np.ndarray], np.ndarray],
    values: Float[np.ndarray, "frames ..."],
    segment_id: Int[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames ..."]:
    """Apply a filter along the frames of each clip; nothing passes from one to the next."""
    changed = np.array(values, dtype=np.float64)
    for segment in np.unique(segment_id):
        rows = segment_id == segment
        changed[rows] = change(changed[rows])
    return changed


def largest_near(
    values: Float[np.ndarray, " frames"], segment_id: Int[np.ndarray, " frames"], reach: int
) -> Float[np.ndarray, " frames"]:
    """Largest value within `reach` frames of the same clip; NaN only where there is none."""
    frames = len(values)
    largest = np.array(values, dtype=np.float64)
    for step in range(1, reach + 1):
        for here, there in (
            (slice(0, frames - step), slice(step, frames)),
            (slice(step, frames), slice(0, frames - step)),
        ):
            same = segment_id[here] == segment_id[there]
            largest[here] = np.where(same, np.fmax(largest[here], values[there]), largest[here])
    return largest


def carried(
    values: Float[np.ndarray, "frames ..."],
    known: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames ..."]:
    """Frames that are not known take the last known frame of their clip, or its first; zeros without any."""
    filled = np.zeros_like(values)
    for segment in np.unique(segment_id):
        rows = np.flatnonzero(segment_id == segment)
        seen = rows[known[rows]]
        if len(seen):
            place = np.searchsorted(seen, rows, side="right") - 1
            filled[rows] = values[seen[np.maximum(place, 0)]]
    return filled
