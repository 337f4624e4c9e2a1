from __future__ import annotations

import pytest
import torch

from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_recovery import MeshRecovery, MeshRecoverySettings
from sahmr.types import (
    BodyTemplate,
    ContactPoints,
    eight_categories,
    one_category,
    vertex_categories,
)

SMALL = MeshRecoverySettings(
    backbone=HrnetSettings(
        width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1)
    ),
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
)
PARTS = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0, 1])


@pytest.fixture(params=["linear", "full"])
def small(request):
    torch.manual_seed(0)
    network = MeshRecovery(SMALL.model_copy(update={"attention": request.param})).eval()
    for parameter in network.stages.parameters():  # far from the small start, so that all paths matter
        torch.nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture
def template():
    return BodyTemplate(torch.randn(2, 3), torch.randn(9, 3))


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64)


def test_padding_points_do_not_change_the_mesh(small, template, images):
    points = torch.randn(2, 6, 3)
    category = torch.tensor([[1, 3, 0, 7, 0, 0], [0, 0, 0, 0, 0, 0]])
    other = torch.where((category != 0)[:, :, None], points, torch.randn(2, 6, 3))
    categories = eight_categories(PARTS)
    a = small(images, ContactPoints(points, category), template, categories)
    b = small(images, ContactPoints(other, category), template, categories)
    assert torch.equal(a.vertices_root, b.vertices_root)
    moved = points + torch.tensor([0.3, 0.0, 0.0])
    c = small(images, ContactPoints(moved, category), template, categories)
    assert not torch.allclose(a.vertices_root[0], c.vertices_root[0])
    assert torch.equal(a.vertices_root[1], c.vertices_root[1])


def test_no_contact_at_all_is_finite(small, template, images):
    contact = ContactPoints(torch.zeros(2, 6, 3), torch.zeros(2, 6, dtype=torch.long))
    found = small(images, contact, template, eight_categories(PARTS))
    assert bool(torch.isfinite(found.vertices_root).all())
    assert bool(torch.isfinite(found.scene_points_root).all())


def test_order_of_contact_points_is_irrelevant_to_the_mesh(small, template, images):
    points, category = torch.randn(2, 6, 3), torch.randint(0, 8, (2, 6))
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    categories = eight_categories(PARTS)
    a = small(images, ContactPoints(points, category), template, categories)
    b = small(images, ContactPoints(points[:, order], category[:, order]), template, categories)
    torch.testing.assert_close(a.vertices_root, b.vertices_root, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(a.scene_points_root[:, order], b.scene_points_root, atol=1e-5, rtol=1e-4)


def test_part_token_is_the_mean_over_the_part():
    """Part 1 is vertices 0 and 8; class 0 has no token."""
    means = eight_categories(PARTS).part_means()
    values = torch.randn(9, 4)
    torch.testing.assert_close((means @ values)[1], (values[0] + values[8]) / 2)
    assert not (means @ values)[0].any()


def test_one_category_averages_over_the_union_of_parts():
    categories = one_category(PARTS)
    values = torch.randn(9, 4)
    torch.testing.assert_close(
        (categories.part_means() @ values)[1], values[[0, 1, 2, 3, 4, 5, 6, 8]].mean(0)
    )
    assert (categories.count, categories.mirror) == (2, (0, 1))


def test_vertex_categories_take_each_vertex_token_as_it_is():
    categories = vertex_categories(9, mirror=[1, 0, *range(2, 9)])
    values = torch.randn(9, 4)
    torch.testing.assert_close((categories.part_means() @ values)[1:], values)
    assert categories.count == 10
    assert categories.mirror == (0, 2, 1, 3, 4, 5, 6, 7, 8, 9)
    assert vertex_categories().count == 432
    assert vertex_categories().mirror == ()


def test_mirror_of_eight_categories_swaps_left_and_right():
    categories = eight_categories(PARTS)
    assert categories.mirror == (0, 2, 1, 4, 3, 5, 6, 7)
    assert categories.names[5:7] == ("back", "gluteus")


@pytest.mark.parametrize(
    "build", [eight_categories, one_category, lambda parts: vertex_categories(len(parts))]
)
def test_mesh_depends_on_the_category(small, template, images, build):
    categories = build(PARTS)
    points = torch.randn(2, 6, 3)
    one = torch.ones(2, 6, dtype=torch.long)
    a = small(images, ContactPoints(points, one), template, categories)
    b = small(images, ContactPoints(points, 0 * one), template, categories)
    assert not torch.allclose(a.vertices_root, b.vertices_root)


def test_part_positions_may_skip_the_joints(template, images):
    """With as many offset rows as joints, a part's position is that of its vertices' own tokens."""
    torch.manual_seed(0)
    network = MeshRecovery(SMALL.model_copy(update={"part_position_offset": 2})).eval()
    stage, category = network.stages[0], torch.tensor([[1, 7, 0]])
    y = torch.zeros(1, 3, 9)
    means = eight_categories(PARTS).part_means()
    found = stage.embed_scene(y, category, means) - stage.embed.bias
    rows = stage.positions.weight
    torch.testing.assert_close(found[0, 0], (rows[2] + rows[10]) / 2)
    torch.testing.assert_close(found[0, 1], rows[8])
    assert not found[0, 2].any()


def test_gradients_agree_with_finite_differences(small):
    """Through one stage, with respect to both streams."""
    stage = small.stages[0].double()
    category = torch.tensor([[1, 3, 0]])
    x = torch.randn(1, 11, 9, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 3, 9, dtype=torch.float64, requires_grad=True)
    means = eight_categories(PARTS).part_means().double()

    contact = ContactPoints(torch.zeros(1, 3, 3), category)

    def streams(x, y):
        x, y = stage.forward_streams(x, y, contact, means)
        return x[:, ::5], y

    assert torch.autograd.gradcheck(streams, (x, y))
