"""The energy of a stage: prediction -> raw terms by name -> weighted total. One path for every solver.

objective = StageObjective(models, data, scene, stage, settings)
evaluation = objective.evaluate(variables)                # official: robust weights of this moment
evaluation = objective.evaluate(variables, frozen)        # robust weights of an earlier evaluation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.joints import BODY25_FROM_SMPLH, HUMOR_KEY_VERTICES
from pipelines.errors import SettingsInvalid
from pipelines.fitting import energies
from pipelines.fitting.matching import Matcher, PointMatch, SceneMatch, robust_point_weights
from pipelines.fitting.prediction import (
    FitModels,
    MotionPrediction,
    Prediction,
    predict_frames,
    predict_motion,
    predict_poses,
)
from pipelines.fitting.scene_energies import prox_contact, prox_penetration
from pipelines.fitting.settings import SCENE_TERMS, HumorSettings, StageSettings
from pipelines.fitting.variables import Variables
from pipelines.fitting.window_data import NeighbourTargets, ReferenceMotion, SceneData, WindowData
from pipelines.geometry.cameras import project_pinhole
from pipelines.motion_prior.initial_state import initial_state_vector

_MESH_TERMS = {"points3d", "joints2d", "lifted_joints3d", "rgb_overlap_consist", *SCENE_TERMS}
_FROZEN_TERMS = ("points3d", "prox_contact")
"""Terms with constants that a step leaves as they were."""
RAISED_SURFACE_M = 0.10


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A stage's energy at one point."""

    per_window: Float[Tensor, " windows"]
    """Weighted total of each window."""
    terms: dict[str, Float[Tensor, " windows"]]
    """Raw (unweighted) value of each active term."""
    inputs: TermInputs

    @property
    def prediction(self) -> Prediction:
        """The bodies evaluated."""
        return self.inputs.prediction

    @property
    def total(self) -> Float[Tensor, ""]:
        """Sum over windows: what is minimised."""
        return self.per_window.sum()


class StageObjective:
    """One stage's energy over all windows of a recording."""

    def __init__(
        self,
        models: FitModels,
        data: WindowData,
        scene: SceneData | None,
        stage: StageSettings,
        settings: HumorSettings,
    ) -> None:
        """Cut the data to the stage's frames and points."""
        self.models, self.scene, self.stage, self.settings = models, scene, stage, settings
        self.full_data = data.leading(stage.num_frames)
        chosen = stage.solver.points_per_frame
        available = data.points_camera.shape[2]
        few = chosen is not None and chosen < available
        few_points = torch.arange(chosen) if few and chosen is not None else None
        self.data = self.full_data.with_points(few_points)
        self.points_factor = available / chosen if few and chosen is not None else 1.0
        self._weights = {term: stage.weights[term] for term in stage.active_terms}
        self._matcher = Matcher()

    @property
    def num_frames(self) -> int:
        """Frames per window that are evaluated."""
        return self.data.frames_used.shape[1]

    def predict(self, variables: Variables, *, mesh: bool) -> Prediction:
        """Bodies of the stage's frames."""
        if self.stage.kind == "frames":
            return predict_frames(self.models, variables, mesh=mesh)
        if self.stage.kind == "poses":
            return predict_poses(self.models, variables, mesh=mesh)
        return predict_motion(self.models, variables, self.num_frames, mesh=mesh)

    def evaluate(self, variables: Variables, frozen: Evaluation | None = None) -> Evaluation:
        """The energy; with `frozen`, robust weights and contact pairs of that earlier evaluation.

        Nearest vertices are always those of now: a minimum over vertices is a proper function, a weight
        that moves with the residual but is left out of the gradient is not.
        """
        prediction = self.predict(variables, mesh=bool(_MESH_TERMS & self._weights.keys()))
        points, squared = None, None
        if "points3d" in self._weights:
            assert prediction.vertices is not None
            points = self._matcher.points(self.data, prediction.vertices)
            squared = points.squared_distances(self.data.points_camera, prediction.vertices)
        world = None
        if self.scene is not None and self._weights.keys() & set(SCENE_TERMS):
            assert prediction.vertices is not None
            world = self.scene.to_world(prediction.vertices)
        inputs = TermInputs(self, prediction, points, squared, None, world, None)
        inputs = inputs.with_constants_of(frozen.inputs if frozen is not None else None)
        return self._total(inputs, {term: _TERMS[term](inputs) for term in self._weights})

    def refreshed(self, evaluation: Evaluation) -> Evaluation:
        """The official energy at the place of an evaluation made with frozen constants."""
        inputs = evaluation.inputs.with_constants_of(None)
        changed: dict[str, Tensor] = {
            term: _TERMS[term](inputs) for term in _FROZEN_TERMS if term in self._weights
        }
        return self._total(inputs, {**evaluation.terms, **changed})

    def _total(self, inputs: TermInputs, terms: dict[str, Tensor]) -> Evaluation:
        per_window = torch.zeros_like(self.data.num_frames)
        for term, value in terms.items():
            per_window = per_window + self.weight(term) * value
        return Evaluation(per_window, terms, inputs)

    def scene_match(self, vertices_world: Tensor) -> SceneMatch | None:
        """Contact pairs of now, if the stage asks for them."""
        if self.scene is None or "prox_contact" not in self._weights:
            return None
        return self._matcher.scene(self.data, self.scene, vertices_world)

    def weight(self, term: str) -> float:
        """Weight of a term as it enters the total; 0 when off."""
        return self._factor(term) if term in self._weights else 0.0

    def _factor(self, term: str) -> float:
        factors = {
            "points3d": self.points_factor,
            "init_motion_prior": self.stage.init_motion_scale,
            "floor_reg": self.settings.floor_reg_factor,
            "prox_penetration": self.settings.sdf_vertex_factor,
        }
        return self._weights[term] * factors.get(term, 1.0)  # type: ignore[index]


def require_data(stage: StageSettings, data: WindowData, scene: SceneData | None) -> None:
    """Refuse a stage whose weighted terms have nothing to compare with, before any step.

    Raises:
        SettingsInvalid: names the term, its weight and what is missing.
    """
    for term in stage.active_terms:
        missing = None
        if term == "points3d" and not bool(data.has_points.any()):
            missing = "depth points of the person in at least one frame"
        if term == "joints2d" and not bool((data.confidence > 0).any()):
            missing = "a body keypoint with confidence above 0 in at least one frame"
        if term == "lifted_joints3d" and not bool((data.lifted_weights > 0).any()):
            missing = "a keypoint with depth points near it in at least one frame"
        if term in SCENE_TERMS and scene is None:
            missing = "the scene's scan and signed distance grid"
        if missing is not None:
            raise SettingsInvalid(
                f"stage {stage.name}: term {term} has weight {stage.weights[term]} "
                "but nothing to compare with",
                expected=missing,
                fix=f"give the data, or set the weight of {term} to 0",
            )


@dataclass(frozen=True, slots=True, eq=False)
class TermInputs:
    """What the energies of one evaluation read."""

    objective: StageObjective
    prediction: Prediction
    points: PointMatch | None
    squared_distances: Float[Tensor, "windows residuals"] | None
    point_weights: Float[Tensor, "windows residuals"] | None
    vertices_world: Float[Tensor, "windows frames verts 3"] | None
    scene_match: SceneMatch | None

    def with_constants_of(self, frozen: TermInputs | None) -> TermInputs:
        """Robust weights and contact pairs of another evaluation, or (None) those of now."""
        if frozen is not None:
            weights, match = frozen.point_weights, frozen.scene_match
        else:
            squared, world = self.squared_distances, self.vertices_world
            weights = None if squared is None else robust_point_weights(self.data, squared)
            match = None if world is None else self.objective.scene_match(world)
        return replace(self, point_weights=weights, scene_match=match)

    @property
    def data(self) -> WindowData:
        """What was observed."""
        return self.objective.data

    @property
    def reference(self) -> ReferenceMotion:
        """The motion to keep near; only in stages of kind `poses`."""
        assert self.data.reference is not None
        return self.data.reference

    @property
    def motion(self) -> MotionPrediction:
        """The rolled-out motion; only in stages of kind `motion`."""
        assert self.prediction.motion is not None
        return self.prediction.motion


def _points3d(inputs: TermInputs) -> Tensor:
    assert inputs.squared_distances is not None
    assert inputs.point_weights is not None
    return energies.points3d(inputs.squared_distances, inputs.point_weights)


def _joints2d(inputs: TermInputs) -> Tensor:
    data = inputs.data
    joints = inputs.prediction.joints[:, :, list(BODY25_FROM_SMPLH)]
    projected = project_pinhole(joints, data.K)
    return energies.joints2d(projected, data.keypoints_px, data.confidence)


def _lifted_joints3d(inputs: TermInputs) -> Tensor:
    data = inputs.data
    joints = inputs.prediction.joints[:, :, list(BODY25_FROM_SMPLH)]
    return energies.lifted_joints3d(joints, data.lifted_camera, data.lifted_weights)


def _pose_prior(inputs: TermInputs) -> Tensor:
    latent = inputs.prediction.latent_pose
    assert latent is not None
    return energies.pose_prior(latent, inputs.data.frames_used[:, : latent.shape[1]])


def _shape_prior(inputs: TermInputs) -> Tensor:
    return energies.shape_prior(inputs.prediction.betas, inputs.data.num_frames)


def _joints3d_smooth(inputs: TermInputs) -> Tensor:
    return energies.joints3d_smooth(inputs.prediction.joints[:, :, :22], inputs.data.frames_used)


def _motion_prior(inputs: TermInputs) -> Tensor:
    motion = inputs.motion
    return energies.motion_prior(
        motion.latents, motion.prior_mean, motion.prior_variance, inputs.data.frames_used[:, 1:]
    )


def _init_motion_prior(inputs: TermInputs) -> Tensor:
    motion = inputs.motion
    state = initial_state_vector(
        motion.joints_prior[:, 0],
        motion.states.joints_velocity[:, 0],
        motion.states.transl_velocity[:, 0],
        motion.states.root_angular_velocity[:, 0],
    )
    return -inputs.objective.models.initial_state.log_prob(state)


def _joint_consistency(inputs: TermInputs) -> Tensor:
    motion = inputs.motion
    return energies.joint_consistency(motion.joints_prior, motion.states.joints, inputs.data.frames_used)


def _bone_length(inputs: TermInputs) -> Tensor:
    return energies.bone_length(inputs.motion.states.joints, inputs.data.frames_used)


def _contact_vel(inputs: TermInputs) -> Tensor:
    if inputs.data.reference is not None:
        joints, contacts = inputs.prediction.joints[:, :, :22], inputs.data.reference.contacts
        return energies.contact_vel(joints, contacts, inputs.data.frames_used)
    motion = inputs.motion
    return energies.contact_vel(motion.joints_prior, motion.contacts, inputs.data.frames_used)


def _contact_height(inputs: TermInputs) -> Tensor:
    motion = inputs.motion
    contacts = motion.contacts
    if inputs.objective.settings.floor_contacts_only and inputs.objective.scene is not None:
        contacts = contacts * ~_above_raised_surface(inputs)
    return energies.contact_height(motion.joints_prior, contacts, inputs.data.frames_used)


def _above_raised_surface(inputs: TermInputs) -> Tensor:
    """Joints over a scene surface more than 10 cm above the floor (and below the joint)."""
    scene = inputs.objective.scene
    assert scene is not None
    joints = inputs.prediction.joints[:, :, :22].detach()
    frame = inputs.motion.frame
    up = frame.R_prior_from_camera[:, 2].detach()[:, None, None]
    height = inputs.motion.joints_prior[..., 2].detach()
    raised = torch.zeros_like(height, dtype=torch.bool)
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        drop = share * (height - RAISED_SURFACE_M).clamp_min(0.0)
        below = scene.to_world(joints - drop[..., None] * up)
        raised |= scene.sdf.sample(below) < 0
    return raised & (height > RAISED_SURFACE_M)


def _floor_reg(inputs: TermInputs) -> Tensor:
    data = inputs.data
    return energies.floor_reg(inputs.motion.floor_camera, data.floor_camera, data.num_frames)


def _overlap(inputs: TermInputs) -> Tensor:
    data, prediction = inputs.data, inputs.prediction
    assert prediction.vertices is not None
    keys = prediction.vertices[:, :, list(HUMOR_KEY_VERTICES)]
    if data.neighbours is not None:
        return _constant_overlap(inputs, data.neighbours, keys)
    positions, differences = energies.rgb_overlap_consist(keys, data.overlaps, data.lengths)
    total = positions + differences
    if "betas" in inputs.objective.stage.free:
        total = total + energies.neighbour_gap(prediction.betas, data.overlaps)
    if prediction.motion is not None:
        total = total + energies.neighbour_gap(prediction.motion.floor_camera, data.overlaps)
    return total


def _constant_overlap(inputs: TermInputs, neighbours: NeighbourTargets, keys: Tensor) -> Tensor:
    prediction = inputs.prediction
    total = energies.constant_overlap(keys, neighbours.key_vertices, neighbours.shared)
    pairs = []
    if "betas" in inputs.objective.stage.free:
        pairs.append((prediction.betas, neighbours.betas))
    if prediction.motion is not None:
        pairs.append((prediction.motion.floor_camera, neighbours.floor_camera))
    for own, theirs in pairs:
        gap = (own[:, None] - theirs).square().sum(-1)
        total = total + 0.5 * (gap * neighbours.present).sum(1)
    return total


def _follow_velocity(inputs: TermInputs) -> Tensor:
    gap = inputs.prediction.joints[:, :, :22] - inputs.reference.joints_camera
    return energies.joints3d_smooth(gap, inputs.data.frames_used)


def _follow_place(inputs: TermInputs) -> Tensor:
    joints = inputs.prediction.joints[:, :, :22]
    return energies.joint_consistency(joints, inputs.reference.joints_camera, inputs.data.frames_used)


def _follow_turns(inputs: TermInputs) -> Tensor:
    prediction = inputs.prediction
    rotmats = torch.cat([prediction.root_rotmats[:, :, None], prediction.body_rotmats], dim=2)
    return energies.follow_turns(rotmats, inputs.reference.rotmats, inputs.data.frames_used)


def _penetration(inputs: TermInputs) -> Tensor:
    scene = inputs.objective.scene
    assert scene is not None
    assert inputs.vertices_world is not None
    return prox_penetration(inputs.vertices_world, scene.sdf, inputs.data.frames_used)


def _contact(inputs: TermInputs) -> Tensor:
    scene, match = inputs.objective.scene, inputs.scene_match
    assert scene is not None
    assert match is not None
    assert inputs.vertices_world is not None
    touching = inputs.vertices_world[:, :, scene.contact_ids]
    return prox_contact(touching, match.nearest_world, match.kept, inputs.data.frames_used)


_TERMS: dict[str, Callable[[TermInputs], Tensor]] = {
    "points3d": _points3d,
    "joints2d": _joints2d,
    "lifted_joints3d": _lifted_joints3d,
    "pose_prior": _pose_prior,
    "shape_prior": _shape_prior,
    "joints3d_smooth": _joints3d_smooth,
    "motion_prior": _motion_prior,
    "init_motion_prior": _init_motion_prior,
    "joint_consistency": _joint_consistency,
    "bone_length": _bone_length,
    "contact_vel": _contact_vel,
    "contact_height": _contact_height,
    "floor_reg": _floor_reg,
    "rgb_overlap_consist": _overlap,
    "follow_velocity": _follow_velocity,
    "follow_place": _follow_place,
    "follow_turns": _follow_turns,
    "prox_penetration": _penetration,
    "prox_contact": _contact,
}
"""Every name a weight may carry, and how its raw value is read off a prediction."""
