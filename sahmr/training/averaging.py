"""The moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """Follows the state of a network: average <- decay x average + (1 - decay) x weights.

    Running statistics are averaged alike; counters are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take the network's present state into the average."""
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, 1 - self.decay)
            else:
                self.state[name].copy_(tensor)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved average."""
        for name, tensor in self.state.items():
            tensor.copy_(state[name])
