"""The losses equal SA-HMR's (goldens/metrics_losses_supervision.npz), and hand-made values."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines.errors import DataInvalid, SettingsInvalid
from sahmr.data.targets import mesh_targets, mirrored_contact_maps
from sahmr.losses.contact import contact_map_loss, voxel_category_loss
from sahmr.losses.mesh import mean_l1, scene_point_loss
from sahmr.losses.root import (
    refined_root_loss,
    root_depth_loss,
    root_heatmap_loss,
    voxel_offset_loss,
)
from sahmr.losses.weights import (
    MeshLossSettings,
    RootContactLossSettings,
    mesh_terms,
    root_contact_terms,
    weighted_total,
)
from sahmr.target_types import RootContactTargets, RootTargets, VoxelTargets
from sahmr.types import (
    ContactPoints,
    ContactVoxels,
    MeshPrediction,
    RecoveredMesh,
    RootContactPrediction,
    RootMaps,
    ScenePoints,
    eight_categories,
)

CATEGORIES = eight_categories(torch.zeros(431, dtype=torch.int64))


@pytest.fixture(scope="module")
def golden(goldens_folder):
    return np.load(goldens_folder / "metrics_losses_supervision.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def drawn(golden):
    """Predictions and targets, drawn in the order of the recording."""
    rng, B = np.random.default_rng(int(golden["seed"]) + 1), int(golden["batch"])

    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))

    def pair(*shape):
        return SimpleNamespace(target=normal(*shape), found=normal(*shape))

    d = SimpleNamespace(vertices=pair(B, 6890, 3), joints=pair(B, 14, 3))
    d.points_out, d.points_in = normal(B, 500, 3), normal(B, 500, 3)
    d.vertices_camera, heatmap, d.depth = pair(B, 6890, 3), pair(B, 1, 56, 56), normal(B, 1, 56, 56)
    d.maps, d.maps_mirrored, d.root = pair(B, 7, 56, 56), normal(B, 7, 56, 56), normal(B, 1, 3)
    true_root, true_depth = normal(B, 1, 3), normal(B)
    d.in_contact = torch.from_numpy(rng.random((B, 500)) < 0.3)
    cell, counts = torch.from_numpy(rng.integers(5, 50, (B, 2))), golden["loss_N"]
    d.logits = torch.cat([normal(n, 8) for n in counts])
    d.category = torch.cat([torch.from_numpy(rng.integers(0, 8, n)) for n in counts])
    d.offsets = torch.cat([normal(n, 3) for n in counts])
    d.true_offsets = torch.cat([normal(n, 3) for n in counts])
    d.batch = torch.repeat_interleave(torch.arange(B), torch.from_numpy(counts))
    d.heatmap, d.counts = heatmap.found[:, 0], counts
    d.root_targets = RootTargets(heatmap.target[:, 0], cell, true_depth, true_root[:, 0])
    return d


def close(found, golden, name):
    np.testing.assert_allclose(found.numpy(), golden[f"loss_{name}"], rtol=1e-6)


def test_losses_of_the_root_equal_the_originals(golden, drawn):
    close(root_heatmap_loss(drawn.heatmap, drawn.root_targets), golden, "pelvis_hm")
    close(root_depth_loss(drawn.depth[:, 0], drawn.root_targets, "block"), golden, "pelvis_depth")
    close(refined_root_loss(drawn.root[:, 0], drawn.root_targets), golden, "pelvis_xyz_refined")
    offsets = voxel_offset_loss(drawn.offsets, drawn.true_offsets, drawn.batch, 2, "mean")
    close(offsets, golden, "vox_xyz_offset")


def test_losses_of_contact_equal_the_originals(golden, drawn):
    voxels = voxel_category_loss(drawn.logits, drawn.category, drawn.batch, 2, "mean")
    close(voxels, golden, "pcSeg_voxel")
    close(contact_map_loss(drawn.maps.found, drawn.maps.target), golden, "bi4s_seg_hm")
    mirrored = mirrored_contact_maps(drawn.maps.target, CATEGORIES)
    close(contact_map_loss(drawn.maps_mirrored, mirrored), golden, "bi4s_seg_hm_flip")


def test_losses_of_the_mesh_equal_the_originals(golden, drawn):
    close(mean_l1(drawn.vertices.found, drawn.vertices.target), golden, "vertex")
    close(mean_l1(drawn.joints.found, drawn.joints.target), golden, "joint")
    close(mean_l1(drawn.vertices_camera.found, drawn.vertices_camera.target), golden, "vertex_c")
    points = scene_point_loss(drawn.points_out, drawn.points_in, drawn.in_contact, "all")
    close(points, golden, "corr_points")


def test_a_pixel_at_weight_40_has_the_scale_of_the_block():
    depth = torch.full((1, 56, 56), 3.0)
    target = RootTargets(depth, torch.tensor([[1, 54]]), torch.tensor([2.5]), torch.zeros(1, 3))
    assert root_depth_loss(depth, target, "pixel").tolist() == [0.5]
    assert root_depth_loss(depth, target, "block").tolist() == [2.0]


def test_the_block_reads_row_v_and_column_u():
    depth = torch.zeros(1, 56, 56)
    depth[0, 30, 10] = 1.0
    target = RootTargets(depth, torch.tensor([[10, 30]]), torch.zeros(1), torch.zeros(1, 3))
    assert root_depth_loss(depth, target, "pixel").tolist() == [1.0]
    depth[0, 30, 11] = 1.0
    assert root_depth_loss(depth, target, "block").tolist() == [1.5]


def test_sums_over_voxels_are_means_times_their_number(drawn):
    arguments = (drawn.offsets, drawn.true_offsets, drawn.batch, 2)
    counts = torch.from_numpy(drawn.counts)
    torch.testing.assert_close(
        voxel_offset_loss(*arguments, "sum"), voxel_offset_loss(*arguments, "mean") * counts
    )


def test_a_sample_without_voxels_costs_nothing(drawn):
    found = voxel_category_loss(drawn.logits, drawn.category, drawn.batch, 3, "mean")
    assert found[2] == 0
    empty = voxel_offset_loss(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0).long(), 2, "mean")
    assert empty.tolist() == [0, 0]
    none = voxel_category_loss(torch.zeros(0, 8), torch.zeros(0).long(), torch.zeros(0).long(), 2, "sum")
    assert none.tolist() == [0, 0]


def test_a_voxel_in_contact_counts_as_often_as_said():
    logits, category = torch.zeros(4, 8), torch.tensor([0, 0, 0, 5])
    batch = torch.zeros(4).long()
    plain = voxel_category_loss(logits, category, batch, 1, "mean")
    counted = voxel_category_loss(logits, category, batch, 1, "mean", contact_weight=9.0)
    torch.testing.assert_close(plain, torch.tensor([math.log(8)]))
    torch.testing.assert_close(counted, 3 * plain)  # (3 + 9) / 4


def test_padding_of_scene_points_counts_in_the_divisor_only_by_choice():
    given, found = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    mask = torch.tensor([[True, False, False, False], [False] * 4])
    assert scene_point_loss(found, given, mask, "all").tolist() == [0.75, 0]
    assert scene_point_loss(found, given, mask, "valid").tolist() == [3, 0]


def prediction_of(drawn):
    index = torch.zeros(len(drawn.batch), 3, dtype=torch.int64)
    nothing = ScenePoints(torch.zeros(0, 3), torch.zeros(0).long())
    voxels = ContactVoxels(index, index.float(), drawn.batch, nothing, torch.zeros(0).long())
    maps = RootMaps(drawn.heatmap, drawn.depth[:, 0], torch.zeros(2, 32, 56, 56), drawn.maps.found)
    root = drawn.root[:, 0]
    return RootContactPrediction(
        maps=maps,
        root_heatmap_px=torch.zeros(2, 2).long(),
        root_camera=root,
        anchor_camera=root,
        voxels=voxels,
        confidence=torch.zeros(len(drawn.batch)),
        offsets=drawn.offsets,
        logits=drawn.logits,
        refined_root_camera=root,
        num_without_scene=0,
    )


def targets_of(drawn, mirrored=True):
    maps = drawn.maps.target
    return RootContactTargets(
        drawn.root_targets,
        VoxelTargets(drawn.category, drawn.true_offsets),
        maps,
        mirrored_contact_maps(maps, CATEGORIES) if mirrored else None,
    )


def test_rcnets_terms_and_total_are_the_weighted_originals(golden, drawn):
    settings = RootContactLossSettings()
    terms = root_contact_terms(prediction_of(drawn), targets_of(drawn), settings, drawn.maps_mirrored)
    official = {
        "root_heatmap": ("pelvis_hm", 1),
        "root_depth": ("pelvis_depth", 10),
        "voxel_offset": ("vox_xyz_offset", 1),
        "refined_root": ("pelvis_xyz_refined", 1),
        "voxel_category": ("pcSeg_voxel", 1),
        "contact_maps": ("bi4s_seg_hm", 1),
        "mirrored_contact_maps": ("bi4s_seg_hm_flip", 1),
    }
    assert set(terms) == set(official) == set(settings.weights())
    for ours, (theirs, _) in official.items():
        close(terms[ours], golden, theirs)
    expected = sum(weight * golden[f"loss_{name}"] for name, weight in official.values()).mean()
    assert float(weighted_total(terms, settings.weights())) == pytest.approx(expected, rel=1e-6)


def test_without_mirrored_images_that_term_is_absent(drawn):
    settings = RootContactLossSettings()
    terms = root_contact_terms(prediction_of(drawn), targets_of(drawn, mirrored=False), settings)
    assert "mirrored_contact_maps" not in terms
    assert weighted_total(terms, settings.weights()).isfinite()
    with pytest.raises(DataInvalid, match="no targets for them"):
        root_contact_terms(
            prediction_of(drawn), targets_of(drawn, mirrored=False), settings, drawn.maps_mirrored
        )


def mesh_case(root=(0.1, 0.2, 3.0)):
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(1, 6890, 3, generator=generator)
    regressor = torch.rand(17, 6890, generator=generator)
    regressor /= regressor.sum(dim=1, keepdim=True)
    root = torch.tensor([root])
    points = torch.randn(1, 500, 3, generator=generator)
    category = torch.zeros(1, 500, dtype=torch.int64)
    category[:, :3] = 2
    mesh = RecoveredMesh(vertices, points, (), ())
    contact = ContactPoints(points + root[:, None], category)
    prediction = MeshPrediction(
        vertices_camera=vertices + root[:, None],
        root_camera=root,
        mesh=mesh,
        contact_points=contact,
        root_contact=object.__new__(RootContactPrediction),  # the mesh's losses do not read it
    )
    return prediction, regressor


def test_a_perfect_mesh_has_no_loss():
    prediction, regressor = mesh_case()
    targets = mesh_targets(prediction.vertices_camera, regressor)
    for name, term in mesh_terms(prediction, targets, regressor, MeshLossSettings()).items():
        assert float(term) == pytest.approx(0, abs=1e-5), name


def test_a_misplaced_mesh_costs_in_the_camera_frame_only():
    prediction, regressor = mesh_case()
    moved = mesh_targets(prediction.vertices_camera + torch.tensor([0.5, 0, 0]), regressor)
    terms = mesh_terms(prediction, moved, regressor, MeshLossSettings())
    assert {name: round(float(term), 4) for name, term in terms.items()} == {
        "vertices": 0,
        "joints": 0,
        "scene_points": 0,
        "vertices_camera": 0.5,
    }


def test_quality_scales_each_samples_share():
    terms, weights = {"a": torch.tensor([2.0, 4.0]), "b": torch.tensor([1.0, 1.0])}, {"a": 1.0, "b": 2.0}
    assert float(weighted_total(terms, weights)) == 5.0
    assert float(weighted_total(terms, weights, torch.ones(2))) == 5.0
    assert float(weighted_total(terms, weights, torch.tensor([0.5, 0.0]))) == 1.0
    assert float(weighted_total(terms, weights, torch.zeros(2))) == 0.0


@pytest.mark.parametrize("quality", [[-0.1, 1.0], [float("nan"), 1.0]])
def test_a_bad_quality_is_refused(quality):
    with pytest.raises(DataInvalid, match="quality weights"):
        weighted_total({"a": torch.ones(2)}, {"a": 1.0}, torch.tensor(quality))


@pytest.mark.parametrize(
    ("terms", "weights", "message"),
    [
        (["a"], {"a": 1.0, "b": 1.0}, r"missing: \['b'\]"),
        (["a", "c"], {"a": 1.0}, r"without weight: \['c'\]"),
        (["a"], {"a": 0.0}, r"with weight: \[\]"),
    ],
)
def test_terms_and_weights_must_fit(terms, weights, message):
    with pytest.raises(SettingsInvalid, match=message):
        weighted_total({name: torch.ones(1) for name in terms}, weights)


def test_a_term_of_weight_zero_may_be_anything():
    terms = {"a": torch.ones(1), "b": torch.tensor([float("nan")])}
    assert float(weighted_total(terms, {"a": 1.0, "b": 0.0})) == 1.0
