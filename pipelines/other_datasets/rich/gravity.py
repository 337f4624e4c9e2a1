"""Which way is up in a capture of RICH.

Bodies, cameras and `camcoord` scans share the frame of camera 0, which is tilted. The frame of
multicam2world is level, but nothing says which of its axes points up; the cameras stand upright, on
average, and so tell it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipelines.errors import DataInvalid
from pipelines.other_datasets.rich.calibration import LevelFrame

_MIN_COSINE = 0.7
"""The chosen axis must be clearly nearer to the cameras' up than any other (cos 45 degrees)."""


def world_up(
    level: LevelFrame, poses_world_from_camera: Sequence[Float[np.ndarray, "4 4"]], source: object
) -> Float[np.ndarray, "3"]:
    """The axis of the level frame that is nearest to the mean upward direction of the cameras.

    Raises:
        DataInvalid: no axis is near it.
    """
    cameras_up = -np.mean([pose[:3, 1] for pose in poses_world_from_camera], axis=0)
    axes = level.axes_world()
    cosines = axes @ cameras_up / max(float(np.linalg.norm(cameras_up)), 1e-9)
    best = int(cosines.argmax())
    if cosines[best] < _MIN_COSINE:
        raise DataInvalid(
            "no axis of multicam2world points up",
            where=source,
            expected="one axis within 45 degrees of the cameras' mean upward direction",
            found=f"the nearest is {np.degrees(np.arccos(cosines[best])):.0f} degrees off",
        )
    return axes[best]
