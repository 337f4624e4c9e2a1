"""The energy of a stage: prediction -> raw terms by name -> weighted total. One path for every solver.

    objective = StageObjective(models, data, scene, stage, settings)
    evaluation = objective.evaluate(variables)                # official: robust weights of this moment
    evaluation = objective.evaluate(variables, frozen)        # robust weights of an earlier evaluation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
)
from pipelines.fitting.scene_energies import prox_contact, prox_penetration
from pipelines.fitting.settings import SCENE_TERMS, HumorSettings, StageSettings
from pipelines.fitting.variables import Variables
from pipelines.fitting.window_data import SceneData, WindowData
from pipelines.geometry.cameras import project_pinhole
from pipelines.motion_prior.initial_state import initial_state_vector

_MESH_TERMS = {"points3d", "joints2d", "rgb_overlap_consist", *SCENE_TERMS}
RAISED_SURFACE_M = 0.10


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A stage's energy at one point."""

    per_window: Float[Tensor, " windows"]
    """Weighted total of each window."""
    terms: dict[str, Float[Tensor, " windows"]]
    """Raw (unweighted) value of each active term."""
    prediction: Prediction
    points: PointMatch | None
    point_weights: Float[Tensor, "windows residuals"] | None
    scene: SceneMatch | None

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
        """Cut the data to the stage's frames.

        Raises:
            SettingsInvalid: a weighted term has nothing to compare with, before any step.
        """
        self.models, self.scene, self.stage, self.settings = models, scene, stage, settings
        self.full_data = data.leading(stage.num_frames)
        chosen = stage.solver.points_per_frame
        available = data.points_camera.shape[2]
        few = chosen is not None and chosen < available
        self.data = self.full_data.with_points(torch.arange(chosen) if few else None)
        self.points_factor = available / chosen if few and chosen is not None else 1.0
        self._weights = {term: stage.weights[term] for term in stage.active_terms}
        self._require_data()
        self._matcher = Matcher()

    @property
    def num_frames(self) -> int:
        """Frames per window that are evaluated."""
        return self.data.frames_used.shape[1]

    def predict(self, variables: Variables, *, mesh: bool) -> Prediction:
        """Bodies of the stage's frames."""
        if self.stage.kind == "frames":
            return predict_frames(self.models, variables, mesh=mesh)
        return predict_motion(self.models, variables, self.num_frames, mesh=mesh)

    def evaluate(self, variables: Variables, frozen: Evaluation | None = None) -> Evaluation:
        """The energy; with `frozen`, robust weights and contact pairs of that earlier evaluation.

        Nearest vertices are always those of now: a minimum over vertices is a proper function, a weight
        that moves with the residual but is left out of the gradient is not.
        """
        mesh = bool(_MESH_TERMS & self._weights.keys())
        prediction = self.predict(variables, mesh=mesh)
        points, weights, squared = None, None, None
        if "points3d" in self._weights:
            assert prediction.vertices is not None  # noqa: S101
            points = self._matcher.points(self.data, prediction.vertices)
            squared = points.squared_distances(self.data.points_camera, prediction.vertices)
            weights = (
                frozen.point_weights if frozen is not None else robust_point_weights(self.data, squared)
            )
        world = None
        scene_match = frozen.scene if frozen is not None else None
        if self.scene is not None and self._weights.keys() & set(SCENE_TERMS):
            assert prediction.vertices is not None  # noqa: S101
            world = self.scene.to_world(prediction.vertices)
            if "prox_contact" in self._weights and scene_match is None:
                scene_match = self._matcher.scene(self.data, self.scene, world)
        inputs = _TermInputs(
            self, variables, prediction, squared, weights, world, scene_match
        )
        terms = {term: _TERMS[term](inputs) for term in self._weights}
        per_window = sum(
            (self._factor(term) * value for term, value in terms.items()),
            start=torch.zeros_like(self.data.num_frames),
        )
        assert isinstance(per_window, Tensor)  # noqa: S101
        return Evaluation(per_window, terms, prediction, points, weights, scene_match)

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

    def _require_data(self) -> None:
        for term in self._weights:
            missing = None
            if term == "points3d" and not bool(self.data.has_points.any()):
                missing = "depth points of the person in at least one frame"
            if term == "joints2d" and not bool((self.data.confidence > 0).any()):
                missing = "a body keypoint with confidence above 0 in at least one frame"
            if term in SCENE_TERMS and self.scene is None:
                missing = "the scene's scan and signed distance grid"
            if missing is not None:
                raise SettingsInvalid(
                    f"stage {self.stage.name}: term {term} has weight {self._weights[term]} "
                    "but nothing to compare with",
                    expected=missing,
                    fix=f"give the data, or set the weight of {term} to 0",
                )


@dataclass(frozen=True, slots=True, eq=False)
class _TermInputs:
    objective: StageObjective
    variables: Variables
    prediction: Prediction
    squared_distances: Tensor | None
    point_weights: Tensor | None
    vertices_world: Tensor | None
    scene_match: SceneMatch | None

    @property
    def data(self) -> WindowData:
        return self.objective.data

    @property
    def motion(self) -> MotionPrediction:
        assert self.prediction.motion is not None  # noqa: S101
        return self.prediction.motion


def _points3d(inputs: _TermInputs) -> Tensor:
    assert inputs.squared_distances is not None  # noqa: S101
    assert inputs.point_weights is not None  # noqa: S101
    return energies.points3d(inputs.squared_distances, inputs.point_weights)


def _joints2d(inputs: _TermInputs) -> Tensor:
    data = inputs.data
    joints = inputs.prediction.joints[:, :, list(BODY25_FROM_SMPLH)]
    projected = project_pinhole(joints, data.K)
    return energies.joints2d(projected, data.keypoints_px, data.confidence)


def _pose_prior(inputs: _TermInputs) -> Tensor:
    latent = inputs.prediction.latent_pose
    return energies.pose_prior(latent, inputs.data.frames_used[:, : latent.shape[1]])


def _shape_prior(inputs: _TermInputs) -> Tensor:
    return energies.shape_prior(inputs.prediction.betas, inputs.data.num_frames)


def _joints3d_smooth(inputs: _TermInputs) -> Tensor:
    return energies.joints3d_smooth(inputs.prediction.joints[:, :, :22], inputs.data.frames_used)


def _motion_prior(inputs: _TermInputs) -> Tensor:
    motion = inputs.motion
    return energies.motion_prior(
        motion.latents, motion.prior_mean, motion.prior_variance, inputs.data.frames_used[:, 1:]
    )


def _init_motion_prior(inputs: _TermInputs) -> Tensor:
    motion = inputs.motion
    state = initial_state_vector(
        motion.joints_prior[:, 0],
        motion.states.joints_velocity[:, 0],
        motion.states.transl_velocity[:, 0],
        motion.states.root_angular_velocity[:, 0],
    )
    return -inputs.objective.models.initial_state.log_prob(state)


def _joint_consistency(inputs: _TermInputs) -> Tensor:
    motion = inputs.motion
    return energies.joint_consistency(
        motion.joints_prior, motion.states.joints, inputs.data.frames_used
    )


def _bone_length(inputs: _TermInputs) -> Tensor:
    return energies.bone_length(inputs.motion.states.joints, inputs.data.frames_used)


def _contact_vel(inputs: _TermInputs) -> Tensor:
    motion = inputs.motion
    return energies.contact_vel(motion.joints_prior, motion.contacts, inputs.data.frames_used)


def _contact_height(inputs: _TermInputs) -> Tensor:
    motion = inputs.motion
    contacts = motion.contacts
    if inputs.objective.settings.floor_contacts_only and inputs.objective.scene is not None:
        contacts = contacts * ~_above_raised_surface(inputs)
    return energies.contact_height(motion.joints_prior, contacts, inputs.data.frames_used)


def _above_raised_surface(inputs: _TermInputs) -> Tensor:
    """Joints over a scene surface more than 10 cm above the floor (and below the joint)."""
    scene = inputs.objective.scene
    assert scene is not None  # noqa: S101
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


def _floor_reg(inputs: _TermInputs) -> Tensor:
    data = inputs.data
    return energies.floor_reg(inputs.motion.floor_camera, data.floor_camera, data.num_frames)


def _overlap(inputs: _TermInputs) -> Tensor:
    data, prediction = inputs.data, inputs.prediction
    assert prediction.vertices is not None  # noqa: S101
    keys = prediction.vertices[:, :, list(HUMOR_KEY_VERTICES)]
    positions, differences = energies.rgb_overlap_consist(keys, data.overlaps, data.lengths)
    total = positions + differences
    if "betas" in inputs.objective.stage.free:
        total = total + energies.neighbour_gap(prediction.betas, data.overlaps)
    if prediction.motion is not None:
        total = total + energies.neighbour_gap(prediction.motion.floor_camera, data.overlaps)
    return total


def _penetration(inputs: _TermInputs) -> Tensor:
    scene = inputs.objective.scene
    assert scene is not None  # noqa: S101
    assert inputs.vertices_world is not None  # noqa: S101
    return prox_penetration(inputs.vertices_world, scene.sdf, inputs.data.frames_used)


def _contact(inputs: _TermInputs) -> Tensor:
    scene, match = inputs.objective.scene, inputs.scene_match
    assert scene is not None  # noqa: S101
    assert match is not None  # noqa: S101
    assert inputs.vertices_world is not None  # noqa: S101
    touching = inputs.vertices_world[:, :, scene.contact_ids]
    return prox_contact(touching, match.nearest_world, match.kept, inputs.data.frames_used)


_TERMS: dict[str, Callable[[_TermInputs], Tensor]] = {
    "points3d": _points3d,
    "joints2d": _joints2d,
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
    "prox_penetration": _penetration,
    "prox_contact": _contact,
}
"""Every name a weight may carry, and how its raw value is read off a prediction."""
