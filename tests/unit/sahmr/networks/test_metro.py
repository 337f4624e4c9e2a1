from __future__ import annotations

import pytest
import torch

from pipelines.errors import DataInvalid
from sahmr.networks.hrnet import HrnetSettings
from sahmr.networks.mesh_tokens import MeshTransformerSettings
from sahmr.networks.metro import Metro, crop_projection
from sahmr.networks.official_names import METRO
from sahmr.types import BodyTemplate

SMALL = MeshTransformerSettings(
    backbone=HrnetSettings(
        width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 1, 1)
    ),
    image_px=64,
    num_joints=2,
    mesh_sizes=(12, 8, 5),
    hidden=(8, 8, 4),
    outputs=(6, 5, 3),
    heads=2,
    layers=1,
    feed_forward=10,
    positions=9,
)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Metro(SMALL).eval()


@pytest.fixture
def template():
    return BodyTemplate(torch.randn(2, 3), torch.randn(5, 3))


def test_number_of_parameters(official_shapes):
    """243,070,293 less the embeddings, poolers and classifier that no forward pass reads."""
    with torch.device("meta"):
        network = Metro()
    unused = sum(
        torch.Size(shape).numel()
        for key, shape in official_shapes("metro_3dpw").items()
        if METRO.is_unused(key)
    )
    assert sum(p.numel() for p in network.parameters()) == 243_070_293 - unused


def test_crop_projection_by_hand():
    points, camera = torch.tensor([[[0.5, -0.25, 9.0]]]), torch.tensor([[0.8, 0.1, 0.05]])
    expected = [[[112 * 0.8 * 0.6 + 112, 112 * 0.8 * -0.2 + 112]]]
    torch.testing.assert_close(crop_projection(points, camera, 224), torch.tensor(expected))


def test_masked_tokens_hide_the_image_and_the_template(small, template):
    masked = torch.ones(1, 7, dtype=torch.bool)
    a, b = (small(torch.randn(1, 3, 64, 64), template, masked) for _ in range(2))
    assert torch.equal(a.full, b.full)
    c = small(torch.randn(1, 3, 64, 64), template, ~masked)
    assert not torch.allclose(a.full, c.full)


def test_upsampling_is_linear_in_the_coarse_mesh(small):
    coarse = torch.randn(1, 5, 3)
    middle, full = small.upsampling(coarse)
    by_hand = small.upsampling.to_middle.weight @ coarse[0] + small.upsampling.to_middle.bias[:, None]
    torch.testing.assert_close(middle[0], by_hand)
    by_hand = small.upsampling.to_full.weight @ by_hand + small.upsampling.to_full.bias[:, None]
    torch.testing.assert_close(full[0], by_hand)


def test_images_that_are_not_finite_are_refused(small, template):
    with pytest.raises(DataInvalid, match="images hold values that are not finite"):
        small(torch.full((1, 3, 64, 64), float("nan")), template)
