"""Does a fit made in windows jump where one window hands over to the next?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from pipelines.metrics.plausibility import run_starts
from pipelines.metrics.tally import Tally, by_key

NEIGHBOUR_FRAMES = 5
"""How far from a seam a step still counts as beside it."""


def seam_jump(
    joints_camera: Float[np.ndarray, "frames joints 3"],
    window_id: Int[np.ndarray, " frames"],
    selected: Bool[np.ndarray, " frames"],
    segment_id: Int[np.ndarray, " frames"],
) -> dict[str, Tally]:
    """Mean joint displacement across window seams divided by that inside windows.

    A step joins two selected frames that follow each other in one segment; it is a seam when their
    window ids differ. `seam_jump_v1` divides by all steps inside windows, `seam_jump_local_v1` only by
    those within five frames of a seam, so that seams in a fast stretch are not blamed for its speed.
    A per-frame method has no step inside a window and gets NaN.
    """
    starts = run_starts(selected, segment_id, 2)
    x = joints_camera.astype(np.float64)
    size = np.linalg.norm(x[starts + 1] - x[starts], axis=-1)  # (steps, joints)
    seam = window_id[starts] != window_id[starts + 1]
    beside = ~seam & _near(starts, starts[seam])
    return by_key(
        [_ratio("seam_jump_v1", size, seam, ~seam), _ratio("seam_jump_local_v1", size, seam, beside)]
    )


def _near(
    starts: Int[np.ndarray, " steps"], seams: Int[np.ndarray, " seams"]
) -> Bool[np.ndarray, " steps"]:
    if len(seams) == 0:
        return np.zeros(len(starts), dtype=bool)
    return np.asarray(np.abs(starts[:, None] - seams).min(axis=1) <= NEIGHBOUR_FRAMES, dtype=bool)


def _ratio(
    key: str,
    size: Float[np.ndarray, "steps joints"],
    seam: Bool[np.ndarray, " steps"],
    base: Bool[np.ndarray, " steps"],
) -> Tally:
    if not base.any():
        steps = int(seam.sum())
        return Tally(key, 0.0, 0, {"no_step_inside_a_window": steps} if steps else {})
    return Tally(
        key,
        float(size[seam].sum()),
        size[seam].size,
        {},
        float(size[base].sum()),
        size[base].size,
    )
