"""Jacobians of the prior's perceptrons by hand: one product per layer, much faster than autodiff's rows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.motion_prior.network import Perceptron


def perceptron_jacobian(
    network: Perceptron, inputs: Float[Tensor, "rows inputs"], num_outputs: int
) -> tuple[Float[Tensor, "rows outputs"], Float[Tensor, "rows chosen inputs"]]:
    """Outputs, and the derivative of the first `num_outputs` of them by every input.

    Args:
        network: linear layers with group norm and ReLU between; the inputs' tail may skip to later layers.
        inputs: rows of inputs; a skipped tail is part of them.
        num_outputs: rows of the Jacobian.
    """
    linears, norms, skip = network.linears, network.norms, network.skip_size
    tail = inputs[:, inputs.shape[1] - skip :]
    hidden, states = linears[0](inputs), []
    for norm, linear in zip(norms, linears[1:], strict=True):
        states.append(_NormState.of(norm, hidden))
        active = torch.relu(states[-1].output)
        hidden = linear(torch.cat([active, tail], dim=1) if skip else active)
    rows = len(inputs)
    weight = linears[-1].weight[:num_outputs]
    by_tail = inputs.new_zeros(rows, num_outputs, skip)
    by_hidden = weight.expand(rows, -1, -1)
    for state, linear in zip(reversed(states), reversed(linears[:-1]), strict=True):
        if skip:
            by_tail = by_tail + by_hidden[..., by_hidden.shape[-1] - skip :]
            by_hidden = by_hidden[..., : by_hidden.shape[-1] - skip]
        by_hidden = state.pull_back(by_hidden) @ linear.weight
    if skip:
        by_hidden = torch.cat([by_hidden[..., :-skip], by_hidden[..., -skip:] + by_tail], dim=-1)
    return hidden, by_hidden


class _NormState:
    """A group norm with the ReLU after it, at one place."""

    def __init__(self, gain: Tensor, unit: Tensor, groups: int, output: Tensor) -> None:
        self.gain, self.unit, self.groups, self.output = gain, unit, groups, output

    @staticmethod
    def of(norm: nn.GroupNorm, hidden: Float[Tensor, "rows width"]) -> _NormState:
        grouped = hidden.unflatten(1, (norm.num_groups, -1))
        deviation = (grouped.var(dim=2, unbiased=False, keepdim=True) + norm.eps).sqrt()
        unit = (grouped - grouped.mean(dim=2, keepdim=True)) / deviation
        output = F.group_norm(hidden, norm.num_groups, norm.weight, norm.bias, norm.eps)
        active = (output > 0).to(hidden.dtype) * norm.weight
        gain = active.unflatten(1, (norm.num_groups, -1)) / deviation
        return _NormState(gain, unit, norm.num_groups, output)

    def pull_back(self, cotangent: Float[Tensor, "rows outputs width"]) -> Tensor:
        """Cotangent of the normed, rectified values -> cotangent of the values before the norm."""
        through = cotangent.unflatten(2, (self.groups, -1)) * self.gain[:, None]
        size = through.shape[-1]
        # Removing the mean and the part along the unit vector, both per group.
        along = (through * self.unit[:, None]).sum(-1, keepdim=True) / size
        result = through - through.mean(-1, keepdim=True)
        return torch.addcmul(result, along, self.unit[:, None], value=-1).flatten(2)
