"""Sparse convolution in plain torch: gather the inputs of one weight, multiply, add to the outputs."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sahmr.ops.kernel_map import KernelMap
from sahmr.ops.products import product


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
        grad_kernel = torch.zeros_like(kernel) if wants_kernel else None
        grad_features = torch.zeros_like(features) if wants_features else None
        if pairs.centre is not None:
            if grad_features is not None:
                grad_features = product(gradient, kernel[pairs.centre].t())
            if grad_kernel is not None:
                grad_kernel[pairs.centre] = product(features.t(), gradient)
        for k, (inputs, outputs) in enumerate(zip(pairs.inputs, pairs.outputs, strict=True)):
            if len(inputs) == 0:
                continue
            arriving = gradient.index_select(0, outputs)
            if grad_features is not None:
                grad_features.index_add_(0, inputs, product(arriving, kernel[k].t()))
            if grad_kernel is not None:
                grad_kernel[k] = product(features.index_select(0, inputs).t(), arriving)
        return grad_features, grad_kernel, None


def _gather_multiply_add(features: Tensor, kernel: Tensor, pairs: KernelMap) -> Tensor:
    if pairs.centre is not None:
        out = product(features, kernel[pairs.centre])
    else:
        out = features.new_zeros(pairs.num_outputs, kernel.shape[2])
    for k, (inputs, outputs) in enumerate(zip(pairs.inputs, pairs.outputs, strict=True)):
        if len(inputs):
            out.index_add_(0, outputs, product(features.index_select(0, inputs), kernel[k]))
    return out
