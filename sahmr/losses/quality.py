"""Samples that do not count: their targets may be anything, NaN included, without reaching loss or gradient.

    targets = countable_mesh(targets, quality)
    loss = weighted_total(mesh_terms(prediction, targets, ...), weights, quality)

A weight of zero alone does not do it: 0 x NaN is NaN, in the loss as in its gradient.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sahmr.target_types import MeshTargets, RootContactTargets


def countable_root_contact(
    targets: RootContactTargets, quality: Float[Tensor, " batch"], voxel_batch: Int[Tensor, " voxels"]
) -> RootContactTargets:
    """The targets, zero where a sample has no weight.

    Args:
        targets: of a batch.
        quality: weight of each sample.
        voxel_batch: sample of each voxel.
    """
    off = quality == 0
    root, voxels, mirrored = targets.root, targets.voxels, targets.mirrored_contact_maps
    return RootContactTargets(
        replace(
            root,
            heatmap=_zero(root.heatmap, off),
            depth=_zero(root.depth, off),
            root_camera=_zero(root.root_camera, off),
        ),
        replace(voxels, offsets=_zero(voxels.offsets, off[voxel_batch])),
        _zero(targets.contact_maps, off),
        None if mirrored is None else _zero(mirrored, off),
    )


def countable_mesh(targets: MeshTargets, quality: Float[Tensor, " batch"]) -> MeshTargets:
    """The targets, zero where a sample has no weight."""
    off = quality == 0
    return MeshTargets(
        _zero(targets.vertices_camera, off),
        _zero(targets.vertices_pelvis, off),
        _zero(targets.joints_pelvis, off),
        _zero(targets.root_camera, off),
    )


def _zero(
    values: Float[Tensor, "rows *shape"], off: Bool[Tensor, " rows"]
) -> Float[Tensor, "rows *shape"]:
    return torch.where(off.view(-1, *[1] * (values.ndim - 1)), 0.0, values)
