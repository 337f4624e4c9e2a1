"""Sparse convolution in plain torch: gather the inputs of one weight, multiply, add to the outputs."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sahmr.ops.kernel_map import KernelMap, PairBatch
from sahmr.ops.products import (
    add_sum_over_rows,
    prefers_even_rows,
    product,
    rows_product,
)


def convolve(
    features: Float[Tensor, "inputs channels_in"],
    kernel: Float[Tensor, "weights channels_in channels_out"],
    pairs: KernelMap,
) -> Float[Tensor, "outputs channels_out"]:
    """out[o] = sum over pairs (i, o) under weight k of features[i] @ kernel[k]; both inputs get gradients."""
    return _Convolution.apply(features, kernel, pairs)  # type: ignore[no-untyped-call]


class _Convolution(torch.autograd.Function):
    """Keeps nothing but its inputs: gathering again costs less than remembering what was gathered."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.pairs = pairs
        return _gather_multiply_add(features, kernel, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, kernel = ctx.saved_tensors
        pairs: KernelMap = ctx.pairs
        wants_features, wants_kernel, _ = ctx.needs_input_grad
        gradient = gradient.contiguous()
        grad_features = torch.zeros_like(features) if wants_features else None
        grad_kernel = torch.zeros_like(kernel) if wants_kernel else None
        weights, grad_weights = kernel.unbind(), grad_kernel.unbind() if grad_kernel is not None else ()
        if pairs.centre is not None:
            if grad_features is not None:
                grad_features = rows_product(gradient, weights[pairs.centre].t())
            if grad_kernel is not None:
                grad_weights[pairs.centre].copy_(features.t() @ gradient)
        for weight, inputs, outputs, even_inputs, even_outputs in _batches(features, pairs):
            count = len(outputs)
            arriving = gradient.index_select(0, even_outputs)
            if grad_features is not None:
                back = product(arriving, weights[weight].t())
                grad_features.index_add_(0, inputs, back[:count])
            if grad_kernel is not None:
                leaving = features.index_select(0, even_inputs)
                add_sum_over_rows(grad_weights[weight], leaving, arriving, count)
        return grad_features, grad_kernel, None


def _gather_multiply_add(features: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
    weights = kernel.unbind()
    if pairs.centre is not None:
        out = rows_product(features, weights[pairs.centre])
    else:
        out = features.new_zeros(pairs.num_outputs, kernel.shape[2])
    for weight, _, outputs, even_inputs, _ in _batches(features, pairs):
        arriving = product(features.index_select(0, even_inputs), weights[weight])
        out.index_add_(0, outputs, arriving[: len(outputs)])
    return out


def _batches(features: Tensor, pairs: KernelMap) -> list[PairBatch]:
    return pairs.cached_batches if prefers_even_rows(features) else pairs.batches
