"""PROX's two scene terms on SMPL+H vertices, raw, one value per window.

Source: prox/fitting.py; formulas and weights of the fitting page, section 14.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.geometry.signed_distance import SdfGrid

CONTACT_RHO_M = 0.05
CONTACT_ANGLE_RAD = math.pi / 4


def prox_penetration(
    vertices_world: Float[Tensor, "windows frames verts 3"],
    sdf: SdfGrid,
    frames_used: Float[Tensor, "windows frames"],
    normal_lengths: Float[Tensor, "windows frames verts"] | None = None,
) -> Float[Tensor, " windows"]:
    """Sum of the depths (m, not squared) of the vertices inside the scene.

    Args:
        vertices_world: metres, the scan's frame.
        sdf: the scene's grid.
        frames_used: 1 where a frame counts.
        normal_lengths: length of the stored normal at each vertex's voxel (PROX multiplies by it; 1 in
            principle, which is the default).
    """
    depth = (-sdf.sample(vertices_world)).clamp_min(0.0)
    if normal_lengths is not None:
        depth = depth * normal_lengths
    return (depth * frames_used[..., None]).flatten(1).sum(1)


def facing_pairs(
    body_normals: Float[Tensor, "*batch 3"], scene_normals: Float[Tensor, "*batch 3"]
) -> Bool[Tensor, "*batch"]:
    """True where two unit normals are within 45 degrees of parallel or antiparallel.

    PROX's second test (angle above 135 degrees) cannot fire, for an arcsine ends at 90.
    """
    sine = torch.linalg.vector_norm(torch.linalg.cross(body_normals, scene_normals, dim=-1), dim=-1)
    return sine.clamp(max=1.0).asin() <= CONTACT_ANGLE_RAD


def prox_contact(
    vertices_world: Float[Tensor, "windows frames contacts 3"],
    nearest_world: Float[Tensor, "windows frames contacts 3"],
    kept: Bool[Tensor, "windows frames contacts"],
    frames_used: Float[Tensor, "windows frames"],
) -> Float[Tensor, " windows"]:
    """Mean over kept pairs of d^2 / (d^2 + (5 cm)^2), summed over frames.

    Args:
        vertices_world: contact vertices of the body, metres.
        nearest_world: nearest scene vertex of each.
        kept: pairs whose normals face each other (`facing_pairs`).
        frames_used: 1 where a frame counts.

    A frame without a kept pair costs 0 (Differs from PROX: its mean of nothing is NaN).
    """
    squared = (vertices_world - nearest_world).square().sum(-1)
    saturating = squared / (squared + CONTACT_RHO_M**2)
    count = kept.sum(-1).clamp_min(1)
    mean = (saturating * kept).sum(-1) / count
    return (mean * frames_used).sum(-1)
