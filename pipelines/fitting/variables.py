"""What the optimiser moves: named tensors, one row per window.

Stages 1-2 (`frames` below is the window length): trans and root_orient (windows, frames, 3), latent_pose
(windows, frames, 32), betas (windows, betas). Stage 3 keeps only the first frame of those (frames = 1) and
adds latent_motion (windows, frames - 1, 48), the first frame's trans_vel (windows, 1, 3), joints_vel
(windows, 1, 22, 3) and root_orient_vel (windows, 1, 3), and floor_plane (windows, 3).

trans, root_orient and floor_plane (normal times offset) live in the camera frame, velocities and latents in
the canonical frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pipelines.fitting.settings import ALL_VARIABLES

Variables = Mapping[str, Tensor]
"""Variable name (`settings.VariableName`) -> values."""


def flatten(variables: Variables, names: Sequence[str]) -> Tensor:
    """Rows of all named variables side by side: (windows, numbers)."""
    return torch.cat([variables[name].flatten(1) for name in names], dim=1)


def replace_flat(variables: Variables, names: Sequence[str], flat: Tensor) -> dict[str, Tensor]:
    """Inverse of `flatten`; other variables stay."""
    sizes = [variables[name][0].numel() for name in names]
    parts = flat.split(sizes, dim=1)
    moved = {name: part.reshape(variables[name].shape) for name, part in zip(names, parts, strict=True)}
    return {**variables, **moved}


def detached(variables: Variables) -> dict[str, Tensor]:
    """The same values without history."""
    return {name: value.detach() for name, value in variables.items()}


def to_arrays(variables: Variables) -> dict[str, np.ndarray]:
    """For a checkpoint file; order fixed."""
    return {name: variables[name].numpy() for name in ALL_VARIABLES if name in variables}


def from_arrays(arrays: Mapping[str, np.ndarray], dtype: torch.dtype) -> dict[str, Tensor]:
    """From a checkpoint file."""
    return {name: torch.tensor(arrays[name], dtype=dtype) for name in ALL_VARIABLES if name in arrays}


def all_finite(variables: Variables) -> Tensor:
    """Per window: True when every number is finite."""
    finite = [value.flatten(1).isfinite().all(1) for value in variables.values()]
    return torch.stack(finite).all(0)
