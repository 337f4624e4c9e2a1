"""Losses of the root: heat map, depth, voxel offsets, refined root (L_R2D, L_RZ, L_ROV, L_R3D).

Source: SA-HMR supplement, section 1.2; lib/train/trainers/pose/loss.py.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sahmr.target_types import RootTargets

DepthForm = Literal["block", "pixel"]
VoxelReduction = Literal["mean", "sum"]
DEPTH_BLOCK = ((0.25, 0.5, 0.25), (0.5, 1.0, 0.5), (0.25, 0.5, 0.25))
"""Weights of the 3x3 cells around the root; they add up to 4."""


def root_heatmap_loss(
    heatmap: Float[Tensor, "batch height width"], target: RootTargets
) -> Float[Tensor, " batch"]:
    """Sum of squared differences over the map (L_R2D)."""
    return (heatmap - target.heatmap).square().sum(dim=(1, 2))


def root_depth_loss(
    depth: Float[Tensor, "batch height width"], target: RootTargets, form: DepthForm
) -> Float[Tensor, " batch"]:
    """Absolute error of the depth map at the true root (L_RZ).

    Args:
        depth: f2.
        target: the true cell lies off the border, so that the block fits.
        form: `block`, the weighted sum over 3x3 cells (released); `pixel`, the cell alone (paper), a quarter
            of the block's scale.
    """
    batch = torch.arange(len(depth), device=depth.device)
    u, v = target.heatmap_px.unbind(dim=1)
    if form == "pixel":
        return (depth[batch, v, u] - target.depth).abs()
    around = torch.arange(-1, 2, device=depth.device)
    rows, columns = (v[:, None] + around)[:, :, None], (u[:, None] + around)[:, None, :]
    block = depth[batch[:, None, None], rows, columns]  # (batch, 3, 3)
    errors = (block - target.depth[:, None, None]).abs()
    return (depth.new_tensor(DEPTH_BLOCK) * errors).sum(dim=(1, 2))


def voxel_offset_loss(
    offsets: Float[Tensor, "voxels 3"],
    true_offsets: Float[Tensor, "voxels 3"],
    batch: Int[Tensor, " voxels"],
    num_samples: int,
    reduction: VoxelReduction,
) -> Float[Tensor, " batch"]:
    """L1 of the offsets, over the sample's voxels (L_ROV)."""
    return over_voxels((offsets - true_offsets).abs().sum(dim=1), batch, num_samples, reduction)


def refined_root_loss(
    root_camera: Float[Tensor, "batch 3"], target: RootTargets
) -> Float[Tensor, " batch"]:
    """L1 of the refined root (L_R3D)."""
    return (root_camera - target.root_camera).abs().sum(dim=1)


def over_voxels(
    values: Float[Tensor, " voxels"],
    batch: Int[Tensor, " voxels"],
    num_samples: int,
    reduction: VoxelReduction,
) -> Float[Tensor, " batch"]:
    """Mean or sum per sample; 0 for a sample without voxels.

    Differs from SA-HMR, where a sample without voxels ends the training with an error.
    """
    total = values.new_zeros(num_samples).index_add(0, batch, values)
    if reduction == "sum":
        return total
    return total / torch.bincount(batch, minlength=num_samples).clamp(min=1)
