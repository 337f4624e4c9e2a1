"""From image pixels to the square person crop and back, and the scene points a crop can see.

A crop of n pixels (or cells) samples the box with its corner pixels on the box corners: crop pixel =
(p - left up) / (box size) x (n - 1). The crop, the heat map (n = 56) and `grid_sample` share this rule
(`align_corners=True` everywhere).

Source: SA-HMR, lib/utils/geo_transform.py and lib/train/trainers/pose/preprocess.py, as told in the
networks page, section 1.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.errors import DataInvalid
from pipelines.geometry.cameras import project_pinhole
from pipelines.shards.crop import FRUSTUM_FAR_M, FRUSTUM_NEAR_M
from sahmr.types import CropCameras


def back_project(
    pixels: Float[Tensor, "*batch 2"], depth_m: Float[Tensor, " *batch"], K: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch 3"]:
    """Camera points at given depths behind image pixels."""
    focal_px = K.diagonal(dim1=-2, dim2=-1)[..., :2]
    plane = (pixels - K[..., :2, 2]) / focal_px
    return torch.cat([plane, torch.ones_like(plane[..., :1])], dim=-1) * depth_m[..., None]


def image_from_heatmap(
    cells: Int[Tensor, "batch 2"] | Float[Tensor, "batch 2"], cameras: CropCameras, size: int
) -> Float[Tensor, "batch 2"]:
    """Image pixels of heat map cells (u, v)."""
    return cameras.left_up_px + cells / (size - 1) * cameras.size_px


def unit_in_box(
    points_camera: Float[Tensor, "points 3"], batch: Int[Tensor, " points"], cameras: CropCameras
) -> Float[Tensor, "points 2"]:
    """Projections as fractions of the box: (0, 0) at left up, (1, 1) at right bottom."""
    pixels = project_pinhole(points_camera, cameras.K[batch])
    return (pixels - cameras.left_up_px[batch]) / cameras.size_px[batch]


def sample_map(
    maps: Float[Tensor, "batch channels height width"],
    unit: Float[Tensor, "points 2"],
    batch: Int[Tensor, " points"],
) -> Float[Tensor, "points channels"]:
    """Bilinear values of each point's own map at fractions of the box; cells outside count as zero."""
    height, width = maps.shape[2:]
    cells = maps.permute(0, 2, 3, 1)
    place = unit * unit.new_tensor([width - 1, height - 1])
    corner = place.floor()
    right, down = (place - corner).unbind(1)
    total = maps.new_zeros(len(unit), maps.shape[1])
    for step_x, step_y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (corner + corner.new_tensor([step_x, step_y])).unbind(1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        weight = (right if step_x else 1 - right) * (down if step_y else 1 - down) * inside
        u, v = x.clamp(0, width - 1).long(), y.clamp(0, height - 1).long()
        total = total + weight[:, None] * cells[batch, v, u]
    return total


def in_frustum(
    points_camera: Float[Tensor, "points 3"], batch: Int[Tensor, " points"], cameras: CropCameras
) -> Bool[Tensor, " points"]:
    """Points that project into their crop's box, between the near and the far plane, borders included.

    Differs from SA-HMR: it tests six planes in the world frame; the set is the same up to rounding.
    """
    depth = points_camera[:, 2]
    within = (depth >= FRUSTUM_NEAR_M) & (depth <= FRUSTUM_FAR_M)
    unit = unit_in_box(torch.where(within[:, None], points_camera, 1.0), batch, cameras)
    return within & ((unit >= 0) & (unit <= 1)).all(dim=1)


def require_finite(what: str, values: Float[Tensor, "batch *shape"]) -> None:
    """Refuse NaN and infinity, naming the samples.

    Raises:
        DataInvalid: some value is not finite.
    """
    finite = values.isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        raise DataInvalid(
            f"{what} hold values that are not finite",
            where=f"samples {torch.nonzero(~finite)[:, 0].tolist()} of the batch",
            fix="look at how they were read and normalised",
        )
