"""What every reader here gives: one person of one recording, seen by one calibrated camera.

`camera` and `world` are those of docs/frames-and-units.md; which way is up in the world is told by each
data set, since only PROX has z up. Metres, radians, pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from pipelines.records import FittedSequence


@dataclass(frozen=True, slots=True, eq=False)
class CameraView:
    """One calibrated camera of a recording.

    The reader hands out images to which `K` alone belongs: undistorted where the data set's bodies match
    the undistorted image, else as stored.
    """

    name: str
    """As the data set calls it."""
    K: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    """OpenCV order. Bodies are projected without it in every data set."""
    undistorted: bool
    """Whether images come out undistorted."""
    image_size_px: tuple[int, int]
    """Width, height."""
    T_world_from_camera: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, slots=True, eq=False)
class PersonRecording:
    """One person in one recording before one camera. One row per frame, none left out."""

    dataset: str
    split: str
    """train, val, test or quantitative."""
    scene: str
    subject: str
    view: CameraView
    world_up: Float[np.ndarray, "3"]
    """Unit vector against gravity."""
    frame_rate_hz: float
    bodies: FittedSequence
    """The data set's own bodies, camera frame; a frame without one says why not."""
    has_image: Bool[np.ndarray, " frames"]
    """Whether there is a colour file; it may still be broken."""
    contact: Bool[np.ndarray, "frames 6890"] | None = None
    """The data set's own contact labels on the SMPL+H topology; None where it has none."""
    has_contact: Bool[np.ndarray, " frames"] | None = None
    """False where a frame lacks its label file: its row of `contact` then says nothing."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Counts of everything left out or repaired while reading, by reason."""
