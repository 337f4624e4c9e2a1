"""A sample of no weight reaches neither loss nor gradient, whatever its targets hold."""

from __future__ import annotations

from dataclasses import replace

import torch

from sahmr.losses.quality import countable_mesh, countable_root_contact
from sahmr.losses.root import refined_root_loss, root_depth_loss, root_heatmap_loss, voxel_offset_loss
from sahmr.losses.weights import weighted_total
from sahmr.target_types import MeshTargets, RootContactTargets, RootTargets, VoxelTargets

QUALITY = torch.tensor([1.0, 0.0])
VOXEL_BATCH = torch.tensor([0, 0, 1])


def root_contact_targets():
    draw = torch.Generator().manual_seed(0)
    root = RootTargets(
        torch.rand(2, 8, 8, generator=draw),
        torch.full((2, 2), 4),
        torch.rand(2, generator=draw),
        torch.rand(2, 3, generator=draw),
    )
    voxels = VoxelTargets(torch.tensor([0, 3, 1]), torch.rand(3, 3, generator=draw))
    maps = torch.rand(2, 8, 8, 8, generator=draw)
    return RootContactTargets(root, voxels, maps, maps.flip(3))


def spoiled(targets):
    root = targets.root
    bad = torch.tensor([0.0, torch.nan])
    return RootContactTargets(
        replace(
            root,
            heatmap=root.heatmap + bad[:, None, None],
            depth=root.depth + bad,
            root_camera=root.root_camera + bad[:, None],
        ),
        replace(targets.voxels, offsets=targets.voxels.offsets + bad[VOXEL_BATCH][:, None]),
        targets.contact_maps + bad[:, None, None, None],
        targets.mirrored_contact_maps + bad[:, None, None, None],
    )


def loss_and_gradient(targets):
    draw = torch.Generator().manual_seed(1)
    heatmap = torch.rand(2, 8, 8, generator=draw).requires_grad_()
    root = torch.rand(2, 3, generator=draw).requires_grad_()
    offsets = torch.rand(3, 3, generator=draw).requires_grad_()
    terms = {
        "heatmap": root_heatmap_loss(heatmap, targets.root),
        "depth": root_depth_loss(heatmap, targets.root, "block"),
        "root": refined_root_loss(root, targets.root),
        "offset": voxel_offset_loss(offsets, targets.voxels.offsets, VOXEL_BATCH, 2, "mean"),
        "maps": (heatmap[:, None] - targets.contact_maps).square().sum(dim=(1, 2, 3)),
    }
    loss = weighted_total(terms, dict.fromkeys(terms, 1.0), QUALITY)
    return loss, torch.autograd.grad(loss, [heatmap, root, offsets])


def test_nan_targets_of_a_sample_without_weight_change_nothing():
    loss, gradients = loss_and_gradient(root_contact_targets())
    targets = countable_root_contact(spoiled(root_contact_targets()), QUALITY, VOXEL_BATCH)
    found, found_gradients = loss_and_gradient(targets)
    assert found.isfinite()
    assert torch.equal(found, loss)
    for one, other in zip(found_gradients, gradients, strict=True):
        assert torch.equal(one, other)
        assert bool(one.isfinite().all())
    assert targets.mirrored_contact_maps.isfinite().all()


def test_nan_targets_of_a_sample_with_weight_stay_visible():
    targets = countable_root_contact(spoiled(root_contact_targets()), torch.ones(2), VOXEL_BATCH)
    assert root_depth_loss(torch.zeros(2, 8, 8), targets.root, "block").isnan().tolist() == [False, True]
    assert targets.root.depth[1].isnan()


def test_mesh_targets_without_weight_are_blanked():
    points = torch.ones(2, 5, 3)
    points[1] = torch.nan
    joints = torch.ones(2, 14, 3)
    targets = countable_mesh(MeshTargets(points, points, joints, points[:, 0]), QUALITY)
    assert targets.vertices_camera.sum() == 15
    assert targets.vertices_pelvis.isfinite().all()
    assert targets.root_camera.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_absent_mirrored_maps_stay_absent():
    targets = replace(root_contact_targets(), mirrored_contact_maps=None)
    assert countable_root_contact(targets, QUALITY, VOXEL_BATCH).mirrored_contact_maps is None
