from __future__ import annotations

import pytest
import torch

from sahmr.networks.scene_attention import SceneAttention, full_attention, linear_attention


@pytest.fixture
def streams():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 4, dtype=torch.float64) for n in (5, 6, 6))
    valid = torch.tensor([[True, True, False, True, False, True], [False] * 6])
    return q, k, v, valid


def similarity(q, k, attention):
    if attention == "linear":

        def feature(a):
            return torch.where(a > 0, a + 1, a.exp())

        return feature(q) @ feature(k)
    return (q @ k / 2.0).exp()


@pytest.mark.parametrize(
    ("attend", "attention", "eps"), [(linear_attention, "linear", 1e-6), (full_attention, "full", 0.0)]
)
def test_attention_is_a_weighted_mean_over_valid_sources(streams, attend, attention, eps):
    q, k, v, valid = streams
    found = attend(q, k, v, valid)
    for head in range(3):
        for query in range(5):
            weights = [similarity(q[0, head, query], k[0, head, s], attention) for s in (0, 1, 3, 5)]
            total = sum(w * v[0, head, s] for w, s in zip(weights, (0, 1, 3, 5), strict=True))
            torch.testing.assert_close(found[0, head, query], total / (sum(weights) + eps))


@pytest.mark.parametrize("attend", [linear_attention, full_attention])
def test_no_valid_source_gives_exactly_zero_and_finite_gradients(streams, attend):
    q, k, v, valid = (stream.requires_grad_(stream.is_floating_point()) for stream in streams)
    found = attend(q, k, v, valid)
    assert not found[1].any()
    found.sum().backward()
    assert all(bool(torch.isfinite(stream.grad).all()) for stream in (q, k, v))


@pytest.mark.parametrize("attention", ["linear", "full"])
def test_layer_equals_the_written_out_formula(attention):
    torch.manual_seed(1)
    layer = SceneAttention(8, heads=2, attention=attention).double().eval()
    x, s = torch.randn(2, 4, 8, dtype=torch.float64), torch.randn(2, 5, 8, dtype=torch.float64)
    valid = torch.ones(2, 5, dtype=torch.bool)
    attend = {"linear": linear_attention, "full": full_attention}[attention]
    parts = [
        attend(
            *(
                (a @ w.weight.T)[:, :, columns][:, None]
                for a, w in ((x, layer.query), (s, layer.key), (s, layer.value))
            ),
            valid,
        )[:, 0]
        for columns in (slice(0, 4), slice(4, 8))
    ]
    message = torch.cat(parts, dim=2) @ layer.merge.weight.T
    message = torch.nn.functional.layer_norm(
        message, (8,), layer.merge_norm.weight, layer.merge_norm.bias
    )
    hidden = (torch.cat([x, message], dim=2) @ layer.mix.weight.T).clamp(min=0)
    expected = torch.nn.functional.layer_norm(
        hidden @ layer.narrow.weight.T, (8,), layer.norm.weight, layer.norm.bias
    )
    torch.testing.assert_close(layer(x, s, valid), expected)


@pytest.mark.parametrize("attention", ["linear", "full"])
def test_sources_that_are_not_valid_have_no_influence(attention):
    torch.manual_seed(2)
    layer = SceneAttention(8, heads=2, attention=attention).eval()
    x, s = torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    valid = torch.tensor([[True, False, True, False, False]])
    changed = torch.where(valid[:, :, None], s, 100 * torch.randn(1, 5, 8))
    assert torch.equal(layer(x, s, valid), layer(x, changed, valid))
    order = torch.tensor([2, 0, 1, 4, 3])
    torch.testing.assert_close(layer(x, s, valid), layer(x, s[:, order], valid[:, order]))


@pytest.mark.parametrize("attention", ["linear", "full"])
def test_gradients_agree_with_finite_differences(attention):
    torch.manual_seed(3)
    layer = SceneAttention(4, heads=2, attention=attention).double().eval()
    x = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    s = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    valid = torch.tensor([[True, False, True]])
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, valid), (x, s))
