"""The contact branch of RCNet around its sparse network: voxels in, refined root and contact points out.

Source: SA-HMR, lib/networks/pose/root_contact/rc_net.py and supplement section 1.1, as told in the networks
page, sections 4.1, 4.5 and 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.config import Settings
from sahmr.ops.hashing import pack_keys, unpack_keys
from sahmr.types import ContactPoints, ContactVoxels, RootContactPrediction, ScenePoints

NUM_CONTACT_POINTS: Final = 500
"""Scene points in contact that the mesh network reads per sample."""


class NearbySettings(Settings):
    """Which scene points count as near the root, and their cells."""

    radius_m: float = 1.25
    """A point is near if it is closer than this to an anchor."""
    anchor_depths_m: tuple[float, ...] = (-0.5, 0.0, 0.5)
    """Anchors lie this far behind the root: depth is the uncertain direction."""
    voxel_size_m: float = 0.05


@torch.no_grad()
def nearby_voxels(
    scene: ScenePoints, root_camera: Float[Tensor, "batch 3"], settings: NearbySettings
) -> ContactVoxels:
    """Occupied cells near the root, sorted by sample and index; a sample without near points takes all."""
    near = _is_near(scene, root_camera, settings)
    nearby = ScenePoints(scene.points_camera[near], scene.batch[near])
    cells = torch.floor(nearby.points_camera / settings.voxel_size_m).long()
    keys, voxel_of_point = torch.unique(
        pack_keys(torch.cat([cells, nearby.batch[:, None].long()], dim=1)), return_inverse=True
    )
    index, batch = unpack_keys(keys).split((3, 1), dim=1)
    centres = (index.to(scene.points_camera.dtype) + 0.5) * settings.voxel_size_m
    return ContactVoxels(index, centres, batch[:, 0].long(), nearby, voxel_of_point)


def refine_root(
    voxels: ContactVoxels,
    confidence: Float[Tensor, " voxels"],
    offsets: Float[Tensor, "voxels 3"],
    root_camera: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 3"]:
    """Refined root r*: the voxels' votes (centre + offset), weighted by softmax(sigmoid(confidence)).

    No vote counts more than e times another. A sample without voxels, or whose sum is not a number, keeps
    the root it had.

    Source: supplement, equation 1.
    """
    weight = confidence.sigmoid().exp()  # at most e, so that no maximum has to be taken off
    total = weight.new_zeros(len(root_camera)).index_add(0, voxels.batch, weight)
    share = weight / total[voxels.batch]
    votes = share[:, None] * (voxels.centres_camera + offsets)
    refined = torch.zeros_like(root_camera).index_add(0, voxels.batch, votes)
    usable = (total > 0) & ~refined.isnan().any(dim=1)
    return torch.where(usable[:, None], refined, root_camera)


@torch.no_grad()
def contact_points(
    prediction: RootContactPrediction,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    count: int = NUM_CONTACT_POINTS,
) -> ContactPoints:
    """The raw scene points of voxels in contact, camera frame, with their voxel's category.

    Fewer than `count` are followed by points at the camera's origin with category 0; more are drawn with
    replacement. A sample without contact holds one dummy, its first voxel's centre, with category 0.

    Args:
        prediction: of RCNet.
        generator: for the draw; the same state gives the same points. One per sample makes a sample's draw
            independent of its batch.
        count: points per sample.

    Differs from SA-HMR: the draw can be seeded. There, test results change from run to run.
    """
    batch_size = len(prediction.root_camera)
    voxels, category = prediction.voxels, prediction.voxel_category
    point_category = category[voxels.voxel_of_point]
    points = voxels.centres_camera.new_zeros(batch_size, count, 3)
    categories = category.new_zeros(batch_size, count)
    for sample in range(batch_size):
        rows = torch.nonzero((voxels.nearby.batch == sample) & (point_category != 0))[:, 0]
        if len(rows) > count:
            own_generator = generator[sample] if isinstance(generator, Sequence) else generator
            rows = rows[torch.randint(len(rows), (count,), generator=own_generator).to(rows.device)]
        points[sample, : len(rows)] = voxels.nearby.points_camera[rows]
        categories[sample, : len(rows)] = point_category[rows]
        own = torch.nonzero(voxels.batch == sample)[:1, 0]
        if len(rows) == 0 and len(own):
            points[sample, 0] = voxels.centres_camera[own[0]]
    return ContactPoints(points, categories)


def _is_near(
    scene: ScenePoints, root_camera: Float[Tensor, "batch 3"], settings: NearbySettings
) -> Bool[Tensor, " points"]:
    shifts = root_camera.new_zeros(len(settings.anchor_depths_m), 3)
    shifts[:, 2] = root_camera.new_tensor(settings.anchor_depths_m)
    anchors = (root_camera[:, None] + shifts)[scene.batch]  # (points, anchors, 3)
    squared = (scene.points_camera[:, None] - anchors).square().sum(dim=2).amin(dim=1)
    near = squared < settings.radius_m**2
    num_near: Int[Tensor, " batch"] = torch.zeros(
        len(root_camera), dtype=torch.long, device=near.device
    ).index_add(0, scene.batch, near.long())
    return near | (num_near == 0)[scene.batch]
