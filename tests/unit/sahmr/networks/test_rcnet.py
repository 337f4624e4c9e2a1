from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.errors import DataInvalid
from sahmr.networks.contact_module import contact_points
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.rcnet import (
    Rcnet,
    RcnetSettings,
    paper_settings,
    released_settings,
    replace_far,
    voxel_features,
)
from sahmr.networks.spvcnn import SpvcnnSettings
from sahmr.types import CropCameras, ScenePoints

TINY_HRNET = HrnetSettings(width=4, stem_width=4, blocks=1, modules=(1, 1, 1))
SMALL = RcnetSettings(
    backbone=TINY_HRNET,
    contact_maps=3,
    contact_net=SpvcnnSettings(
        channels_in=7,
        channels_linear=6,
        channels_out=8,
        channels_down=(4, 4, 4, 4, 4),
        channels_up=(4, 4, 4, 4),
    ),
)
K = torch.tensor([[[1000.0, 0.0, 640.0], [0.0, 1000.0, 360.0], [0.0, 0.0, 1.0]]]).repeat(2, 1, 1)
CAMERAS = CropCameras(torch.tensor([[340.0, 60.0, 940.0, 660.0]] * 2), K)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Rcnet(SMALL).eval()


@pytest.fixture
def scene():
    torch.manual_seed(1)
    points = torch.rand(400, 3) * torch.tensor([1.0, 0.05, 1.5]) + torch.tensor([-0.5, 0.2, 2.0])
    return ScenePoints(points, torch.arange(2).repeat_interleave(200))


def golden_inputs(golden):
    """The recording's maps, cameras and scene, drawn in its order."""
    rng, batch = golden.rng(), int(golden["batch"])
    maps, boxes, cameras, points = 0.1 * rng.standard_normal((batch, 41, 56, 56)), [], [], []
    for sample in range(batch):
        ranges = ((900, 1500), (600, 700), (340, 380), (150, 300), (450, 800), (250, 450))
        fx, cx, cy, half, x0, y0 = (rng.uniform(low, high) for low, high in ranges)
        u, v = rng.integers(10, 46, 2)
        depth = rng.uniform(2.5, 4.5)
        maps[sample, 0, v, u] += 5
        maps[sample, 1, v, u] = depth * 2 * half / fx
        pixel = np.array([x0 - half, y0 - half]) + np.array([u, v]) / 55 * 2 * half
        c = np.append((pixel - (cx, cy)) / fx, 1) * depth
        n = 4000
        floor = [c[0] + rng.uniform(-2.5, 2.5, n), c[1] + 0.85 + 0.01 * rng.standard_normal(n)]
        floor.append(c[2] + rng.uniform(-2.5, 2.5, n))
        wall = [c[0] + rng.uniform(-2.5, 2.5, n), c[1] + rng.uniform(-1, 1, n)]
        wall.append(c[2] + 0.6 + 0.01 * rng.standard_normal(n))
        points.append(np.concatenate([np.stack(floor, 1), np.stack(wall, 1)]))
        boxes.append([x0 - half, y0 - half, x0 + half, y0 + half])
        cameras.append([[fx, 0, cx], [0, fx, cy], [0, 0, 1]])
    scene = ScenePoints(
        torch.tensor(np.concatenate(points)).float(), torch.arange(batch).repeat_interleave(8000)
    )
    return (
        torch.tensor(maps).float(),
        CropCameras(torch.tensor(boxes).float(), torch.tensor(cameras).float()),
        scene,
    )


@pytest.mark.parametrize("rounding", ["floor", "trunc"])
def test_geometry_equals_the_official_one(rounding, network_golden, network_weights, official_shapes):
    golden = network_golden("rcnet_geometry")
    maps, cameras, scene = golden_inputs(golden)
    settings = released_settings()
    contact_net = settings.contact_net.model_copy(update={"downsample_rounding": rounding})
    settings = settings.model_copy(update={"backbone": TINY_HRNET, "contact_net": contact_net})
    network = Rcnet(settings).eval()
    weights = network_weights(
        {k: s for k, s in official_shapes("rcnet").items() if k.startswith("contact_net.")}
    )
    network.contact_net.load_state_dict({k.removeprefix("contact_net."): v for k, v in weights.items()})
    with torch.inference_mode():
        found = network.from_maps(network.root_net.split(maps), cameras, scene)
        features = voxel_features(found.voxels, found.anchor_camera, found.maps, cameras)
        contact = contact_points(found, count=len(scene.batch))
    golden.check("pelvis_uv", found.root_heatmap_px)
    golden.check("c_pelvis", found.root_camera[:, None])
    golden.check(f"c_pelvis_refined_{rounding}", found.refined_root_camera[:, None])
    outputs = torch.cat([found.confidence[:, None], found.offsets, found.logits], dim=1)
    for sample in range(2):
        own = found.voxels.batch == sample
        assert abs(int(own.sum()) - golden["n_vox"][sample]) <= 2
        assert abs(int((found.voxels.nearby.batch == sample).sum()) - golden["n_nearby"][sample]) <= 2
        golden.check(f"feat35_b{sample}", features[own])
        golden.check(f"vox_out_{rounding}_b{sample}", outputs[own])
        counts = torch.bincount(found.voxel_category[own], minlength=8).numpy()
        assert np.abs(counts - golden[f"seg_hist_{rounding}"][sample]).max() <= 2
    counts = contact.in_contact.sum(dim=1).numpy()
    assert np.abs(counts - golden[f"n_contact_pts_{rounding}"]).max() <= 2


@pytest.mark.parametrize(("categories", "maps", "outputs"), [(1, 1, 6), (8, 8, 12), (432, 432, 436)])
def test_paper_preset_by_categories(categories, maps, outputs):
    settings = paper_settings(categories)
    with torch.device("meta"):
        network = Rcnet(settings)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["root_net.maps.weight"] == (2 + 32 + maps, 64, 1, 1)
    assert shapes["contact_net.fc_in.weight"] == (32, 35)
    assert shapes["contact_net.classifier.0.weight"] == (outputs, 96)
    assert settings.contact_net.downsample_rounding == "floor"
    assert settings.num_classes == outputs - 4


def test_number_of_parameters_of_the_released_network():
    with torch.device("meta"):
        network = Rcnet(released_settings())
    assert sum(parameter.numel() for parameter in network.parameters()) == 137_505_633


@pytest.mark.parametrize("categories", [1, 432])
def test_other_categories_run_end_to_end(categories, scene):
    settings = paper_settings(categories).model_copy(update={"backbone": TINY_HRNET})
    small_net = {"channels_down": (4, 4, 4, 4, 4), "channels_up": (4, 4, 4, 4)}
    settings = settings.model_copy(
        update={"contact_net": settings.contact_net.model_copy(update=small_net)}
    )
    network = Rcnet(settings).eval()
    found = network(torch.randn(2, 3, 64, 64), CAMERAS, scene)
    assert found.logits.shape[1] == {1: 2, 432: 432}[categories]
    assert bool(torch.isfinite(found.refined_root_camera).all())


def test_features_are_the_way_to_the_anchor_then_the_image(small, scene):
    found = small(torch.randn(2, 3, 64, 64), CAMERAS, scene)
    features = voxel_features(found.voxels, found.anchor_camera, found.maps, CAMERAS)
    row = len(features) - 1
    torch.testing.assert_close(
        features[row, :3], found.anchor_camera[1] - found.voxels.centres_camera[row]
    )
    centre = found.voxels.centres_camera[row]
    unit = (
        1000 * centre[:2] / centre[2] + torch.tensor([640.0, 360.0]) - torch.tensor([340.0, 60.0])
    ) / 600
    expected = torch.nn.functional.grid_sample(
        found.maps.features[1:], 2 * unit[None, None, None] - 1, align_corners=True
    )[0, :, 0, 0]
    torch.testing.assert_close(features[row, 3:], expected, atol=1e-5, rtol=1e-4)


def test_empty_frustum_keeps_the_root_and_is_counted(small, scene):
    only_first = ScenePoints(scene.points_camera[:200], scene.batch[:200])
    found = small(torch.randn(2, 3, 64, 64), CAMERAS, only_first)
    assert found.num_without_scene == 1
    assert torch.equal(found.refined_root_camera[1], found.root_camera[1])
    nothing = ScenePoints(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    found = small(torch.randn(2, 3, 64, 64), CAMERAS, nothing)
    assert (found.num_without_scene, len(found.logits)) == (2, 0)
    assert torch.equal(found.refined_root_camera, found.root_camera)
    contact = contact_points(found, count=5)
    assert not contact.in_contact.any()


def test_order_of_scene_points_is_irrelevant(small, scene):
    images, order = torch.randn(2, 3, 64, 64), torch.randperm(400)
    a = small(images, CAMERAS, scene)
    b = small(images, CAMERAS, ScenePoints(scene.points_camera[order], scene.batch[order]))
    assert torch.equal(a.voxels.index, b.voxels.index)
    torch.testing.assert_close(a.refined_root_camera, b.refined_root_camera)


def test_images_that_are_not_finite_are_refused(small, scene):
    images = torch.zeros(2, 3, 64, 64)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(DataInvalid, match=r"images hold values[\s\S]*samples \[1\]"):
        small(images, CAMERAS, scene)


def test_roots_far_from_the_truth_are_replaced_around_it():
    torch.manual_seed(0)
    truth = torch.zeros(4000, 3)
    root = torch.zeros(4000, 3)
    root[::2, 0], root[1::2, 2] = 0.49, 0.51
    found = replace_far(root, truth, far_m=0.5, noise_m=0.5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(found[::2], root[::2])
    assert float(found[1::2].std(dim=0).sub(0.5).abs().max()) < 0.03


def test_training_reaches_features_but_not_the_root_maps(small, scene):
    """f3 learns from the votes; f1 and f2 only from their own losses."""
    small.train()
    found = small(torch.randn(2, 3, 64, 64), CAMERAS, scene, torch.tensor([[0.0, 0.0, 2.5]] * 2))
    (found.refined_root_camera.sum() + found.logits.square().sum()).backward()
    gradient = small.root_net.maps.weight.grad.flatten(1).abs().sum(dim=1)
    assert not gradient[:2].any()
    assert bool((gradient[2:6] > 0).all())
    assert not gradient[6:].any()


def test_mirrored_half_gives_contact_maps_of_the_mirrored_images(small):
    images = torch.randn(2, 3, 64, 64)
    maps, mirrored = small.maps_with_mirror(images)
    torch.testing.assert_close(maps.features, small.root_net(images).features, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mirrored, small.root_net(images.flip(3)).contact, atol=1e-5, rtol=1e-4)
