"""Targets equal SA-HMR's (goldens/metrics_losses_supervision.npz), and hand-made cases."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines.errors import DataInvalid
from sahmr.data.targets import (
    ContactSurface,
    ContactTargetSettings,
    category_of_points,
    contact_maps,
    contact_surface,
    mesh_targets,
    mirrored_contact_maps,
    mirrored_vertices,
    root_targets,
    scene_contact,
    voxel_targets,
)
from sahmr.networks.crop_geometry import in_frustum
from sahmr.types import (
    ContactVoxels,
    CropCameras,
    ScenePoints,
    eight_categories,
    one_category,
    vertex_categories,
)

CATEGORIES = eight_categories(torch.zeros(431, dtype=torch.int64))
RELEASED = ContactTargetSettings(background_map=False)


@pytest.fixture(scope="module")
def golden(goldens_folder):
    return np.load(goldens_folder / "metrics_losses_supervision.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def drawn(golden):
    """Cameras, bodies and scenes, drawn in the order of the recording, all in the camera frame.

    The original carries scene points to the world and back; the transforms are drawn and not used.
    """
    rng, columns = np.random.default_rng(int(golden["seed"]) + 2), []
    for _ in range(int(golden["batch"])):
        fx, centre = rng.uniform(900, 1500), rng.uniform(500, 700, 2)
        root = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(2.5, 4.5)])
        box = fx * root[:2] / root[2] + centre + rng.uniform(-40, 40, 2)
        half = rng.uniform(250, 400)
        vertices = root + 0.35 * rng.standard_normal((6890, 3))
        voxels = root + rng.uniform(-0.9, 0.9, (1200, 3))
        rng.uniform(-3, 3)
        rng.standard_normal(3)
        scene = root + rng.uniform(-4, 4, (3, 5000)).T
        touching, category = root + 0.5 * rng.standard_normal((300, 3)), rng.integers(0, 8, 300)
        K = np.array([[fx, 0, centre[0]], [0, fx, centre[1]], [0, 0, 1]])
        columns.append(
            (K, [*(box - half), *(box + half)], root, vertices, voxels, scene, touching, category)
        )
    K, boxes, root, vertices, voxels, scene, touching, category = (
        torch.from_numpy(np.stack(column)) for column in zip(*columns, strict=True)
    )
    part = torch.arange(6890) % 40
    return SimpleNamespace(
        cameras=CropCameras(boxes.float(), K.float()),
        root=root.float(),
        vertices=vertices.float(),
        voxels=flat(voxels),
        scene=flat(scene),
        touching=flat(touching),
        category=category.flatten(),
        category_of_vertex=torch.where(part < 8, part, 0),
    )


def flat(points):
    batch = torch.arange(len(points)).repeat_interleave(points.shape[1])
    return ScenePoints(points.reshape(-1, 3).float(), batch)


def camera(samples=1):
    """A box of 55 pixels from (0, 0): at 1 m, cells of the heat map are centimetres."""
    K = torch.tensor([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]).expand(samples, 3, 3)
    return CropCameras(torch.tensor([[0.0, 0, 55, 55]]).expand(samples, 4), K)


def test_the_frustum_keeps_the_originals_points(golden, drawn):
    keep = in_frustum(drawn.scene.points_camera, drawn.scene.batch, drawn.cameras)
    np.testing.assert_allclose(torch.bincount(drawn.scene.batch[keep]), golden["frustum_n"], atol=2)
    kept = drawn.scene.points_camera[keep & (drawn.scene.batch == 0)].double().sum(dim=0)
    np.testing.assert_allclose(kept, golden["frustum_c_b0_sum/val"], rtol=1e-5)


def test_root_targets_equal_the_originals(golden, drawn):
    found = root_targets(drawn.root, drawn.cameras)
    np.testing.assert_array_equal(found.heatmap_px, golden["gt_pelvis_2d"])
    np.testing.assert_allclose(found.depth, golden["gt_zw1f"], rtol=1e-6)
    np.testing.assert_array_equal(found.heatmap.sum(dim=(1, 2)), golden["gt_pelvis_hm_sum"])
    np.testing.assert_array_equal(
        found.heatmap.flatten()[golden["gt_pelvis_hm/idx"]], golden["gt_pelvis_hm/val"]
    )


@pytest.mark.parametrize(
    ("left_out", "name"), [((), "vox_label_hist"), (("L_Hand", "R_Hand"), "vox_label_hist_skiphand")]
)
def test_voxel_categories_equal_the_originals(left_out, name, golden, drawn):
    settings = RELEASED.model_copy(update={"left_out": left_out})
    surface = contact_surface(drawn.vertices, drawn.category_of_vertex, CATEGORIES, settings)
    centres, batch = drawn.voxels.points_camera, drawn.voxels.batch
    voxels = ContactVoxels(centres.long(), centres, batch, drawn.voxels, torch.arange(len(batch)))
    found = voxel_targets(voxels, surface, drawn.root, settings)
    counts = [torch.bincount(found.category[batch == b], minlength=8) for b in range(2)]
    np.testing.assert_allclose(torch.stack(counts), golden[name], atol=2)
    torch.testing.assert_close(centres + found.offsets, drawn.root[batch])


def test_contact_maps_equal_the_originals(golden, drawn):
    found = contact_maps(drawn.touching, drawn.category, drawn.cameras, 8, RELEASED)
    assert found.shape == tuple(golden["gt_seg_hm/shape"])
    np.testing.assert_array_equal(found.sum(dim=(2, 3)), golden["gt_seg_hm_sum"])
    np.testing.assert_array_equal(found.flatten()[golden["gt_seg_hm/idx"]], golden["gt_seg_hm/val"])


def test_the_background_map_is_what_no_part_covers(drawn):
    parts = contact_maps(drawn.touching, drawn.category, drawn.cameras, 8, RELEASED)
    eight = contact_maps(drawn.touching, drawn.category, drawn.cameras, 8, ContactTargetSettings())
    assert torch.equal(eight[:, 1:], parts)
    assert torch.equal(eight[:, 0] + parts.amax(dim=1), torch.ones(2, 56, 56))


@pytest.mark.parametrize(("root", "cell"), [((0.30, 0.10, 1.0), (30, 10)), ((-2.0, 9.0, 1.0), (1, 54))])
def test_the_stamp_stands_at_the_root_and_never_over_the_border(root, cell):
    found = root_targets(torch.tensor([root]), camera())
    assert found.heatmap_px.tolist() == [list(cell)]
    assert found.heatmap[0, cell[1], cell[0]] == 1
    assert float(found.heatmap.sum()) == 4
    assert found.depth.tolist() == pytest.approx([0.55])  # Z x box width / fx


@pytest.mark.parametrize("root", [(0.0, 0.0, -2.0), (0.0, float("nan"), 2.0)])
def test_a_root_in_another_frame_is_refused(root):
    with pytest.raises(DataInvalid, match=r"not in front of the camera[\s\S]*camera frame"):
        root_targets(torch.tensor([root]), camera())


def test_the_radius_is_strict_and_the_nearest_vertex_decides():
    surface = ContactSurface(torch.tensor([[[0.0, 0, 0], [0.125, 0, 0]]]), torch.tensor([3, 5]))
    points = torch.tensor([[-0.0625, 0, 0], [-0.07, 0, 0], [0.0624, 0, 0], [0.0626, 0, 0], [0.2, 0, 0]])
    batch = torch.zeros(5, dtype=torch.int64)
    assert category_of_points(points, batch, surface, 0.0625).tolist() == [0, 0, 3, 5, 0]
    assert category_of_points(points, batch, surface, 0.0701).tolist() == [3, 3, 3, 5, 0]


def test_vertices_without_category_label_nothing_even_when_nearer():
    vertices = torch.tensor([[[0.0, 0, 0], [0.05, 0, 0]]])
    surface = contact_surface(vertices, torch.tensor([0, 7]), CATEGORIES, RELEASED)
    found = category_of_points(torch.zeros(1, 3), torch.zeros(1).long(), surface, 0.07)
    assert found.tolist() == [7]


def test_no_category_at_all_means_no_contact():
    surface = contact_surface(torch.zeros(1, 4, 3), torch.zeros(4).long(), CATEGORIES, RELEASED)
    scene = ScenePoints(torch.zeros(3, 3), torch.zeros(3).long())
    points, category = scene_contact(scene, surface, 0.02, RELEASED, None)
    assert len(points.points_camera) == len(category) == 0
    assert contact_maps(points, category, camera(), 8, RELEASED).abs().sum() == 0


def test_unknown_categories_to_leave_out_are_refused():
    settings = RELEASED.model_copy(update={"left_out": ("l_hand",)})
    with pytest.raises(DataInvalid, match=r"do not exist[\s\S]*l_hand"):
        contact_surface(torch.zeros(1, 4, 3), torch.zeros(4).long(), CATEGORIES, settings)


def test_one_class_per_vertex_labels_the_nearest_of_the_coarse_body():
    categories = vertex_categories()
    vertices = torch.randn(1, 431, 3, generator=torch.Generator().manual_seed(0))
    surface = contact_surface(vertices, categories.part_of_vertex, categories, RELEASED)
    found = category_of_points(vertices[0, [0, 430, 7]], torch.zeros(3).long(), surface, 0.07)
    assert found.tolist() == [1, 431, 8]


def test_one_class_for_contact_has_one_map_and_mirrors_onto_itself():
    categories = one_category(torch.arange(431) % 8)
    points = ScenePoints(torch.tensor([[0.10, 0.20, 1.0]]), torch.zeros(1).long())
    maps = contact_maps(points, torch.ones(1).long(), camera(), categories.count, RELEASED)
    assert maps.shape == (1, 1, 56, 56)
    assert maps[0, 0, 20, 10] == 1
    assert mirrored_contact_maps(maps, categories)[0, 0, 20, 45] == 1


@pytest.mark.parametrize("background", [True, False])
def test_mirroring_swaps_the_sides_of_the_body_and_of_the_image(background):
    settings = ContactTargetSettings(background_map=background)
    left = ScenePoints(torch.tensor([[0.10, 0.20, 1.0]]), torch.zeros(1).long())
    right = ScenePoints(torch.tensor([[0.45, 0.20, 1.0]]), torch.zeros(1).long())
    names = CATEGORIES.names
    for one, other in (("L_Leg", "R_Leg"), ("L_Hand", "R_Hand"), ("back", "back"), ("thighs", "thighs")):
        here = contact_maps(left, torch.tensor([names.index(one)]), camera(), 8, settings)
        there = contact_maps(right, torch.tensor([names.index(other)]), camera(), 8, settings)
        assert torch.equal(mirrored_contact_maps(here, CATEGORIES), there), one


def test_one_class_per_vertex_mirrors_onto_the_vertex_across():
    template = torch.tensor([[0.3, 1.0, 0.0], [-0.31, 1, 0], [0.0, 0, 0], [0.2, 0, 0.1], [-0.2, 0, 0.1]])
    table = mirrored_vertices(template)
    assert table == (1, 0, 2, 4, 3)
    categories = vertex_categories(5, table)
    maps = torch.arange(5.0)[None, :, None, None].expand(1, 5, 4, 4)
    assert mirrored_contact_maps(maps, categories)[0, :, 0, 0].tolist() == [1, 0, 2, 4, 3]


def test_no_voxels_have_no_targets():
    body = ContactSurface(torch.zeros(1, 2, 3), torch.tensor([1, 2]))
    none, nothing = torch.zeros(0).long(), torch.zeros(0, 3)
    voxels = ContactVoxels(nothing.long(), nothing, none, ScenePoints(nothing, none), none)
    found = voxel_targets(voxels, body, torch.zeros(1, 3), RELEASED)
    assert found.category.shape == (0,)
    assert found.offsets.shape == (0, 3)


def test_mirroring_without_a_table_is_refused():
    with pytest.raises(DataInvalid, match="mirror image of the contact categories is not known"):
        mirrored_contact_maps(torch.zeros(1, 431, 4, 4), vertex_categories())


def test_points_outside_the_box_or_behind_the_camera_leave_no_trace():
    points = torch.tensor([[-0.10, 0.20, 1.0], [0.56, 0.2, 1.0], [-0.1, -0.2, -1.0], [0.1, 0.2, 1.0]])
    scene = ScenePoints(points, torch.zeros(4).long())
    maps = contact_maps(scene, torch.tensor([1, 1, 1, 0]), camera(), 8, RELEASED)
    assert maps.abs().sum() == 0


def test_overlapping_stamps_stay_at_one():
    points = ScenePoints(
        torch.tensor([[0.10, 0.2, 1], [0.11, 0.2, 1], [0.10, 0.2, 1]]), torch.zeros(3).long()
    )
    maps = contact_maps(points, torch.ones(3).long(), camera(), 8, RELEASED)
    assert maps.max() == 1
    assert maps[0, 0, 20, 9:13].tolist() == [0.5, 1, 1, 0.5]


def scene_and_body():
    body = torch.tensor([[[0.0, 0, 3], [0.0, 0.5, 3]]])
    surface = ContactSurface(body, torch.tensor([1, 2]))
    points = torch.tensor([[0.0, 0, 3.05], [0, 0.5, 3.05], [0, 0.25, 3.0], [1.0, 0, 3]])
    return ScenePoints(points, torch.zeros(4).long()), surface


def test_scene_points_near_a_part_take_its_category():
    scene, surface = scene_and_body()
    points, category = scene_contact(scene, surface, 0.02, RELEASED, None)
    assert category.tolist() == [1, 2]
    assert torch.equal(points.points_camera, scene.points_camera[:2])


def test_jitter_moves_each_axis_by_at_most_its_share_of_the_pitch():
    scene, surface = scene_and_body()
    generator = torch.Generator().manual_seed(0)
    points, category = scene_contact(scene, surface, 0.02, RELEASED, generator)
    moved = (points.points_camera - scene.points_camera[:2]).abs()
    assert category.tolist() == [1, 2]
    assert 0 < float(moved.max()) <= 0.3 * 0.02 + 1e-6
    again = scene_contact(scene, surface, 0.02, RELEASED, torch.Generator().manual_seed(0))
    assert torch.equal(again[0].points_camera, points.points_camera)


def test_a_scene_in_another_frame_is_refused():
    scene, surface = scene_and_body()
    lost = ScenePoints(scene.points_camera + torch.tensor([5.0, 0, 0]), scene.batch)
    with pytest.raises(
        DataInvalid, match=r"nowhere near the body[\s\S]*5\.00 m[\s\S]*same camera frame"
    ):
        scene_contact(lost, surface, 0.02, RELEASED, None)


def test_no_scene_points_give_no_contact():
    _, surface = scene_and_body()
    nothing = ScenePoints(torch.zeros(0, 3), torch.zeros(0).long())
    points, category = scene_contact(nothing, surface, 0.02, RELEASED, None)
    assert len(points.points_camera) == len(category) == 0


def test_the_true_body_is_centred_on_the_regressed_pelvis():
    vertices = torch.randn(2, 6890, 3)
    regressor = torch.zeros(17, 6890)
    regressor[torch.arange(17), torch.arange(17) * 10] = 1
    found = mesh_targets(vertices, regressor)
    assert torch.equal(found.root_camera, vertices[:, 0])
    assert torch.equal(found.vertices_pelvis, vertices - vertices[:, :1])
    assert torch.equal(found.joints_pelvis[:, 0], vertices[:, 30] - vertices[:, 0])
