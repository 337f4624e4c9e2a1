"""Lets a performed body come to rest on its furniture, and the furniture fit the body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from pipelines.bodies.model import SmplhBody, SmplxBody
from pipelines.records import SmplhParameters, SmplxParameters
from pipelines.synthetic.furniture import BlockPlan, FurnitureNeed, block_axes, fit_block
from pipelines.synthetic.performance import ArmGoal, LegGoal, Performance, SolvedMotion, solve
from pipelines.synthetic.rig import SIDES, BodyRig
from pipelines.synthetic.skin import posed_vertices, smplh_parameters, smplx_parameters

_RESTING = 0.99
_HOVER_M = 0.002
"""Limbs that do not rest are kept this far above the furniture."""
_SPINE_LEVER_M, _NECK_LEVER_M = 0.35, 0.3
_ROUNDS = {"seat": 2, "bed": 4}


@dataclass(frozen=True, slots=True, eq=False)
class SettledMotion:
    """A solved motion and its skin."""

    motion: SolvedMotion
    vertices: Float[np.ndarray, "frames verts 3"]
    """World, metres."""


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """Which parts of the body furniture carries, per frame, 0 to 1."""

    trunk: Float[np.ndarray, " frames"]
    legs: Float[np.ndarray, " frames"]


@dataclass(frozen=True, slots=True, eq=False)
class Actor:
    """The body that performs."""

    rig: BodyRig
    body: SmplxBody | SmplhBody
    betas: Float[np.ndarray, "10"]
    hands: Float[np.ndarray, "frames 2 12"]
    """SMPL-X hand PCA coefficients; SMPL+H keeps its hands flat."""

    def parameters(self, motion: SolvedMotion) -> SmplxParameters | SmplhParameters:
        """A solved motion as parameters of this actor's model."""
        if isinstance(self.body, SmplhBody):
            return smplh_parameters(self.rig, motion, self.betas)
        return smplx_parameters(self.rig, motion, self.betas, self.hands)

    def act(self, performance: Performance) -> SettledMotion:
        """Solve and pose the skin."""
        motion = solve(self.rig, performance)
        return SettledMotion(motion, posed_vertices(self.body, self.parameters(motion)))


def settle(
    actor: Actor, performance: Performance, support: Support, blocks: Sequence[BlockPlan]
) -> SettledMotion:
    """Act; while the trunk is supported keep its lowest skin at one height; act again.

    The first seat or bed carries the trunk. Free legs and hands are kept above it, and legs that rest
    come down to it.
    """
    rests = [plan for plan in blocks if plan.kind != "table"]
    settled = actor.act(performance)
    for _ in range(_ROUNDS[rests[0].kind] if rests else 0):
        performance = _brought_to_rest(actor.rig, rests[0], performance, settled.vertices, support)
        settled = actor.act(performance)
    return settled


def fit_furniture(
    rig: BodyRig,
    blocks: Sequence[BlockPlan],
    settled: SettledMotion,
    support: Support,
    frame_rate_hz: float,
) -> tuple[FurnitureNeed, ...]:
    """Every block under the skin that rests on it; a block never reached in this clip is left out."""
    times = np.arange(len(support.trunk)) / frame_rate_hz
    needs = []
    for plan in blocks:
        touching = (times >= plan.begin_s) & (times <= plan.end_s)
        resting = np.concatenate(rig.regions.hands)
        if plan.kind != "table":
            touching &= support.trunk > _RESTING
            resting = rig.regions.trunk
        if touching.any():
            needs.append(fit_block(plan, settled.vertices, resting, touching))
    return tuple(needs)


def _brought_to_rest(
    rig: BodyRig,
    plan: BlockPlan,
    performance: Performance,
    vertices: Float[np.ndarray, "frames verts 3"],
    support: Support,
) -> Performance:
    resting = support.trunk > _RESTING
    if not resting.any():
        return performance
    low = _lowest(plan, vertices[:, rig.regions.trunk])
    low = np.where(np.isfinite(low), low, vertices[:, rig.regions.trunk, 2].min(axis=1))
    top = float(np.median(low[resting]))
    pelvis = performance.pelvis.copy()
    pelvis[:, 2] += gaussian_filter1d(support.trunk * (top - low), 1.0, mode="nearest")
    if plan.kind == "seat":
        return replace(performance, pelvis=pelvis)
    spine, head = _laid_back(rig, performance, vertices, top, support)
    legs = [
        _raised_leg(rig, plan, performance.legs[side], vertices[:, rig.regions.legs[side]], top, support)
        for side in SIDES
    ]
    arms = [
        _raised_arm(plan, performance.arms[side], vertices[:, rig.regions.forearms[side]], top)
        for side in SIDES
    ]
    return replace(
        performance,
        pelvis=pelvis,
        spine=spine,
        head=head,
        legs=(legs[0], legs[1]),
        arms=(arms[0], arms[1]),
    )


def _laid_back(
    rig: BodyRig,
    performance: Performance,
    vertices: Float[np.ndarray, "frames verts 3"],
    top_m: float,
    support: Support,
) -> tuple[Float[np.ndarray, "frames 3"], Float[np.ndarray, "frames 3"]]:
    """On the back, spine and neck stretch until shoulders and head touch; never lower than that."""
    supine = support.legs * np.clip((performance.pelvis_rotation[:, 2, 2] - 0.7) / 0.25, 0, 1)
    spine, head = performance.spine.copy(), performance.head.copy()
    for angles, region, lever_m in (
        (spine, rig.regions.chest, _SPINE_LEVER_M),
        (head, rig.regions.head, _NECK_LEVER_M),
    ):
        gap = vertices[:, region, 2].min(axis=1) - top_m
        raised = maximum_filter1d(np.maximum(-gap, 0.0), 3)
        bend = (supine * np.maximum(gap, 0.0) - 2 * raised) / lever_m
        bend = gaussian_filter1d(bend, 2.0, mode="nearest")
        angles[:, 0] = np.maximum(angles[:, 0] - bend, -0.35)
    return spine, head


def _raised_leg(
    rig: BodyRig,
    plan: BlockPlan,
    goal: LegGoal,
    skin: Float[np.ndarray, "frames verts 3"],
    top_m: float,
    support: Support,
) -> LegGoal:
    missing = _missing_height(plan, skin, top_m, support.legs) * goal.free
    angles = goal.angles.copy()
    angles[:, 0] += gaussian_filter1d(missing / (0.7 * rig.leg_m), 1.0, mode="nearest")
    return replace(goal, angles=angles)


def _raised_arm(
    plan: BlockPlan, goal: ArmGoal, skin: Float[np.ndarray, "frames verts 3"], top_m: float
) -> ArmGoal:
    missing = _missing_height(plan, skin, top_m, np.zeros(len(skin)))
    # The elbow rises only in part with the wrist.
    lift = goal.lift_m + 1.3 * gaussian_filter1d(maximum_filter1d(missing, 7), 2.5, mode="nearest")
    return replace(goal, lift_m=lift)


def _missing_height(
    plan: BlockPlan,
    skin: Float[np.ndarray, "frames verts 3"],
    top_m: float,
    rests: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """How far skin over the block must rise to clear it; where it rests also how far it must sink."""
    gap = top_m + _HOVER_M - _lowest(plan, skin)
    gap = np.where(np.isfinite(gap), gap, 0.0)
    return np.asarray(np.where(gap > 0, gap, rests * (gap - _HOVER_M)))


def _lowest(plan: BlockPlan, skin: Float[np.ndarray, "frames verts 3"]) -> Float[np.ndarray, " frames"]:
    """Height of the lowest skin over the block; infinite where none is over it."""
    local = block_axes(plan, skin)
    return np.asarray(np.where(local[..., 0] < plan.front_m - 0.02, local[..., 2], np.inf).min(axis=1))
