"""METRO's targets: the body on three levels of detail, and its joints in the crop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.downsample import PYRAMID_SIZES, read_mesh_pyramid
from pipelines.bodies.files import BodyFiles
from pipelines.geometry.cameras import project_pinhole
from sahmr.data.crop import CROP_PX
from sahmr.target_types import MeshTargets, MetroTargets
from sahmr.types import CropCameras


@dataclass(frozen=True, slots=True, eq=False)
class CoarseLevels:
    """METRO's mesh pyramid as the networks use it."""

    middle_rows: Int[Tensor, " middle"]
    """Which of the 6890 vertices the middle mesh keeps."""
    coarse_rows: Int[Tensor, " coarse"]
    to_middle: Float[Tensor, "middle coarse"]
    """Interpolation, coarse -> middle mesh."""
    to_full: Float[Tensor, "full middle"]


def load_coarse_levels(files: BodyFiles) -> CoarseLevels:
    """Read the pyramid.

    Raises:
        DataMissing: no such file.
        DataInvalid: its matrices do not fit together.
    """
    pyramid = read_mesh_pyramid(files.downsampling)
    every = np.arange(PYRAMID_SIZES[0], dtype=np.float64)[:, None]
    middle, coarse = (
        torch.from_numpy(np.rint(pyramid.coarsen(every, levels=n)[:, 0]).astype(np.int64))
        for n in (1, 2)
    )
    to_full, to_middle = (torch.from_numpy(matrix.toarray()).float() for matrix in pyramid.up)
    return CoarseLevels(middle, coarse, to_middle, to_full)


def metro_targets(mesh: MeshTargets, cameras: CropCameras, levels: CoarseLevels) -> MetroTargets:
    """METRO's targets from the true bodies."""
    full = mesh.vertices_pelvis
    joints_camera = mesh.joints_pelvis + mesh.root_camera[:, None]
    pixels = project_pinhole(joints_camera, cameras.K[:, None])
    unit = (pixels - cameras.left_up_px[:, None]) / cameras.size_px[:, None]
    # Crop pixel 0 shows the box's left border, CROP_PX - 1 its right one; METRO divides by CROP_PX.
    crop = 2 * unit * (CROP_PX - 1) / CROP_PX - 1
    middle, coarse = (full[:, rows.to(full.device)] for rows in (levels.middle_rows, levels.coarse_rows))
    return MetroTargets(mesh.joints_pelvis, coarse, middle, full, crop)
