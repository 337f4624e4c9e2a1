from __future__ import annotations

import pytest
import torch
from torch import nn

from sahmr.networks.linear import Linear


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inference_equals_the_plain_layer(bias, shape, dtype):
    torch.manual_seed(0)
    ours = Linear(7, 4, bias=bias).to(dtype)
    plain = nn.Linear(7, 4, bias=bias).to(dtype)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(shape, dtype=dtype)
    torch.testing.assert_close(ours(x), plain(x))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x))
        transposed = torch.randn(*shape[:-1][::-1], 7, dtype=dtype)
        torch.testing.assert_close(ours(transposed), plain(transposed))


def test_gradients_are_those_of_the_plain_layer():
    torch.manual_seed(0)
    layer = Linear(3, 2).double()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
