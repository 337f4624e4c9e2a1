"""Matrix products at the speed of the fastest library that torch ships for the processor at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ONEDNN_LINEAR: Callable[..., Tensor] | None = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if torch.backends.mkldnn.is_available()
    else None
)
_WORTH_ONEDNN = 800_000
"""Multiplications from which oneDNN's dearer call (13 against 4 microseconds) pays."""

_WIDE = 64


def prefers_even_rows(a: Tensor) -> bool:
    """Whether products of `a` are faster with a number of rows from `even_size`.

    oneDNN writes code for every new shape, about half a millisecond each, and keeps the last 1024. Voxels
    come in any number, so that without few, repeated sizes most of the time would go into writing code.
    """
    return _ONEDNN_LINEAR is not None and a.dtype == torch.float32 and a.device.type == "cpu"


def even_size(num_rows: int, *, up: bool) -> int:
    """The next of eight sizes per octave: at most an eighth more (or less) than `num_rows`."""
    step = max(8, 1 << max(0, num_rows.bit_length() - 4))
    return -(-num_rows // step) * step if up else num_rows // step * step


def product(a: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Float[Tensor, "m n"]:
    """The product a @ b without gradient tracking of its own; for shapes that come again.

    On a CPU in float32 through oneDNN, the library under torch's convolutions: `torch.mm` calls MKL, which
    leaves half the speed of AMD's processors unused (0.65 against 1.46 ms for 8000x96x96).
    """
    if _ONEDNN_LINEAR is None or not prefers_even_rows(a) or _too_small(a, b):
        return a @ b
    return _ONEDNN_LINEAR(a, b.t(), None, "none", [], "")


def rows_product(rows: Float[Tensor, "m k"], b: Float[Tensor, "k n"]) -> Float[Tensor, "m n"]:
    """Like `product`, for any number of rows: an even number of them that way, the rest by MKL."""
    if not prefers_even_rows(rows):
        return rows @ b
    even = even_size(len(rows), up=False)
    if even == len(rows) or _too_small(rows, b):
        return product(rows, b)
    return torch.cat([product(rows[:even], b), rows[even:] @ b])


def _too_small(a: Tensor, b: Tensor) -> bool:
    return len(a) * b.numel() < max(_WORTH_ONEDNN, 1)


def add_sum_over_rows(
    total: Float[Tensor, "k n"], a: Float[Tensor, "m k"], b: Float[Tensor, "m n"], count: int
) -> None:
    """Add a.t() @ b to `total`, of the first `count` rows; the others of `b` are overwritten.

    MKL reads `a` as it lies and oneDNN copies it first, so that few channels are faster in MKL.
    """
    if prefers_even_rows(a) and a.shape[1] >= _WIDE and not _too_small(a, total):
        b[count:] = 0
        total.add_(product(a.t(), b))
    else:
        total.addmm_(a[:count].t(), b[:count])


class RowLinear(nn.Linear):
    """`nn.Linear` of rows, by `product`."""

    def forward(self, rows: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Multiply and add the bias."""
        return _Product.apply(rows, self.weight.t()) + self.bias  # type: ignore[no-untyped-call]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return rows_product(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        wants_a, wants_b = ctx.needs_input_grad
        gradient = gradient.contiguous()
        grad_a = rows_product(gradient, b.t()) if wants_a else None
        return grad_a, a.t() @ gradient if wants_b else None
