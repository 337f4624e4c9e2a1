"""torchsparse's adapter: refusals and tables anywhere, numbers where it is installed with a GPU."""

import importlib.util

import pytest
import torch

from pipelines.errors import BackendMissing
from sahmr.ops import torch_backend, torchsparse_backend
from sahmr.ops.convolution import SparseConvolution

INSTALLED = importlib.util.find_spec("torchsparse") is not None and torch.cuda.is_available()


def test_tensors_on_a_cpu_are_refused(random_tensor):
    module = SparseConvolution(3, 3, backend="torchsparse").double()
    with pytest.raises(BackendMissing, match=r"on a GPU only[\s\S]*set the backend to 'torch'"):
        module(random_tensor())


@pytest.mark.parametrize(("size", "step"), [(3, 1), (2, 2)])
def test_the_table_lists_every_pair_of_every_weight(random_tensor, size, step):
    tensor = random_tensor()
    pairs = tensor.pyramid.kernel_map(1, size, step)
    table, sizes = torchsparse_backend.pair_table(pairs)
    kernel = torch.randn(size**3, 3, 2, dtype=torch.float64)
    out = torch.zeros(pairs.num_outputs, 2, dtype=torch.float64)
    for weight, rows in zip(kernel, table.long().split(sizes.tolist()), strict=True):
        out.index_add_(0, rows[:, 1], tensor.features[rows[:, 0]] @ weight)
    torch.testing.assert_close(out, torch_backend.convolve(tensor.features, kernel, pairs))
    assert len(table) == pairs.num_pairs


@pytest.mark.gpu
@pytest.mark.torchsparse
@pytest.mark.skipif(
    not INSTALLED, reason="needs a GPU and torchsparse (github.com/mit-han-lab/torchsparse)"
)
@pytest.mark.parametrize(("size", "step", "up"), [(3, 1, False), (2, 2, False), (2, 2, True)])
def test_values_and_gradients_equal_plain_torch(random_tensor, size, step, up):
    pairs = random_tensor(count=300).pyramid.kernel_map(1, size, step)
    pairs = pairs.transposed if up else pairs
    features = torch.randn(pairs.num_inputs, 16, device="cuda", requires_grad=True)
    kernel = torch.randn(size**3, 16, 32, device="cuda", requires_grad=True)
    moved = type(pairs)(
        tuple(rows.cuda() for rows in pairs.inputs),
        tuple(rows.cuda() for rows in pairs.outputs),
        pairs.num_inputs,
        pairs.num_outputs,
        pairs.centre,
    )
    found = [
        backend.convolve(features, kernel, moved) for backend in (torch_backend, torchsparse_backend)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
    gradients = [torch.autograd.grad(out.square().sum(), [features, kernel]) for out in found]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)
