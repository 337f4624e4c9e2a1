"""Losses of contact: category of each voxel, and maps in the image (L_C in 3D and 2D).

Source: SA-HMR supplement, section 1.2; lib/train/trainers/pose/loss.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sahmr.losses.root import VoxelReduction, over_voxels


def voxel_category_loss(
    logits: Float[Tensor, "voxels classes"],
    category: Int[Tensor, " voxels"],
    batch: Int[Tensor, " voxels"],
    num_samples: int,
    reduction: VoxelReduction,
    contact_weight: float = 1.0,
) -> Float[Tensor, " batch"]:
    """Cross-entropy over the sample's voxels.

    Args:
        logits: of all samples' voxels.
        category: true one; 0 for none.
        batch: sample of each voxel.
        num_samples: in the batch.
        reduction: over a sample's voxels.
        contact_weight: what a voxel in contact counts beside one that is not; 1 in SA-HMR.
    """
    entropy = F.cross_entropy(logits, category, reduction="none")
    counts = torch.where(category > 0, contact_weight, 1.0)
    return over_voxels(counts * entropy, batch, num_samples, reduction)


def contact_map_loss(
    maps: Float[Tensor, "batch contact_maps height width"],
    target: Float[Tensor, "batch contact_maps height width"],
) -> Float[Tensor, " batch"]:
    """Sum of squared differences over maps and cells; also that of the mirrored image."""
    return (maps - target).square().sum(dim=(1, 2, 3))
