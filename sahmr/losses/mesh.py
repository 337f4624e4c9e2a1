"""Losses of the body: vertices, joints, reproduced scene points (L_V, L_J, L_CP, L_GV).

Source: SA-HMR supplement, section 1.2; lib/train/trainers/pose/loss.py.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

ScenePointReduction = Literal["all", "valid"]


def mean_l1(
    points: Float[Tensor, "batch points 3"], target: Float[Tensor, "batch points 3"]
) -> Float[Tensor, " batch"]:
    """Mean over points of the L1 distance (L_V, L_J around the pelvis; L_GV in the camera frame)."""
    return (points - target).abs().sum(dim=2).mean(dim=1)


def scene_point_loss(
    reproduced: Float[Tensor, "batch points 3"],
    given: Float[Tensor, "batch points 3"],
    in_contact: Bool[Tensor, "batch points"],
    reduction: ScenePointReduction,
) -> Float[Tensor, " batch"]:
    """L1 of the scene points in contact that the network reproduces (L_CP).

    Args:
        reproduced: output of the scene stream.
        given: its input, same frame.
        in_contact: False for padding.
        reduction: divide by `all` places, padding included (released), or by the `valid` ones.
    """
    errors = ((reproduced - given).abs().sum(dim=2) * in_contact).sum(dim=1)
    if reduction == "all":
        return errors / in_contact.shape[1]
    return errors / in_contact.sum(dim=1).clamp(min=1)
