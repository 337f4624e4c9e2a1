"""Lets a performed body come to rest on its furniture, and the furniture fit the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from pipelines.bodies.model import SmplxBody
from pipelines.synthetic.furniture import BlockPlan, FurnitureNeed, block_axes, fit_block
from pipelines.synthetic.performance import Performance, SolvedMotion, solve
from pipelines.synthetic.rig import BodyRig
from pipelines.synthetic.skin import posed_vertices, smplx_parameters

_RESTING = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class SettledMotion:
    """A solved motion and its skin."""

    motion: SolvedMotion
    vertices: Float[np.ndarray, "frames verts 3"]
    """World, metres."""


def settle(
    rig: BodyRig,
    body: SmplxBody,
    performance: Performance,
    betas: Float[np.ndarray, "10"],
    hands: Float[np.ndarray, "frames 2 12"],
    support: Float[np.ndarray, " frames"],
    blocks: Sequence[BlockPlan],
) -> SettledMotion:
    """Solve; while the trunk is supported keep its lowest skin at one height; solve again.

    Args:
        rig: the body at rest.
        body: the same body's model.
        performance: what it does.
        betas: its shape.
        hands: hand PCA coefficients.
        support: 1 where the trunk rests on furniture.
        blocks: the furniture; the first seat or bed carries the trunk.
    """
    rests = [plan for plan in blocks if plan.kind != "table"]
    settled = _solve(rig, body, performance, betas, hands)
    for _ in range(2 if rests else 0):
        pelvis = performance.pelvis.copy()
        pelvis[:, 2] += _lift_to_rest(rests[0], settled.vertices[:, rig.regions.trunk], support)
        performance = replace(performance, pelvis=pelvis)
        settled = _solve(rig, body, performance, betas, hands)
    return settled


def fit_furniture(
    rig: BodyRig,
    blocks: Sequence[BlockPlan],
    settled: SettledMotion,
    support: Float[np.ndarray, " frames"],
    frame_rate_hz: float,
) -> tuple[FurnitureNeed, ...]:
    """Every block under the skin that rests on it; a block never reached in this clip is left out."""
    times = np.arange(len(support)) / frame_rate_hz
    needs = []
    for plan in blocks:
        touching = (times >= plan.begin_s) & (times <= plan.end_s)
        resting = np.concatenate(rig.regions.hands)
        if plan.kind != "table":
            touching &= support > _RESTING
            resting = rig.regions.trunk
        if touching.any():
            needs.append(fit_block(plan, settled.vertices, resting, touching))
    return tuple(needs)


def _solve(
    rig: BodyRig,
    body: SmplxBody,
    performance: Performance,
    betas: Float[np.ndarray, "10"],
    hands: Float[np.ndarray, "frames 2 12"],
) -> SettledMotion:
    motion = solve(rig, performance)
    return SettledMotion(motion, posed_vertices(body, smplx_parameters(rig, motion, betas, hands)))


def _lift_to_rest(
    plan: BlockPlan,
    trunk: Float[np.ndarray, "frames verts 3"],
    support: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    local = block_axes(plan, trunk)
    low = np.where(local[..., 0] < plan.front_m - 0.02, local[..., 2], np.inf).min(axis=1)
    low = np.where(np.isfinite(low), low, trunk[..., 2].min(axis=1))
    resting = support > _RESTING
    if not resting.any():
        return np.zeros(len(support))
    lift = support * (np.median(low[resting]) - low)
    return np.asarray(gaussian_filter1d(lift, 1.0, mode="nearest"))
