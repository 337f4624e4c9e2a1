"""Layers on sparse tensors; parameter names and shapes are torchsparse's."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sahmr.ops import torch_backend, torchsparse_backend
from sahmr.ops.kernel_map import KernelMap, pointwise_map
from sahmr.ops.sparse_tensor import SparseTensor

Backend = Literal["torch", "torchsparse"]
"""Who multiplies: plain torch anywhere, or torchsparse's kernels on a GPU. Same maps, same parameters."""


class SparseConvolution(nn.Module):
    """Convolution without bias over occupied cells.

    With step 1 the output lives on the cells of the input; with step 2 on those of twice the stride;
    transposed, with step 2, on the cells of half the stride, over the pairs of the convolution that led
    down from there.

    The parameter `kernel` is (size^3, in, out), of size 1 (in, out); the order of the weights is that of
    `kernel_map.kernel_offsets`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: int = 3,
        step: int = 1,
        *,
        transposed: bool = False,
        backend: Backend = "torch",
    ) -> None:
        super().__init__()
        self.size, self.step, self.transposed, self.backend = size, step, transposed, backend
        volume = size**3
        shape = (channels_in, channels_out) if volume == 1 else (volume, channels_in, channels_out)
        # torchsparse's own start.
        bound = 1 / math.sqrt((channels_out if transposed else channels_in) * volume)
        self.kernel = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Convolve."""
        pairs = self.pairs(tensor)
        if self.size == 1:
            return tensor.with_features(
                torch_backend.convolve(tensor.features, self.kernel[None], pairs)
            )
        stride = tensor.stride // self.step if self.transposed else tensor.stride * self.step
        convolve = torch_backend.convolve if self.backend == "torch" else torchsparse_backend.convolve
        return SparseTensor(convolve(tensor.features, self.kernel, pairs), stride, tensor.pyramid)

    def pairs(self, tensor: SparseTensor) -> KernelMap:
        """Which voxels of the tensor this layer joins."""
        if self.size == 1:
            return pointwise_map(len(tensor.features), tensor.features.device)
        if self.transposed:
            below = tensor.stride // self.step
            return tensor.pyramid.kernel_map(below, self.size, self.step).transposed
        return tensor.pyramid.kernel_map(tensor.stride, self.size, self.step)

    def extra_repr(self) -> str:
        """Shape and kind, for `print`."""
        kind = "transposed, " if self.transposed else ""
        return f"{kind}kernel={tuple(self.kernel.shape)}, step={self.step}, backend={self.backend!r}"


class RowBatchNorm(nn.BatchNorm1d):
    """Batch norm over rows; of fewer than two rows, in training too, with the running statistics.

    Differs from SA-HMR: there one voxel at the coarsest stride ends the training with an error.
    """

    def forward(self, rows: Float[Tensor, "rows channels"]) -> Float[Tensor, "rows channels"]:
        """Normalise each channel."""
        if self.training and len(rows) < 2:
            return F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(rows)


class SparseBatchNorm(RowBatchNorm):
    """`RowBatchNorm` of a sparse tensor's features."""

    def forward(self, tensor: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """Normalise each channel over all voxels of the batch."""
        return tensor.with_features(super().forward(tensor.features))


class SparseReLU(nn.Module):
    """ReLU of a sparse tensor's features, in place: only after a layer that does not need its output."""

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Clip at zero."""
        return tensor.with_features(F.relu(tensor.features, inplace=True))


def concatenate(first: SparseTensor, second: SparseTensor) -> SparseTensor:
    """Channels of two tensors on the same cells, side by side."""
    return first.with_features(torch.cat([first.features, second.features], dim=1))
