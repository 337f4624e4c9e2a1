"""SPVCNN against loops over cells, written from the description of its layers alone.

Covers what no recorded numbers do: training statistics of batch norm, the paper's input layer, several
points in one voxel, and points between voxels.
"""

import itertools
from math import floor

import pytest
import torch

from sahmr.networks.spvcnn import SPVCNN, SpvcnnSettings
from sahmr.ops.sparse_tensor import PointCloud

SETTINGS = SpvcnnSettings(
    channels_in=5,
    channels_linear=4,
    channels_down=(4, 5, 6, 7, 8),
    channels_up=(7, 6, 5, 4),
    dropout=0.0,
)
SIZE_3 = [(x, y, z) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]
SIZE_2 = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


class SlowNetwork:
    """Features are {cell: row} with cell = (x, y, z, sample); weights are read by their official names."""

    def __init__(self, network, cloud, rounding):
        self.weights = {key: value.detach() for key, value in network.state_dict().items()}
        self.training, self.rounding = network.training, rounding
        samples = cloud.batch.tolist()
        self.points = [(*p, b) for p, b in zip(cloud.coordinates.tolist(), samples, strict=True)]

    def norm(self, rows, name):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        mean, variance = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        if self.training and len(rows) > 1:
            mean, variance = rows.mean(dim=0), rows.var(dim=0, unbiased=False)
        return (rows - mean) / (variance + 1e-5).sqrt() * weight + bias

    def norm_cells(self, tensor, name):
        rows = self.norm(torch.stack(list(tensor.values())), name)
        return dict(zip(tensor, rows, strict=True))

    def linear(self, rows, name):
        return rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def conv(self, tensor, name, stride):
        kernel = self.weights[f"{name}.kernel"]
        if kernel.ndim == 2:
            return {cell: row @ kernel for cell, row in tensor.items()}
        return {cell: self.gather(tensor, cell, kernel, SIZE_3, stride) for cell in tensor}

    @staticmethod
    def gather(tensor, cell, kernel, offsets, stride):
        total = torch.zeros(kernel.shape[2], dtype=kernel.dtype)
        for weight, offset in zip(kernel, offsets, strict=True):
            at = (*(c + o * stride for c, o in zip(cell, offset, strict=False)), cell[3])
            if at in tensor:
                total = total + tensor[at] @ weight
        return total

    def down(self, tensor, name, stride):
        step, whole = 2 * stride, floor if self.rounding == "floor" else int
        coarse = {(*(whole(c / step) * step for c in cell[:3]), cell[3]): None for cell in tensor}
        kernel = self.weights[f"{name}.net.0.kernel"]
        out = {cell: self.gather(tensor, cell, kernel, SIZE_2, stride) for cell in coarse}
        return relu(self.norm_cells(out, f"{name}.net.1"))

    def up(self, tensor, name, fine, stride):
        kernel = self.weights[f"{name}.net.0.kernel"]
        out = {cell: torch.zeros(kernel.shape[2], dtype=kernel.dtype) for cell in fine}
        for cell, row in tensor.items():
            for weight, offset in zip(kernel, SIZE_2, strict=True):
                at = (*(c + o * stride for c, o in zip(cell, offset, strict=False)), cell[3])
                if at in out:
                    out[at] = out[at] + row @ weight
        return relu(self.norm_cells(out, f"{name}.net.1"))

    def block(self, tensor, name, stride):
        out = relu(self.norm_cells(self.conv(tensor, f"{name}.net.0", stride), f"{name}.net.1"))
        out = self.norm_cells(self.conv(out, f"{name}.net.3", stride), f"{name}.net.4")
        short = tensor
        if f"{name}.downsample.0.kernel" in self.weights:
            short = self.norm_cells(
                self.conv(tensor, f"{name}.downsample.0", stride), f"{name}.downsample.1"
            )
        return relu({cell: out[cell] + short[cell] for cell in out})

    def cell_of(self, point, stride):
        return (*(floor(c / stride) * stride for c in point[:3]), point[3])

    def vox(self, rows, cells, stride):
        groups = {cell: [] for cell in cells}
        for point, row in zip(self.points, rows, strict=True):
            groups.get(self.cell_of(point, stride), []).append(row)
        empty = torch.zeros_like(rows[0])
        return {
            cell: torch.stack(group).mean(dim=0) if group else empty for cell, group in groups.items()
        }

    def devox(self, tensor, stride):
        out = []
        for point in self.points:
            base, total, mixed = self.cell_of(point, stride), 0.0, 0.0
            for corner in itertools.product((0, 1), repeat=3):
                at = (*(b + stride * side for b, side in zip(base, corner, strict=False)), point[3])
                if at in tensor:
                    weight = 1.0
                    for c, b, side in zip(point, base, corner, strict=False):
                        weight *= (c - b if side else stride - c + b) / stride
                    total, mixed = total + weight, mixed + weight * tensor[at]
            out.append(mixed / (total + 1e-8))
        return torch.stack(out)

    def point_transform(self, rows, index):
        name = f"point_transforms.{index}"
        return self.norm(self.linear(rows, f"{name}.0"), f"{name}.1").clamp(min=0)

    def climb(self, tensor, name, skip, stride):
        out = self.up(tensor, f"{name}.0", skip, stride)
        out = {cell: torch.cat([out[cell], skip[cell]]) for cell in skip}
        return self.block(self.block(out, f"{name}.1.0", stride), f"{name}.1.1", stride)

    def __call__(self, features):
        z = self.linear(features, "fc_in")
        x = self.vox(z, {self.cell_of(point, 1) for point in self.points}, 1)
        for conv, norm in (("stem.0", "stem.1"), ("stem.3", "stem.4")):
            x = relu(self.norm_cells(self.conv(x, conv, 1), norm))
        z0 = self.devox(x, 1)
        levels, y = [x], self.vox(z0, x, 1)
        for stage in (1, 2, 3, 4):
            stride = 2**stage
            y = self.down(y, f"stage{stage}.0", stride // 2)
            y = self.block(self.block(y, f"stage{stage}.1", stride), f"stage{stage}.2", stride)
            levels.append(y)
        z1 = self.devox(y, 16) + self.point_transform(z0, 0)
        y = self.climb(self.vox(z1, levels[4], 16), "up1", levels[3], 8)
        y = self.climb(y, "up2", levels[2], 4)
        z2 = self.devox(y, 4) + self.point_transform(z1, 1)
        y = self.climb(self.vox(z2, levels[2], 4), "up3", levels[1], 2)
        y = self.climb(y, "up4", levels[0], 1)
        z3 = self.devox(y, 1) + self.point_transform(z2, 2)
        return self.linear(z3, "classifier.0")


def relu(tensor):
    return {cell: row.clamp(min=0) for cell, row in tensor.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rounding", ["floor", "trunc"])
@pytest.mark.parametrize("whole", [True, False])
def test_outputs_equal_the_loops(training, rounding, whole):
    generator = torch.Generator().manual_seed(5)
    coordinates = 30 * torch.rand(60, 3, dtype=torch.float64, generator=generator) - 15
    coordinates[:6] = coordinates[6:12] + 1e-3  # several points in one voxel
    features = torch.randn(60, 5, dtype=torch.float64, generator=generator)
    batch = torch.arange(60) % 2
    cloud = PointCloud(features, coordinates.floor() if whole else coordinates, batch)
    torch.manual_seed(0)
    network = SPVCNN(SETTINGS.model_copy(update={"downsample_rounding": rounding})).double()
    for module in network.modules():  # away from the identity
        if isinstance(module, torch.nn.BatchNorm1d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    network.train(training)
    slow = SlowNetwork(network, cloud, rounding)
    expected = slow(cloud.features)
    with torch.no_grad():
        found = network(cloud)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8 * float(expected.std()))
