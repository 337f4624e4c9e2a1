"""The convolutions and matrix products of a call, recorded once and repeated alone, back to back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "aten.conv1d": F.conv1d,
    "aten.conv2d": F.conv2d,
    "aten.matmul": torch.matmul,
    "aten.mm": torch.mm,
    "aten.bmm": torch.bmm,
    "aten.addmm": torch.addmm,
    "aten.linear": F.linear,
    "aten.scaled_dot_product_attention": F.scaled_dot_product_attention,
    "mkldnn._linear_pointwise": lambda rows, weight, *_: F.linear(rows, weight),
}
"""Operators that multiply matrices, and how plain PyTorch says the same."""


class RecordedProducts(TorchDispatchMode):
    """Remembers the products of the calls made inside it, by shape.

    with torch.inference_mode(), RecordedProducts() as products:
        network(*inputs)
    products.seconds()
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = []
        self._drawn: dict[tuple[int, torch.Size], Tensor] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator; if it is a product, keep tensors of its arguments' shapes."""
        plain = _PLAIN.get(str(function).rsplit(".", 1)[0])
        if plain is not None:
            alike = tuple(self._alike(place, value) for place, value in enumerate(args))
            self.calls.append((plain, alike, dict(kwargs or {})))
        return function(*args, **(kwargs or {}))

    def seconds(self) -> float:
        """CPU seconds of all products, in order, in torch's default memory layout."""
        start = time.process_time()
        for function, args, kwargs in self.calls:
            function(*args, **kwargs)
        return time.process_time() - start

    def _alike(self, place: int, value: Any) -> Any:
        """Another tensor of the same shape, shared by all calls that have it in the same place."""
        if not isinstance(value, Tensor):
            return value
        key = (place, value.shape)
        if key not in self._drawn:
            self._drawn[key] = torch.full(value.shape, 0.01, dtype=value.dtype)
        return self._drawn[key]
