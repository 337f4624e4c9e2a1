"""Targets assembled from stored bodies and clouds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipelines.bodies.files import resolve_body_files
from pipelines.errors import DataInvalid
from pipelines.shards.collection import ShardCollection
from sahmr.data.augment import AugmentationSettings
from sahmr.data.collate import collate
from sahmr.data.contact_table import category_of_fine_vertices
from sahmr.data.dataset import TrainingSamples
from sahmr.data.supervision import SupervisionSettings, contact_in_scenes, load_supervision, pose_bodies
from sahmr.data.targets import ContactTargetSettings, root_targets
from sahmr.networks.contact_module import NearbySettings, nearby_voxels
from sahmr.types import ContactVoxels, CropCameras, ScenePoints

FILES = resolve_body_files(None)
RELEASED = SupervisionSettings(contact=ContactTargetSettings(background_map=False))
EVERY_PART = RELEASED.model_copy(update={"left_out_parts": ()})


@pytest.fixture(scope="module")
def samples(body_shards):
    return TrainingSamples(ShardCollection(body_shards()))


@pytest.fixture(scope="module")
def batch(samples):
    return collate([samples[row] for row in (0, 1, 5)])


@pytest.fixture(scope="module")
def supervision():
    return load_supervision(FILES, 8)


@pytest.fixture(scope="module")
def golden(goldens_folder):
    return np.load(goldens_folder / "metrics_losses_supervision.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def drawn(golden, samples):
    """Camera-frame bodies and voxels in the order of the recording, put into a batch."""
    rng, columns = np.random.default_rng(int(golden["seed"]) + 2), []
    for _ in range(int(golden["batch"])):
        fx, centre = rng.uniform(900, 1500), rng.uniform(500, 700, 2)
        root = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(2.5, 4.5)])
        box = fx * root[:2] / root[2] + centre + rng.uniform(-40, 40, 2)
        half = rng.uniform(250, 400)
        vertices = root + 0.35 * rng.standard_normal((6890, 3))
        voxels = root + rng.uniform(-0.9, 0.9, (1200, 3))
        rng.uniform(-3, 3), rng.standard_normal(3)
        scene = root + rng.uniform(-4, 4, (3, 5000)).T
        rng.standard_normal((300, 3)), rng.integers(0, 8, 300)
        K = np.array([[fx, 0, centre[0]], [0, fx, centre[1]], [0, 0, 1]])
        columns.append((K, [*(box - half), *(box + half)], root, vertices, voxels, scene))
    K, boxes, root, vertices, voxels, scene = (
        torch.from_numpy(np.stack(column)).float() for column in zip(*columns, strict=True)
    )
    count = len(K)
    batch = replace(
        collate([samples[row] for row in range(count)]),
        cameras=CropCameras(boxes, K),
        scene=ScenePoints(scene.flatten(0, 1), torch.arange(count).repeat_interleave(5000)),
    )
    centres = voxels.flatten(0, 1)
    rows = torch.arange(count).repeat_interleave(1200)
    found = ContactVoxels(centres.long(), centres, rows, batch.scene, torch.zeros(0, dtype=torch.long))
    return batch, root, vertices, found


@pytest.mark.parametrize(
    ("dropped", "name"), [((), "vox_label_hist"), ((3, 4), "vox_label_hist_skiphand")]
)
def test_assembled_targets_equal_the_originals(dropped, name, golden, drawn, supervision):
    batch, root, vertices, voxels = drawn
    part = torch.arange(6890) % 40
    part = torch.where((part < 8) & ~torch.isin(part, torch.tensor(dropped)), part, 0)
    found = replace(supervision, category_of_vertex=part, settings=RELEASED)
    targets = found.of_bodies(vertices, batch)
    # The recording gives a root that is not the drawn body's pelvis.
    exact = replace(targets, root=root_targets(root, batch.cameras))
    labelled = exact.with_voxels(voxels)
    counts = [torch.bincount(labelled.voxels.category[voxels.batch == b], minlength=8) for b in range(2)]
    np.testing.assert_allclose(torch.stack(counts), golden[name], atol=2)
    np.testing.assert_array_equal(exact.root.heatmap_px, golden["gt_pelvis_2d"])
    np.testing.assert_allclose(exact.root.depth, golden["gt_zw1f"], rtol=1e-6)


def test_stored_contact_is_found_again_in_the_cut_cloud(samples, batch, supervision):
    surface = supervision.surface(pose_bodies(batch.body, supervision.bodies))
    points, category = contact_in_scenes(batch, surface, RELEASED.contact)
    for row, index in enumerate((0, 1, 5)):
        stored = samples.collection[index]
        found = torch.bincount(category[points.batch == row], minlength=8)
        expected = np.bincount(stored.contact_category, minlength=8)
        np.testing.assert_array_equal(found, expected)  # all of it lies in view
        assert found[1] > 5
        assert found[2] > 5
        assert found[3:].sum() == 0  # only soles


def test_the_body_is_posed_by_its_own_gender(batch, supervision):
    vertices = pose_bodies(batch.body, supervision.bodies)
    for row, gender in enumerate(batch.body.genders):
        body = batch.body
        own = [
            getattr(body, n)[row : row + 1] for n in ("betas", "global_orient", "body_pose", "transl")
        ]
        torch.testing.assert_close(vertices[row], supervision.bodies[gender](*own).vertices[0])
    assert set(batch.body.genders) == {"male", "female"}
    unknown = replace(batch.body, genders=("male", "none", "male"))
    with pytest.raises(DataInvalid, match=r"no body model of a sample's gender[\s\S]*found: none"):
        pose_bodies(unknown, supervision.bodies)


def test_targets_belong_together(batch, supervision):
    targets = supervision.before_forward(batch)
    pelvis = targets.mesh.root_camera
    torch.testing.assert_close(targets.root.root_camera, pelvis)
    torch.testing.assert_close(
        targets.mesh.vertices_camera - pelvis[:, None], targets.mesh.vertices_pelvis
    )
    assert (pelvis[:, 2] - 3.2).abs().max() < 0.3
    assert targets.contact_maps.shape == (3, 8, 56, 56)
    voxels = nearby_voxels(batch.scene, pelvis, NearbySettings())
    found = targets.with_voxels(voxels)
    torch.testing.assert_close(voxels.centres_camera + found.voxels.offsets, pelvis[voxels.batch])
    touched = set(found.voxels.category.tolist())
    assert touched == {0, 1, 2}
    # Camera x grows to the right and the body faces the camera, so its left sole is on the right.
    left, right = ((targets.contact_maps[0, k] * torch.arange(56)).sum() / targets.contact_maps[0, k].sum()
                   for k in (1, 2))  # fmt: skip
    assert left > right
    mirrored = found.mirrored_contact_maps
    torch.testing.assert_close(mirrored[:, 1].flip(-1), found.contact_maps[:, 2])
    assert found.contact_maps is targets.contact_maps
    assert found.root is targets.root


def test_a_sample_has_the_same_targets_in_any_batch(body_shards, supervision):
    varied = TrainingSamples(ShardCollection(body_shards()), AugmentationSettings())
    together = supervision.before_forward(collate([varied[row] for row in (2, 0, 3)]))
    alone = supervision.before_forward(collate([varied[0]]))
    assert torch.equal(together.contact_maps[1], alone.contact_maps[0])
    torch.testing.assert_close(together.mesh.vertices_camera[1], alone.mesh.vertices_camera[0])
    unvaried = TrainingSamples(varied.collection)
    still = supervision.before_forward(collate([replace(unvaried[0], box_px=varied[0].box_px)]))
    assert not torch.equal(still.contact_maps, alone.contact_maps)  # the jitter of points


def test_mirrored_maps_can_be_left_out(batch):
    made = load_supervision(FILES, 432, SupervisionSettings(mirrored_maps=False))
    targets = made.before_forward(batch)
    assert targets.mirrored_contact_maps is None
    assert targets.contact_maps.shape[1] == 432


def test_tables_of_1_8_and_432_categories():
    eight, one, fine = (category_of_fine_vertices(FILES, count) for count in (8, 2, 432))
    np.testing.assert_array_equal(one, eight > 0)
    assert sorted(fine[fine > 0]) == list(range(1, 432))
    hands = np.isin(eight, (3, 4))
    for count, table in ((8, eight), (2, one), (432, fine)):
        without = category_of_fine_vertices(FILES, count, ("L_Hand", "R_Hand"))
        np.testing.assert_array_equal(without, np.where(hands, 0, table))
    with pytest.raises(DataInvalid, match="no set of contact categories"):
        category_of_fine_vertices(FILES, 9)
    with pytest.raises(DataInvalid, match="leave out do not exist"):
        category_of_fine_vertices(FILES, 8, ("L_Foot",))


def test_a_scene_in_another_frame_is_refused_by_the_samples_name(batch, supervision):
    moved = ScenePoints(batch.scene.points_camera + 20, batch.scene.batch)
    with pytest.raises(DataInvalid, match=rf"nowhere near the body[\s\S]*{batch.sample_ids[0]}"):
        supervision.before_forward(replace(batch, scene=moved))


def test_a_sample_without_any_scene_has_empty_maps(batch, supervision):
    first = batch.scene.batch == 0
    alone = ScenePoints(batch.scene.points_camera[first], batch.scene.batch[first])
    maps = supervision.before_forward(replace(batch, scene=alone)).contact_maps
    assert maps[0, 1:].sum() > 0
    assert maps[1:, 1:].sum() == 0
    assert (maps[1:, 0] == 1).all()
