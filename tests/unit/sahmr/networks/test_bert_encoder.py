from __future__ import annotations

import math

import pytest
import torch

from sahmr.networks.bert_encoder import BertLayer, EncoderStage, StageSettings

SMALL = StageSettings(inputs=5, hidden=8, outputs=3, heads=2, layers=2, feed_forward=12, positions=16)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    layer = BertLayer(SMALL).double().eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def test_layer_equals_a_slow_reference(layer):
    """Token by token, head by head, with erf GELU and post-norm written out."""
    h = torch.randn(1, 4, 8, dtype=torch.float64)

    def norm(x, module):
        centred = x - x.mean()
        return centred / (centred.square().mean() + 1e-12).sqrt() * module.weight + module.bias

    expected = []
    for token in range(4):
        heads = []
        for head in (slice(0, 4), slice(4, 8)):
            q = layer.query(h[0, token])[head]
            scores = torch.stack([q @ layer.key(h[0, other])[head] / 2.0 for other in range(4)])
            shares = scores.exp() / scores.exp().sum()
            heads.append(sum(shares[other] * layer.value(h[0, other])[head] for other in range(4)))
        a = norm(h[0, token] + layer.attention_out(torch.cat(heads)), layer.attention_norm)
        wide = layer.widen(a)
        wide = 0.5 * wide * (1 + torch.erf(wide / math.sqrt(2)))
        expected.append(norm(a + layer.narrow(wide), layer.norm))
    torch.testing.assert_close(layer(h)[0], torch.stack(expected))


def test_tokens_of_a_batch_do_not_mix(layer):
    h = torch.randn(3, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(h)[2:], layer(h[2:]))


def test_stage_without_layers_by_hand():
    """head(position + embed(x)) + skip(x)."""
    stage = EncoderStage(SMALL.model_copy(update={"layers": 0})).double().eval()
    x = torch.randn(2, 6, 5, dtype=torch.float64)
    h = stage.positions.weight[:6] + x @ stage.embed.weight.T + stage.embed.bias
    torch.testing.assert_close(stage(x), stage.head(h) + stage.skip(x))


def test_tokens_start_small():
    torch.manual_seed(0)
    stage = EncoderStage(StageSettings(inputs=64, hidden=64, outputs=8, layers=1))
    assert float(stage.embed.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(stage.positions.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not stage.embed.bias.any()
    assert bool((stage.layers[0].norm.weight == 1).all())


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    stage = EncoderStage(SMALL)
    x = torch.randn(1, 6, 5)
    assert not torch.equal(stage(x), stage(x))
    stage.eval()
    assert torch.equal(stage(x), stage(x))


def test_gradients_agree_with_finite_differences():
    torch.manual_seed(0)
    stage = EncoderStage(SMALL).double().eval()
    x = torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(stage, (x,))
