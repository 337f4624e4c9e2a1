"""From points to voxels and back, against loops."""

import itertools

import pytest
import torch

from sahmr.ops.devoxelize import devoxelize
from sahmr.ops.row_sums import RowSums
from sahmr.ops.sparse_tensor import PointCloud, SparseTensor
from sahmr.ops.voxelize import PointVoxelLinks


def draw_points(count=150, channels=2, whole=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coordinates = 14 * torch.rand(count, 3, dtype=torch.float64, generator=generator) - 7
    features = torch.randn(count, channels, dtype=torch.float64, generator=generator)
    batch = torch.randint(0, 2, (count,), generator=generator)
    return PointCloud(features, coordinates.floor() if whole else coordinates, batch)


def slow_mean(points, tensor):
    rows = []
    for x, y, z, sample in tensor.cells.tolist():
        cell = torch.tensor([x, y, z])
        inside = ((points.coordinates / tensor.stride).floor() * tensor.stride == cell).all(dim=1)
        members = points.features[inside & (points.batch == sample)]
        rows.append(members.mean(dim=0) if len(members) else torch.zeros_like(points.features[0]))
    return torch.stack(rows)


def slow_trilinear(points, tensor):
    cells = {tuple(cell): row for row, cell in enumerate(tensor.cells.tolist())}
    s, out = tensor.stride, []
    for p, sample in zip(points.coordinates.tolist(), points.batch.tolist(), strict=True):
        base = [int(c // s) * s for c in p]
        value, total = torch.zeros_like(tensor.features[0]), 0.0
        for corner in itertools.product((0, 1), repeat=3):
            row = cells.get((*(b + s * side for b, side in zip(base, corner, strict=True)), sample))
            if row is not None:
                parts = [
                    abs(c - b - s * (1 - side)) / s for c, b, side in zip(p, base, corner, strict=True)
                ]
                weight = parts[0] * parts[1] * parts[2]
                value, total = value + weight * tensor.features[row], total + weight
        out.append(value / (total + 1e-8))
    return torch.stack(out)


@pytest.mark.parametrize("rounding", ["floor", "trunc"])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_voxels_hold_the_mean_of_their_points(stride, rounding):
    points = draw_points()
    tensor = PointVoxelLinks(points, rounding).voxelize(points.features, stride)
    torch.testing.assert_close(tensor.features, slow_mean(points, tensor), rtol=0, atol=1e-14)


def test_with_trunc_some_points_find_no_voxel():
    points = PointCloud(
        torch.ones(3, 1), torch.tensor([[-1.0, 0, 0], [0, 0, 0], [5, 0, 0]]), torch.zeros(3).long()
    )
    floor = PointVoxelLinks(points, "floor").voxelize(points.features, 2)
    trunc = PointVoxelLinks(points, "trunc").voxelize(points.features, 2)
    assert floor.cells[:, 0].tolist() == [-2, 0, 4]
    assert trunc.cells[:, 0].tolist() == [0, 4]


@pytest.mark.parametrize("rounding", ["floor", "trunc"])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("whole", [True, False])
def test_points_read_the_corners_that_exist(stride, rounding, whole):
    points = draw_points(whole=whole)
    links = PointVoxelLinks(points, rounding)
    features = torch.randn(len(links.pyramid.keys(stride)), 3, dtype=torch.float64)
    tensor = SparseTensor(features, stride, links.pyramid)
    torch.testing.assert_close(
        devoxelize(tensor, links), slow_trilinear(points, tensor), rtol=0, atol=1e-12
    )


def test_at_whole_points_stride_one_is_the_identity_both_ways():
    points = draw_points(count=40, whole=True)
    links = PointVoxelLinks(points)
    distinct = PointCloud(
        torch.randn(len(links.pyramid.keys(1)), 2),
        links.pyramid.cells(1)[:, :3].float(),
        links.pyramid.cells(1)[:, 3],
    )
    order = torch.randperm(len(distinct.features))
    for rows in (torch.arange(len(order)), order):
        cloud = PointCloud(distinct.features[rows], distinct.coordinates[rows], distinct.batch[rows])
        links = PointVoxelLinks(cloud)
        voxels = links.voxelize(cloud.features, 1)
        torch.testing.assert_close(voxels.features, distinct.features)
        torch.testing.assert_close(devoxelize(voxels, links), cloud.features)


@pytest.mark.parametrize("stride", [1, 4])
def test_gradients_by_finite_differences(stride):
    points = draw_points(count=12)
    links = PointVoxelLinks(points)
    cells = len(links.pyramid.keys(stride))
    assert torch.autograd.gradcheck(
        lambda features: links.voxelize(features, stride).features, points.features.requires_grad_()
    )
    assert torch.autograd.gradcheck(
        lambda features: devoxelize(SparseTensor(features, stride, links.pyramid), links),
        torch.randn(cells, 2, dtype=torch.float64, requires_grad=True),
    )


def test_row_sums_equal_a_matrix_and_leave_unnamed_rows_zero():
    targets, sources = torch.tensor([3, 0, 3, 1]), torch.tensor([1, 1, 0, 2])
    weights = torch.tensor([0.5, 2.0, -1.0, 3.0], dtype=torch.float64)
    matrix = torch.zeros(5, 3, dtype=torch.float64).index_put((targets, sources), weights)
    features = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    sums = RowSums(targets, sources, weights, 5, 3)
    torch.testing.assert_close(sums(features), matrix @ features)
    (found,) = torch.autograd.grad(sums(features).square().sum(), features)
    torch.testing.assert_close(found, 2 * matrix.T @ matrix @ features)


def test_row_sums_of_nothing_are_zero():
    empty = torch.zeros(0, dtype=torch.int64)
    sums = RowSums(empty, empty, torch.zeros(0), 2, 3)
    assert sums(torch.ones(3, 4)).tolist() == [[0.0] * 4] * 2
    assert RowSums(empty, empty, torch.zeros(0), 2, 0)(torch.ones(0, 4)).shape == (2, 4)
