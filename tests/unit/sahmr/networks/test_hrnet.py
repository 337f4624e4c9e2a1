from __future__ import annotations

import pytest
import torch
from torch import nn

from sahmr.networks.hrnet import (
    BasicBlock,
    Bottleneck,
    ExchangeModule,
    Hrnet,
    HrnetSettings,
    HrnetWithHead,
)

SMALL = HrnetSettings(width=4, stem_width=4, head_width=2, head_channels=6, blocks=1, modules=(1, 2, 1))
CLASSIFIER = ("classifier.weight", "classifier.bias")


@pytest.fixture
def small():
    torch.manual_seed(0)
    return HrnetWithHead(SMALL).eval()


def test_outputs_equal_the_official_ones(network_golden, network_weights, official_shapes):
    golden = network_golden("hrnet_w64")
    shapes = official_shapes("hrnet_w64_cls")
    shapes = {key: shape for key, shape in shapes.items() if key not in CLASSIFIER}
    with torch.device("meta"):
        network = HrnetWithHead().eval()
    network.load_state_dict(network_weights(shapes), assign=True)
    images = torch.from_numpy(golden.rng().standard_normal((int(golden["batch"]), 3, 224, 224))).float()
    with torch.inference_mode():
        golden.check("final", network(images))
        golden.check("featmap", network.branches(images)[0])


@pytest.mark.parametrize(
    ("build", "table"), [(Hrnet, "hrnet_w64_featmap"), (HrnetWithHead, "hrnet_w64_cls")]
)
def test_names_and_shapes_are_the_official_ones(build, table, official_shapes):
    with torch.device("meta"):
        ours = {key: tuple(tensor.shape) for key, tensor in build().state_dict().items()}
    theirs = {key: shape for key, shape in official_shapes(table).items() if key not in CLASSIFIER}
    assert ours == theirs


@pytest.mark.parametrize(("build", "count"), [(Hrnet, 115_697_600), (HrnetWithHead, 126_010_944)])
def test_number_of_parameters(build, count):
    """With the head 128,059,944 less the classifier's 2048 x 1000 + 1000 = 2,049,000."""
    with torch.device("meta"):
        network = build()
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_branches_halve_their_size_and_double_their_width(small):
    shapes = [tuple(x.shape) for x in small.branches(torch.zeros(2, 3, 64, 96))]
    assert shapes == [(2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 2, 3)]
    assert small(torch.zeros(2, 3, 64, 96)).shape == (2, 6, 2, 3)


def test_images_of_a_batch_do_not_influence_each_other(small):
    images = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(small(images)[1:2], small(images[1:2]))


def test_block_with_zero_convolutions_passes_positive_input():
    for block, inputs in ((BasicBlock(4), 4), (Bottleneck(8, 2), 8)):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
        x = torch.rand(1, inputs, 3, 3)
        torch.testing.assert_close(block.eval()(x), x)


def test_exchange_adds_every_branch_by_hand():
    """Branch blocks off, 1x1 and 3x3 paths constant: fine = x0 + up(3 x1), coarse = 9 x0 + x1 (interior)."""
    module = ExchangeModule([1, 1], blocks=0).eval()
    nn.init.constant_(module.fuse_layers[0][1][0].weight, 3.0)
    nn.init.constant_(module.fuse_layers[1][0][0][0].weight, 1.0)
    for norm in (module.fuse_layers[0][1][1], module.fuse_layers[1][0][0][1]):
        norm.eps = 0.0
    fine, coarse = module([torch.full((1, 1, 4, 4), 2.0), torch.full((1, 1, 2, 2), 5.0)])
    assert torch.equal(fine, torch.full((1, 1, 4, 4), 17.0))
    assert coarse[0, 0, 1, 1] == 9 * 2.0 + 5.0
    assert coarse[0, 0, 0, 0] == 4 * 2.0 + 5.0  # the corner sees four cells


def test_convolutions_start_he_normal():
    torch.manual_seed(0)
    weight = (
        HrnetWithHead(HrnetSettings(width=32, blocks=1, modules=(1, 1, 1)))
        .stage4[0]
        .branches[3][0]
        .conv1.weight
    )
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
