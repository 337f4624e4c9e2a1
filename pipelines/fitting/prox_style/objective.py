"""The PROX energy of many frames at once: values, terms and gradients, frame by frame.

Frames share nothing. A frame's visible set is found on request and then held fixed (once per optimiser
round); nearest neighbours and the contact set are found anew in every evaluation.
Differs from PROX: it finds the visible set in every evaluation, which adds noise to its line search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipelines.bodies.smplx_model import SmplxBody
from pipelines.fitting.prox_style import energies as terms
from pipelines.fitting.prox_style.body import COLUMNS, PoseDecoder, PosedFrames, pose_frames
from pipelines.fitting.prox_style.energies import VertexPairs
from pipelines.fitting.prox_style.pairs import (
    ContactScene,
    NearestInScene,
    ScanPoints,
    body_pairs,
    contact_pairs,
    faces_touching,
    scan_pairs,
    visible_vertices,
)
from pipelines.fitting.prox_style.settings import ProxStyleSettings, StageWeights
from pipelines.geometry.rotations import rotmat_to_rotvec
from pipelines.geometry.signed_distance import SdfGrid
from pipelines.geometry.transforms import transform_points

BENDING_JOINTS = (17, 18, 3, 4)
"""Left elbow, right elbow, left knee, right knee among the 21 body joints."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameData:
    """What was observed in the frames that are fitted together."""

    keypoints_px: Float[Tensor, "frames 118 2"]
    confidence: Float[Tensor, "frames 118"]
    scans: tuple[ScanPoints, ...]
    initial_transl: Float[Tensor, "frames 3"]
    """Mean of the full set of person points, as far as known."""
    K: Float[Tensor, "3 3"]

    def __len__(self) -> int:
        return len(self.scans)


@dataclass(frozen=True, slots=True, eq=False)
class SceneTerms:
    """The room as the two scene terms need it."""

    T_world_from_camera: Float[Tensor, "4 4"]
    sdf: SdfGrid
    normal_lengths: Float[Tensor, "nx ny nz"] | None
    contact: ContactScene


@dataclass(frozen=True, slots=True, eq=False)
class BodySets:
    """Vertex sets on SMPL-X."""

    contact_ids: Int[Tensor, " contacts"]
    """The seven contact parts, each id once per part it belongs to."""
    is_head: Bool[np.ndarray, " verts"]


@dataclass(frozen=True, slots=True, eq=False)
class DepthPairs:
    """Pairs of the two depth terms and of the contact term at one evaluation."""

    s2m: VertexPairs
    m2s: VertexPairs
    contact: VertexPairs | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Energy of some frames with everything the next step is made of; without gradient."""

    energy: Float[Tensor, " frames"]
    gradient: Float[Tensor, "frames 91"]
    terms: dict[str, Float[Tensor, " frames"]]
    """Unweighted (jaw: weighted per axis)."""
    posed: PosedFrames
    pairs: DepthPairs


class Objective:
    """PROX's energy for a fixed set of frames."""

    def __init__(
        self,
        data: FrameData,
        scene: SceneTerms,
        sets: BodySets,
        body: SmplxBody,
        prior: PoseDecoder,
        settings: ProxStyleSettings,
    ) -> None:
        self.data, self.scene, self.sets = data, scene, sets
        self.body, self.prior, self.settings = body, prior, settings
        self._faces = body.faces.numpy()
        num_vertices = len(body.skinning.template)
        self._contact_faces = faces_touching(body.faces, sets.contact_ids, num_vertices)
        share = settings.contact_search_share
        self._searches = [NearestInScene(scene.contact, share) for _ in range(len(data))]
        self._visible: list[Int[np.ndarray, " visible"]] = [np.zeros(0, np.int64)] * len(data)
        self._seen_at: list[Float[np.ndarray, "verts 3"] | None] = [None] * len(data)
        self.num_evaluations = np.zeros(len(data), np.int64)

    def update_visibility(
        self, parameters: Float[Tensor, "frames 91"], frames: Int[np.ndarray, " frames"]
    ) -> None:
        """Find the visible vertices of some frames and hold them fixed until called again."""
        for rows in self.batches(np.arange(len(frames))):
            with torch.no_grad():
                vertices = pose_frames(parameters[rows], self.body, self.prior).vertices_camera
            for frame, body in zip(frames[rows], vertices.numpy(), strict=True):
                self._update_one(int(frame), body)

    def _update_one(self, frame: int, body: Float[np.ndarray, "verts 3"]) -> None:
        seen_at = self._seen_at[frame]
        if seen_at is not None:
            moved = np.linalg.norm(body - seen_at, axis=1).mean()
            if moved < self.settings.visibility_slack_m:
                return
        self._seen_at[frame] = body
        self._visible[frame] = np.flatnonzero(visible_vertices(body, self._faces))

    def batches(self, frames: Int[np.ndarray, " frames"]) -> list[Int[np.ndarray, " batch"]]:
        """Frames (or rows) cut into batches that fit in memory."""
        size = self.settings.frames_at_once
        return [frames[start : start + size] for start in range(0, len(frames), size)]

    def num_visible(self, frames: Int[np.ndarray, " frames"]) -> Int[np.ndarray, " frames"]:
        """Size of the visible set of each frame."""
        return np.array([len(self._visible[frame]) for frame in frames], np.int64)

    def evaluate(
        self,
        parameters: Float[Tensor, "frames 91"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
    ) -> Evaluation:
        """Energy and gradient of a batch that fits in memory.

        Args:
            parameters: one row per frame evaluated.
            frames: which of the objective's frames the rows belong to.
            stage: weights.
        """
        leaf = parameters.detach().requires_grad_()
        posed = pose_frames(leaf, self.body, self.prior)
        pairs = self._pairs(posed, frames, stage)
        values = self._terms(leaf, posed, pairs, frames, stage)
        factors = stage.factors()
        energy = torch.stack([factors[name] * value for name, value in values.items()]).sum(0)
        (gradient,) = torch.autograd.grad(energy.sum(), leaf)
        self.num_evaluations[frames] += 1
        return Evaluation(
            energy=energy.detach(),
            gradient=gradient,
            terms={name: value.detach() for name, value in values.items()},
            posed=_detached(posed),
            pairs=pairs,
        )

    def _terms(
        self,
        parameters: Float[Tensor, "frames 91"],
        posed: PosedFrames,
        pairs: DepthPairs,
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
    ) -> dict[str, Float[Tensor, " frames"]]:
        part = {name: parameters[:, columns] for name, columns in COLUMNS.items()}
        zero = parameters.new_zeros(len(parameters))
        rows = torch.as_tensor(frames)
        vertices, settings = posed.vertices_camera, self.settings
        return {
            "data": terms.data_energy(
                posed.keypoints_camera,
                self.data.keypoints_px[rows],
                self.data.confidence[rows],
                self.joint_weights(stage),
                self.data.K,
                settings.data_rho_px,
            ),
            "body_pose": terms.sum_of_squares(part["latent"]),
            "shape": terms.sum_of_squares(part["betas"]),
            "bending": self.bending(posed.body_rotmats),
            "left_hand": terms.sum_of_squares(posed.left_hand),
            "right_hand": terms.sum_of_squares(posed.right_hand),
            "expression": terms.sum_of_squares(part["expression"]),
            "jaw": terms.jaw_energy(part["jaw_pose"], stage.jaw_axes),
            "s2m": terms.depth_energy(vertices, pairs.s2m, settings.scan_to_body_rho_m),
            "m2s": terms.depth_energy(vertices, pairs.m2s, settings.body_to_scan_rho_m),
            "penetration": self._penetration(vertices) if stage.penetration > 0 else zero,
            "contact": zero if pairs.contact is None else self._contact(vertices, pairs.contact),
        }

    def joint_weights(self, stage: StageWeights) -> Float[Tensor, "118"]:
        """Weight of every keypoint in a stage."""
        return terms.keypoint_weights(
            stage,
            official_hand_slice=self.settings.official_hand_slice,
            dtype=self.data.confidence.dtype,
        )

    def bending(self, body_rotmats: Float[Tensor, "frames 21 3 3"]) -> Float[Tensor, " frames"]:
        """Bending prior of elbows and knees."""
        # Only elbows and knees are needed as rotation vectors; the others stay zero.
        body_pose = body_rotmats.new_zeros(len(body_rotmats), 21, 3)
        joints = list(BENDING_JOINTS)
        body_pose[:, joints] = rotmat_to_rotvec(body_rotmats[:, joints])
        return terms.bending_energy(body_pose.flatten(1), self.settings.bending_exponent_cap)

    def _penetration(self, vertices_camera: Float[Tensor, "frames verts 3"]) -> Float[Tensor, " frames"]:
        vertices_world = transform_points(self.scene.T_world_from_camera, vertices_camera)
        return terms.penetration_energy(vertices_world, self.scene.sdf, self.scene.normal_lengths)

    def _contact(
        self, vertices_camera: Float[Tensor, "frames verts 3"], pairs: VertexPairs
    ) -> Float[Tensor, " frames"]:
        vertices_world = transform_points(self.scene.T_world_from_camera, vertices_camera)
        return terms.contact_energy(vertices_world, pairs, self.settings.contact_rho_m)

    def _pairs(
        self, posed: PosedFrames, frames: Int[np.ndarray, " frames"], stage: StageWeights
    ) -> DepthPairs:
        bodies = posed.vertices_camera.detach()
        s2m, m2s = [], []
        for row, (frame, body) in enumerate(zip(frames, bodies.double().numpy(), strict=True)):
            scan, visible = self.data.scans[frame], self._visible[frame]
            if len(visible) == 0:
                continue
            s2m.append((row, scan_pairs(body, visible, scan), scan.points_camera, scan.weight))
            below_head = visible[~self.sets.is_head[visible]]
            stride = max(1, len(below_head) // self.settings.num_body_vertices)
            some = below_head[::stride]
            if len(some):
                targets = scan.points_camera[body_pairs(body, some, scan)]
                m2s.append((row, some, targets, len(below_head) / len(some)))
        contact = None
        if stage.contact > 0:
            contact = contact_pairs(
                transform_points(self.scene.T_world_from_camera, bodies),
                self._contact_faces,
                self.sets.contact_ids,
                self.scene.contact,
                [self._searches[frame] for frame in frames],
                self.settings.contact_angle_deg,
            )
        return DepthPairs(_one_list(s2m, bodies), _one_list(m2s, bodies), contact)


def _one_list(
    frames: list[tuple[int, Int[np.ndarray, " _"], Float[np.ndarray, "_ 3"], float]], like: Tensor
) -> VertexPairs:
    if not frames:
        nothing = torch.zeros(0, dtype=torch.int64)
        return VertexPairs(nothing, nothing, like.new_zeros(0, 3), like.new_zeros(0))
    rows, vertices, targets, weights = zip(*frames, strict=True)
    counts = [len(ids) for ids in vertices]
    return VertexPairs(
        frame=torch.as_tensor(np.repeat(np.array(rows), counts)),
        vertex=torch.as_tensor(np.concatenate(vertices)),
        target=torch.as_tensor(np.concatenate(targets)).to(like),
        weight=torch.as_tensor(np.repeat(np.array(weights), counts)).to(like),
    )


def _detached(posed: PosedFrames) -> PosedFrames:
    return PosedFrames(*(getattr(posed, name).detach() for name in PosedFrames.__slots__))
