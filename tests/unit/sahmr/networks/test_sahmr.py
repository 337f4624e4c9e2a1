from __future__ import annotations

import pytest
import torch

from pipelines.errors import DataInvalid
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_recovery import MeshRecoverySettings
from sahmr.networks.rcnet import RcnetSettings
from sahmr.networks.sahmr import Sahmr, SahmrSettings
from sahmr.networks.spvcnn import SpvcnnSettings
from sahmr.types import BodyTemplate, CropCameras, ScenePoints, eight_categories

HRNET = HrnetSettings(width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1))
SMALL = SahmrSettings(
    rcnet=RcnetSettings(
        backbone=HRNET,
        contact_maps=8,
        contact_net=SpvcnnSettings(
            channels_in=7, channels_linear=6, channels_down=(4, 4, 4, 4, 4), channels_up=(4, 4, 4, 4)
        ),
    ),
    mesh_recovery=MeshRecoverySettings(
        backbone=HRNET,
        image_px=64,
        num_joints=2,
        mesh_sizes=(12, 8, 9),
        hidden=(8, 8, 4),
        outputs=(6, 5, 3),
        heads=2,
        scene_heads=2,
        layers=1,
        feed_forward=10,
        positions=16,
    ),
    num_contact_points=20,
)
K = torch.tensor([[[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]]).repeat(2, 1, 1)
CAMERAS = CropCameras(torch.tensor([[340.0, 60.0, 940.0, 660.0]] * 2), K)
CATEGORIES = eight_categories(torch.tensor([1, 2, 3, 4, 5, 6, 7, 0, 1]))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Sahmr(SMALL).eval()


@pytest.fixture
def given():
    torch.manual_seed(1)
    points = torch.rand(400, 3) * torch.tensor([1.0, 0.05, 1.5]) + torch.tensor([-0.5, 0.2, 2.0])
    scene = ScenePoints(points, torch.arange(2).repeat_interleave(200))
    return (
        torch.randn(2, 3, 64, 64),
        CAMERAS,
        scene,
        BodyTemplate(torch.randn(2, 3), torch.randn(9, 3)),
        CATEGORIES,
    )


def generator():
    return torch.Generator().manual_seed(3)


def test_vertices_are_the_mesh_at_the_refined_root(small, given):
    found = small(*given, generator())
    root = found.root_contact.refined_root_camera
    assert torch.equal(found.root_camera, root)
    torch.testing.assert_close(found.vertices_camera, found.mesh.vertices_root + root[:, None])
    assert torch.equal(found.vertices_camera, small(*given, generator()).vertices_camera)


def test_only_the_mesh_network_learns(small, given):
    small.train()
    assert not any(module.training for module in small.rcnet.modules())
    assert all(module.training for module in small.mesh_recovery.modules())
    before = {name: tensor.clone() for name, tensor in small.rcnet.state_dict().items()}
    small(*given, generator(), torch.zeros(2, 3)).vertices_camera.square().sum().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.rcnet.state_dict().items())
    assert not any(parameter.requires_grad for parameter in small.rcnet.parameters())
    assert small.mesh_recovery.upsampling.to_full.weight.grad is not None


def test_far_roots_are_replaced_in_training(small, given):
    truth = torch.tensor([[50.0, 0.0, 3.0], [0.0, 0.0, 3.0]])
    found = small(*given, generator(), truth)
    assert float((found.root_camera[0] - truth[0]).abs().max()) < 0.5
    assert not torch.equal(found.root_camera[0], found.root_contact.refined_root_camera[0])


def test_no_scene_at_all_still_gives_a_body(small, given):
    images, cameras, _, template, categories = given
    nothing = ScenePoints(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    found = small(images, cameras, nothing, template, categories)
    assert found.root_contact.num_without_scene == 2
    assert not found.contact_points.in_contact.any()
    assert bool(torch.isfinite(found.vertices_camera).all())


def test_images_that_are_not_finite_are_refused(small, given):
    images, *rest = given
    with pytest.raises(DataInvalid, match="images hold values that are not finite"):
        small(images / 0, *rest)


def test_samples_of_a_batch_do_not_influence_each_other(small, given):
    images, cameras, scene, template, categories = given
    alone = small(
        images[1:],
        CropCameras(cameras.boxes_px[1:], cameras.K[1:]),
        ScenePoints(scene.points_camera[200:], scene.batch[:200]),
        template,
        categories,
        torch.Generator().manual_seed(0),
    )
    both = small(*given, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        alone.root_contact.refined_root_camera,
        both.root_contact.refined_root_camera[1:],
        atol=1e-5,
        rtol=1e-5,
    )
