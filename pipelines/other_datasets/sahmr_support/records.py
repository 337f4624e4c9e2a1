"""One image of SA-HMR's evaluation, and the scenes the images are in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.records import Gender

Box = tuple[float, float, float, float]
"""Left, up, right, bottom; pixels of the full, true image."""


@dataclass(frozen=True, slots=True, eq=False)
class SupportSample:
    """One image with one person. Files are named, not read."""

    key: str
    """`img_key`: the sample's name in every file and in prediction dumps."""
    recording: str
    frame: str
    subject: str
    gender: Gender
    scene: str
    """`scene_key`."""
    image: Path
    is_crop: bool
    """The file is the 224 px square crop of `box_px` already, not the whole image."""
    box_px: Box
    is_square: bool
    """The box is the crop itself; else the person's box, to be squared by the crop rule."""
    image_size_px: tuple[int, int]
    """Width, height of the whole image."""
    K: Float[np.ndarray, "3 3"]
    """Of the whole image."""
    T_world_from_camera: Float[np.ndarray, "4 4"]
    mesh: Path | None
    """The true SMPL-X mesh; None where the truth is SMPL+H parameters."""
    parameters: Path | None
    """The true SMPL+H parameters; None where the truth is a mesh."""
    contact: Path | None
    """Packed contact labels; None where the set has none (all vertices then count as free)."""


@dataclass(frozen=True, slots=True, eq=False)
class SupportScene:
    """One scene, world frame."""

    points_world: Float[np.ndarray, "points 3"]
    pitch_m: float
    """Edge of the voxels the points are the centres of."""
    grid: SdfGrid
