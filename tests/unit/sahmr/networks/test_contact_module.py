from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sahmr.networks.contact_module import NearbySettings, contact_points, nearby_voxels, refine_root
from sahmr.types import ContactVoxels, RootContactPrediction, RootMaps, ScenePoints

ROOT = torch.tensor([[0.0, 0.0, 3.0], [1.0, 0.0, 4.0]])


def scene(points, batch):
    return ScenePoints(torch.tensor(points), torch.tensor(batch))


def voxels_at(centres, batch):
    centres, batch = torch.tensor(centres).reshape(-1, 3), torch.tensor(batch, dtype=torch.long)
    index = (centres / 0.05).floor().long()
    return ContactVoxels(index, centres, batch, ScenePoints(centres, batch), torch.arange(len(batch)))


def predict(voxels, category, classes=8):
    logits = torch.nn.functional.one_hot(torch.tensor(category, dtype=torch.long), classes).float()
    maps = RootMaps(*torch.zeros(2, 2, 4, 4).unbind(0), torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))
    zeros = torch.zeros(len(logits))
    return RootContactPrediction(
        maps, torch.zeros(2, 2, dtype=torch.long), ROOT, ROOT, voxels, zeros, zeros[:, None].repeat(1, 3),
        logits, ROOT, 0,
    )  # fmt: skip


def test_nearness_by_hand():
    """Radius 1.25 m round anchors at -0.5, 0 and +0.5 m in depth; the border is outside."""
    points = [
        [1.24, 0.0, 3.0],
        [1.25, 0.0, 3.0],
        [0.0, 0.0, 4.74],
        [0.0, 0.0, 4.75],
        [0.0, 0.0, 1.26],
        [1.2, 0.0, 3.8],
        [1.2, 0.0, 3.9],
    ]
    found = nearby_voxels(scene(points, [0] * 7), ROOT[:1], NearbySettings())
    kept = [points[0], points[2], points[4], points[5]]
    torch.testing.assert_close(found.nearby.points_camera, torch.tensor(kept))


def test_cells_are_floored_and_centred():
    points = [[0.01, -0.01, 3.0 + 0.01], [0.04, -0.04, 3.0 + 0.02], [0.06, 0.0, 3.0 + 0.01]]
    found = nearby_voxels(scene(points, [0, 0, 0]), ROOT[:1], NearbySettings())
    assert found.index.tolist() == [[0, -1, 60], [1, 0, 60]]
    torch.testing.assert_close(
        found.centres_camera, torch.tensor([[0.025, -0.025, 3.025], [0.075, 0.025, 3.025]])
    )
    assert found.voxel_of_point.tolist() == [0, 0, 1]


def test_equal_cells_of_two_samples_stay_apart():
    found = nearby_voxels(scene([[0.5, 0.0, 3.5]] * 3, [1, 0, 1]), ROOT, NearbySettings())
    assert found.batch.tolist() == [0, 1]
    assert found.voxel_of_point.tolist() == [1, 0, 1]


def test_a_sample_without_near_points_takes_all_of_its_own():
    points = [[0.0, 0.0, 9.0], [0.0, 0.0, 10.0], [1.0, 0.0, 4.0], [1.0, 0.0, 11.0]]
    found = nearby_voxels(scene(points, [0, 0, 1, 1]), ROOT, NearbySettings())
    assert found.nearby.batch.tolist() == [0, 0, 1]


def test_no_scene_point_at_all_gives_no_voxel():
    found = nearby_voxels(
        ScenePoints(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)), ROOT, NearbySettings()
    )
    assert (found.index.shape, found.centres_camera.shape, found.batch.shape) == ((0, 3), (0, 3), (0,))
    empty = torch.zeros(0)
    assert torch.equal(refine_root(found, empty, torch.zeros(0, 3), ROOT), ROOT)


def test_refined_root_by_hand():
    """softmax(sigmoid(0), sigmoid(large)) = (exp(0.5), e) / (exp(0.5) + e); sample 1 keeps its root."""
    voxels = voxels_at([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0]], [0, 0])
    offsets = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    refined = refine_root(voxels, torch.tensor([0.0, 100.0]), offsets, ROOT)
    a = torch.tensor(0.5).exp() / (torch.tensor(0.5).exp() + torch.tensor(1.0).exp())
    torch.testing.assert_close(refined[0], torch.stack([1 - a, 0.5 * a, torch.tensor(3.0)]))
    assert torch.equal(refined[1], ROOT[1])


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_refined_root_is_the_softmax_of_sigmoids(raw):
    confidence = torch.tensor(raw, dtype=torch.float64)
    centres = torch.randn(len(raw), 3, dtype=torch.float64)
    batch = torch.zeros(len(raw), dtype=torch.long)
    voxels = ContactVoxels(
        batch[:, None].repeat(1, 3), centres, batch, ScenePoints(centres, batch), batch
    )
    found = refine_root(voxels, confidence, torch.zeros_like(centres), ROOT[:1].double())
    torch.testing.assert_close(found[0], torch.softmax(confidence.sigmoid(), dim=0) @ centres)


def test_a_vote_that_is_not_a_number_keeps_the_root_of_its_sample_only():
    voxels = voxels_at([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0]], [0, 1])
    offsets = torch.tensor([[float("nan"), 0.0, 0.0], [0.0, 0.0, 0.5]])
    refined = refine_root(voxels, torch.zeros(2), offsets, ROOT)
    torch.testing.assert_close(refined, torch.stack([ROOT[0], torch.tensor([1.0, 0.0, 3.5])]))


def test_refined_root_has_the_right_gradient():
    voxels = voxels_at([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0], [1.0, 1.0, 4.0]], [0, 0, 1])
    voxels = ContactVoxels(
        voxels.index, voxels.centres_camera.double(), voxels.batch, voxels.nearby, voxels.voxel_of_point
    )
    confidence = torch.randn(3, dtype=torch.float64, requires_grad=True)
    offsets = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda c, o: refine_root(voxels, c, o, ROOT.double()), (confidence, offsets)
    )


def test_contact_points_are_the_raw_points_of_voxels_in_contact():
    voxels = voxels_at([[0.0, 0.0, 3.0], [1.0, 0.0, 3.0], [2.0, 0.0, 4.0]], [0, 0, 1])
    found = contact_points(predict(voxels, [3, 0, 7]), count=4)
    assert found.category.tolist() == [[3, 0, 0, 0], [7, 0, 0, 0]]
    torch.testing.assert_close(found.points[:, 0], torch.tensor([[0.0, 0.0, 3.0], [2.0, 0.0, 4.0]]))
    assert not found.points[:, 1:].any()
    assert found.in_contact.sum(dim=1).tolist() == [1, 1]


def test_without_contact_one_dummy_stands_for_the_sample():
    voxels = voxels_at([[0.5, 0.0, 3.0], [1.0, 0.0, 3.0]], [0, 0])
    found = contact_points(predict(voxels, [0, 0]), count=3)
    assert not found.in_contact.any()
    assert found.points[0].tolist() == [[0.5, 0.0, 3.0], [0.0] * 3, [0.0] * 3]
    assert not found.points[1].any()  # no voxel at all


def test_too_many_contact_points_are_drawn_alike_from_equal_generators():
    centres = torch.rand(20, 3).tolist()
    prediction = predict(voxels_at(centres, [0] * 20), list(range(1, 8)) * 2 + [1] * 6)
    draws = [
        contact_points(prediction, torch.Generator().manual_seed(seed), count=8) for seed in (5, 5, 6)
    ]
    assert torch.equal(draws[0].points, draws[1].points)
    assert not torch.equal(draws[0].points, draws[2].points)
    for point, category in zip(draws[0].points[0], draws[0].category[0], strict=True):
        row = (prediction.voxels.centres_camera - point).abs().sum(dim=1).argmin()
        assert int(prediction.voxel_category[row]) == int(category)


@pytest.mark.parametrize("count", [20, 21])
def test_no_draw_is_needed_up_to_the_count(count):
    centres = torch.rand(20, 3)
    found = contact_points(predict(voxels_at(centres.tolist(), [0] * 20), [2] * 20), count=count)
    torch.testing.assert_close(found.points[0, :20], centres)
