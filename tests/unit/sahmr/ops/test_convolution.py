"""Sparse convolution against dense convolution, its gradients and its invariances."""

import pytest
import torch
from torch.nn import functional as F

from pipelines.errors import DataInvalid
from sahmr.ops import kernel_map, products
from sahmr.ops.convolution import RowBatchNorm, SparseConvolution, concatenate
from sahmr.ops.kernel_map import kernel_offsets
from sahmr.ops.products import RowLinear, add_sum_over_rows, even_size, product, rows_product
from sahmr.ops.sparse_tensor import VoxelPyramid, sparse_tensor
from sahmr.ops.torch_backend import convolve

REACH = 4


@pytest.fixture
def always_onednn(monkeypatch):
    """Small products too take the way of large ones."""
    monkeypatch.setattr(products, "_WORTH_ONEDNN", 0)


def to_dense(tensor, reach=REACH):
    """(samples, channels, x, y, z), cell -reach first; zeros where nothing is."""
    side, stride = 2 * reach // tensor.stride, tensor.stride
    dense = tensor.features.new_zeros(2, tensor.features.shape[1], side, side, side)
    x, y, z, sample = tensor.cells.T
    at = [(axis + reach) // stride for axis in (x, y, z)]
    dense[sample, :, at[0], at[1], at[2]] = tensor.features
    return dense


def read_dense(dense, tensor, reach=REACH):
    x, y, z, sample = tensor.cells.T
    at = [(axis + reach) // tensor.stride for axis in (x, y, z)]
    return dense[sample, :, at[0], at[1], at[2]]


def layer(*args, **kwargs):
    torch.manual_seed(1)
    return SparseConvolution(*args, **kwargs).double()


def dense_same(dense, kernel):
    weight = kernel.view(3, 3, 3, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)
    return F.conv3d(dense, weight, padding=1)


def dense_down(dense, kernel):
    weight = kernel.view(2, 2, 2, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)
    return F.conv3d(dense, weight, stride=2)


def dense_up(dense, kernel):
    weight = kernel.view(2, 2, 2, *kernel.shape[1:]).permute(3, 4, 0, 1, 2)
    return F.conv_transpose3d(dense, weight, stride=2)


def test_order_of_the_weights():
    assert kernel_offsets(3)[:4] == [(-1, -1, -1), (0, -1, -1), (1, -1, -1), (-1, 0, -1)]
    assert kernel_offsets(3)[13] == (0, 0, 0)
    assert kernel_offsets(2)[:3] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]


def test_every_layer_equals_dense_convolution_with_its_gradients(random_tensor):
    fine = random_tensor(count=300)
    features = fine.features.requires_grad_()
    same, down = layer(3, 4), layer(4, 5, 2, 2)
    coarse_same, up = layer(5, 5), layer(5, 2, 2, 2, transposed=True)
    kernels = [module.kernel for module in (same, down, coarse_same, up)]

    first = same(fine)
    coarse = coarse_same(down(first))
    last = up(coarse)
    assert last.stride == 1

    dense_first = dense_same(to_dense(fine), kernels[0])
    torch.testing.assert_close(first.features, read_dense(dense_first, first), rtol=0, atol=1e-12)
    occupied = to_dense(first.with_features(torch.ones(300, 1, dtype=torch.float64)))
    masked = dense_first * occupied
    exists = to_dense(coarse.with_features(torch.ones(len(coarse.cells), 1, dtype=torch.float64)))
    dense_coarse = dense_same(dense_down(masked, kernels[1]) * exists, kernels[2])
    torch.testing.assert_close(coarse.features, read_dense(dense_coarse, coarse), rtol=0, atol=1e-12)
    dense_last = read_dense(dense_up(dense_coarse * exists, kernels[3]), last)
    torch.testing.assert_close(last.features, dense_last, rtol=0, atol=1e-12)

    weights = torch.randn_like(dense_last)
    ours = torch.autograd.grad((last.features * weights).sum(), [features, *kernels])
    theirs = torch.autograd.grad((dense_last * weights).sum(), [features, *kernels])
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=0, atol=1e-11)


def test_size_one_is_a_matrix_product_with_a_flat_parameter(random_tensor):
    tensor, module = random_tensor(), layer(3, 4, 1)
    assert module.kernel.shape == (3, 4)
    torch.testing.assert_close(module(tensor).features, tensor.features @ module.kernel)


@pytest.mark.parametrize(("size", "step"), [(3, 1), (2, 2)])
def test_gradients_by_finite_differences(random_tensor, size, step):
    tensor = random_tensor(count=8, channels=2, reach=1)
    pairs = tensor.pyramid.kernel_map(1, size, step)
    kernel = torch.randn(size**3, 2, 1, dtype=torch.float64, requires_grad=True)
    features = tensor.features.requires_grad_()
    for used in (pairs, pairs.transposed) if step == 1 else (pairs,):
        assert torch.autograd.gradcheck(convolve, (features, kernel, used))


def test_only_wanted_gradients_are_computed(random_tensor):
    tensor, module = random_tensor(), layer(3, 3)
    module(tensor).features.sum().backward()
    assert module.kernel.grad is not None
    assert tensor.features.grad is None
    module.requires_grad_(False)
    assert not module(tensor).features.requires_grad


def test_order_of_the_cells_does_not_matter(random_cells):
    cells, module = random_cells(80), layer(3, 3)
    features = torch.randn(80, 3, dtype=torch.float64)
    order = torch.randperm(80)
    first = module(sparse_tensor(features, cells))
    second = module(sparse_tensor(features[order], cells[order]))
    assert torch.equal(first.cells, second.cells)
    assert torch.equal(first.features, second.features)


def test_samples_do_not_see_each_other(random_tensor):
    tensor, modules = random_tensor(count=200), [layer(3, 3), layer(3, 3, 2, 2)]
    alone = tensor.cells[:, 3] == 1
    only = sparse_tensor(tensor.features[alone], tensor.cells[alone])
    for module in modules:
        together, apart = module(tensor), module(only)
        second = together.cells[:, 3] == 1
        torch.testing.assert_close(together.features[second], apart.features, rtol=0, atol=1e-13)


def test_moving_by_whole_coarse_cells_changes_nothing_with_floor(random_cells):
    cells, features = random_cells(120), torch.randn(120, 3, dtype=torch.float64)
    module, shift = layer(3, 3, 2, 2), torch.tensor([-16, 32, 16, 0])
    here, there = sparse_tensor(features, cells), sparse_tensor(features, cells + shift)
    moved = module(there)
    torch.testing.assert_close(module(here).features, moved.features, rtol=0, atol=1e-13)
    assert torch.equal(module(here).cells + shift, moved.cells)


def test_floor_and_trunc_differ_left_of_zero():
    cells = torch.tensor([[x, 0, 0, 0] for x in (-3, -2, -1, 0, 1)])
    assert VoxelPyramid(cells, "floor").cells(2)[:, 0].tolist() == [-4, -2, 0]
    assert VoxelPyramid(cells, "trunc").cells(2)[:, 0].tolist() == [-2, 0]
    # With trunc the coarse cell 0 still reads only the fine cells 0 and 1.
    features = torch.tensor([[1.0], [10.0], [100.0], [1000.0], [10000.0]], dtype=torch.float64)
    module = layer(1, 1, 2, 2)
    module.kernel.data.fill_(1)
    assert module(sparse_tensor(features, cells, "floor")).features[:, 0].tolist() == [1, 110, 11000]
    assert module(sparse_tensor(features, cells, "trunc")).features[:, 0].tolist() == [110, 11000]


def test_maps_are_built_once_and_transposed_once(random_tensor):
    tensor = random_tensor()
    pairs = tensor.pyramid.kernel_map(1, 2, 2)
    layer(3, 3, 2, 2)(tensor)
    assert tensor.pyramid.kernel_map(1, 2, 2) is pairs
    assert pairs.transposed is pairs.transposed
    assert pairs.transposed.num_outputs == 60


def test_a_single_voxel_has_its_centre_weight_only():
    tensor = sparse_tensor(torch.ones(1, 2, dtype=torch.float64), torch.tensor([[5, -7, 0, 3]]))
    module = layer(2, 2)
    out = module(tensor).features[0]
    torch.testing.assert_close(out, module.kernel[13].sum(dim=0), rtol=0, atol=1e-15)
    assert tensor.pyramid.kernel_map(1, 3, 1).num_pairs == 1


def test_no_voxels_give_no_voxels():
    tensor = sparse_tensor(torch.zeros(0, 3), torch.zeros(0, 4, dtype=torch.int64))
    down = SparseConvolution(3, 4, 2, 2)(SparseConvolution(3, 3)(tensor))
    assert down.features.shape == (0, 4)


def test_a_cell_given_twice_is_refused():
    with pytest.raises(DataInvalid, match="given twice"):
        sparse_tensor(torch.zeros(2, 1), torch.zeros(2, 4, dtype=torch.int64))


def test_concatenation_puts_the_first_first(random_tensor):
    tensor = random_tensor()
    both = concatenate(tensor, tensor.with_features(-tensor.features))
    assert torch.equal(both.features[:, :3], -both.features[:, 3:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 32, 32), (0, 4, 4), (300, 96, 12)])
def test_product_is_the_matrix_product(shape, dtype, always_onednn):
    m, k, n = shape
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
    torch.testing.assert_close(product(a, b), a @ b)
    torch.testing.assert_close(product(b.t(), a.t()), b.t() @ a.t())


@pytest.mark.parametrize("rows", [0, 1])
def test_batch_norm_of_fewer_than_two_rows_uses_the_running_statistics(rows):
    norm = RowBatchNorm(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, -1.0]))
    norm.running_var.fill_(4 - norm.eps)
    found = norm(torch.tensor([[3.0, 1.0]])[:rows])
    assert found.tolist() == [[1.0, 1.0]][:rows]
    assert norm.num_batches_tracked == 0
    assert norm.running_mean.tolist() == [1.0, -1.0]


def test_batch_norm_of_two_rows_learns():
    norm = RowBatchNorm(1).train()
    assert norm(torch.tensor([[1.0], [3.0]])).flatten().tolist() == pytest.approx([-1, 1], abs=1e-4)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 63, 130, 1001])
def test_rows_product_is_the_matrix_product_with_any_number_of_rows(rows, dtype, always_onednn):
    a, b = torch.randn(rows, 20, dtype=dtype), torch.randn(20, 3, dtype=dtype)
    torch.testing.assert_close(rows_product(a, b), a @ b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [16, 80])
def test_sums_over_rows_leave_the_others_out(channels, dtype, always_onednn):
    a, b = torch.randn(40, channels, dtype=dtype), torch.randn(40, 24, dtype=dtype)
    total = torch.randn(channels, 24, dtype=dtype)
    expected = total + a[:33].t() @ b[:33]
    add_sum_over_rows(total, a, b, 33)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)


def test_even_sizes_are_few_and_near():
    for rows in range(1, 5000):
        up, down = even_size(rows, up=True), even_size(rows, up=False)
        assert down <= rows <= up
        assert up - down <= max(8, rows / 8)
        assert even_size(up, up=False) == up
        assert even_size(down, up=True) == down
    assert len({even_size(rows, up=True) for rows in range(1, 30000)}) < 100


@pytest.mark.parametrize("channels", [16, 80])
def test_single_precision_agrees_with_double_for_values_and_gradients(
    random_tensor, channels, always_onednn
):
    tensor = random_tensor(count=200, channels=channels)
    for size, step in ((3, 1), (2, 2)):
        found = []
        for dtype in (torch.float32, torch.float64):
            pairs = tensor.pyramid.kernel_map(1, size, step)
            generator = torch.Generator().manual_seed(2)
            kernel = torch.randn(size**3, channels, 24, dtype=torch.float64, generator=generator)
            leaves = [tensor.features.to(dtype).requires_grad_(), kernel.to(dtype).requires_grad_()]
            out = convolve(*leaves, pairs)
            found.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
        for single, double in zip(*found, strict=True):
            torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-3)


def test_a_linear_layer_of_rows_is_the_usual_one():
    usual, ours = torch.nn.Linear(5, 3).double(), RowLinear(5, 3).double()
    ours.load_state_dict(usual.state_dict())
    rows = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(rows), usual(rows))
    assert torch.autograd.gradcheck(ours, rows)
    ours(rows).square().sum().backward()
    usual(rows).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, usual.weight.grad)
    torch.testing.assert_close(ours.bias.grad, usual.bias.grad)


@pytest.mark.parametrize(("size", "step", "up"), [(3, 1, False), (2, 2, False), (2, 2, True)])
def test_blocks_hold_every_pair_once_in_even_sizes(random_tensor, monkeypatch, size, step, up):
    monkeypatch.setattr(kernel_map, "_BLOCK_ROWS", 32)
    pairs = random_tensor(count=300).pyramid.kernel_map(1, size, step)
    pairs = pairs.transposed if up else pairs
    whole, found = [], []
    for batches, listed in ((pairs.batches, whole), (pairs.cached_batches, found)):
        for batch in batches:
            assert (batch.outputs.diff() > 0).all()
            assert (batch.inputs.diff() > 0).all()
            rows = zip(batch.inputs.tolist(), batch.outputs.tolist(), strict=True)
            listed += [(batch.weight, *pair) for pair in rows]
    for batch in pairs.cached_batches:
        count = len(batch.outputs)
        assert len((batch.outputs // 32).unique()) == 1
        assert len(batch.even_inputs) == len(batch.even_outputs) == even_size(count, up=True)
        assert torch.equal(batch.even_inputs[:count], batch.inputs)
        assert torch.equal(batch.even_outputs[:count], batch.outputs)
    assert sorted(found) == sorted(whole)
