"""Batch norms over the joint batch of all processes, so that two processes train as one.

`torch.nn.SyncBatchNorm` refuses CPUs and rows of voxels whose number differs between processes; these sum
rows, values and squares over the processes and normalise by the joint mean and variance.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sahmr.ops.convolution import RowBatchNorm, SparseBatchNorm
from sahmr.ops.sparse_tensor import SparseTensor


class JointBatchNorm2d(nn.BatchNorm2d):
    """Of images."""

    def forward(
        self, input: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Normalise each channel over the images of all processes."""
        return joint_batch_norm(self, input) if self.training else super().forward(input)


class JointRowBatchNorm(RowBatchNorm):
    """Of points."""

    def forward(self, rows: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
        """Normalise each channel over the rows of all processes."""
        return joint_batch_norm(self, rows) if self.training else super().forward(rows)


class JointSparseBatchNorm(SparseBatchNorm):
    """Of voxels."""

    def forward(self, tensor: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """Normalise each channel over the voxels of all processes."""
        if not self.training:
            return super().forward(tensor)
        return tensor.with_features(joint_batch_norm(self, tensor.features))


_JOINT: dict[type[_BatchNorm], type[_BatchNorm]] = {
    nn.BatchNorm2d: JointBatchNorm2d,
    RowBatchNorm: JointRowBatchNorm,
    SparseBatchNorm: JointSparseBatchNorm,
}


def join_batch_norms(network: nn.Module) -> None:
    """Let every batch norm of a network see all processes; names, weights and statistics stay."""
    for module in network.modules():
        joint = _JOINT.get(type(module))  # type: ignore[arg-type]
        if joint is not None:
            module.__class__ = joint  # no layout differs, and modules that hold it need not be told


def joint_batch_norm(norm: _BatchNorm, values: Tensor) -> Tensor:
    """Normalise by the mean and variance of all processes, which take part in the gradient.

    Of fewer than two values per channel in all, by the running statistics, as `RowBatchNorm`.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    axes = [axis for axis in range(values.ndim) if axis != 1]
    shape = [1, -1] + [1] * (values.ndim - 2)
    rows = values.new_tensor([values.numel() // values.shape[1]])
    total, count = _all_sum(torch.cat([values.sum(dim=axes), rows])).tensor_split([values.shape[1]])
    if count < 2:
        mean, variance = norm.running_mean, norm.running_var
    else:
        mean = total / count
        # Around the mean: a difference of mean squares would lose the digits of small variances.
        variance = _all_sum((values - mean.view(shape)).square().sum(dim=axes)) / count
        with torch.no_grad():
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return (values - mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)


def _all_sum(values: Tensor) -> Tensor:
    return _AllSum.apply(values)  # type: ignore[no-untyped-call]


class _AllSum(torch.autograd.Function):
    """The sum over all processes; what each passes back reaches all of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
