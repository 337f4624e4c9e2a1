"""Approximate curvature of the PROX energy: J^T W J with robust weights frozen.

Only the direction of a step depends on it; energies and gradients are exact. Approximations: pose
correctives are left out of J, depth and scene forces are gathered on anchor vertices, and a depth pair
holds a vertex firmly along the surface normal but loosely along the surface, since another vertex takes
over when the surface slides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from pipelines.bodies.joints import PROX118_FROM_SMPLX
from pipelines.bodies.smplx_model import SmplxBody
from pipelines.fitting.prox_style.body import (
    BODY_JOINTS,
    COLUMNS,
    NUM_PARAMETERS,
    PoseDecoder,
    PosedFrames,
)
from pipelines.fitting.prox_style.energies import VertexPairs
from pipelines.fitting.prox_style.objective import BENDING_JOINTS, Evaluation, Objective
from pipelines.fitting.prox_style.pairs import faces_touching
from pipelines.fitting.prox_style.settings import StageWeights
from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.rotations import rotmat_to_rotvec
from pipelines.geometry.transforms import transform_points

_SHALLOW_M = 0.01
"""Penetration costs |depth|, which has no curvature; the parabola that touches it at this depth has."""
_PERIPHERAL_JOINTS = {
    "global_orient": slice(0, 1),
    "jaw_pose": slice(22, 23),
    "leye_pose": slice(23, 24),
    "reye_pose": slice(24, 25),
    "left_hand_pose": slice(25, 40),
    "right_hand_pose": slice(40, 55),
}
"""Joints that a rotation-vector variable turns."""


def skew(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix [v]x with [v]x u = v x u."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def left_jacobian(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Derivative of omega by rotvec, omega the small rotation applied on the left of R(rotvec)."""
    angle = rotvec.norm(dim=-1).clamp(min=1e-4)[..., None, None]
    cross = skew(rotvec)
    first = (1 - angle.cos()) / angle.square()
    second = (angle - angle.sin()) / angle**3
    return torch.eye(3).to(rotvec) + first * cross + second * (cross @ cross)


@dataclass(frozen=True, slots=True, eq=False)
class AnchorPoints:
    """Points whose Jacobian is formed: the 127 output joints, then vertices spread over the body."""

    num_joints: int
    anchor_of_vertex: Int[Tensor, " verts"]
    """Anchor (0 = first after the joints) that takes over each vertex's forces."""
    weights: Float[Tensor, "points joints"]
    subtree: Float[Tensor, "points joints"]
    """Share of each point that moves when a joint turns."""
    shapes: Float[Tensor, "points 3 shapes"]
    vertex_ids: Int[Tensor, " vertices"]
    """Vertex of every point after the 55 kinematic joints."""

    @property
    def num_anchors(self) -> int:
        """Points after the output joints."""
        return len(self.weights) - self.num_joints

    @property
    def anchor_ids(self) -> Int[Tensor, " anchors"]:
        """Vertex of every anchor."""
        return self.vertex_ids[-self.num_anchors :]

    @staticmethod
    def build(body: SmplxBody, num_anchors: int) -> AnchorPoints:
        """Anchors by farthest point sampling of the rest mesh."""
        template = body.skinning.template.double().numpy()
        anchors = _farthest_points(template, num_anchors)
        _, anchor_of_vertex = cKDTree(template[anchors]).query(template)
        strongest = body.landmark_weights.argmax(dim=1)
        landmarks = body.landmark_vertices[torch.arange(len(strongest)), strongest]
        vertex_ids = torch.cat([body.picked, landmarks, torch.as_tensor(anchors)])
        num_kinematic = len(body.skinning.parents)
        num_shapes = body.skinning.num_shapes
        shapes = body.skinning.blendshapes[:num_shapes].unflatten(1, (-1, 3)).permute(1, 2, 0)
        joint_shapes = body.skinning.joint_shapes.unflatten(1, (-1, 3)).permute(1, 2, 0)
        one_hot = torch.eye(num_kinematic, dtype=body.dtype)
        weights = torch.cat([one_hot, body.skinning.weights.T[vertex_ids]])
        return AnchorPoints(
            num_joints=num_kinematic + len(body.picked) + len(landmarks),
            anchor_of_vertex=torch.as_tensor(anchor_of_vertex),
            weights=weights,
            subtree=weights @ _descendants(body.skinning.parents).to(weights),
            shapes=torch.cat([joint_shapes, shapes[vertex_ids]]).contiguous(),
            vertex_ids=vertex_ids,
        )


class Curvature:
    """Approximate Hessians of an objective, one per frame."""

    def __init__(self, objective: Objective, num_anchors: int, tangential: float) -> None:
        self._objective = objective
        self._points = AnchorPoints.build(objective.body, num_anchors)
        self._tangential = tangential
        body = objective.body
        num_vertices = len(body.skinning.template)
        self._anchor_faces = faces_touching(body.faces, self._points.anchor_ids, num_vertices)

    def matrices(
        self,
        parameters: Float[Tensor, "frames 91"],
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
        evaluation: Evaluation,
    ) -> Float[Tensor, "frames 91 91"]:
        """Positive semidefinite approximations of the second derivative at an evaluation."""
        body, posed = self._objective.body, evaluation.posed
        turns = joint_turns(parameters, posed, body, self._objective.prior)
        jacobian = point_jacobian(self._points, posed, body, turns)
        joints = jacobian[:, : self._points.num_joints][:, list(PROX118_FROM_SMPLX)]
        hessian = self._of_keypoints(joints, posed, frames, stage)
        forces = self._anchor_matrices(evaluation, stage)
        anchors = jacobian[:, self._points.num_joints :]
        hessian += anchors.flatten(1, 2).transpose(1, 2) @ (forces @ anchors).flatten(1, 2)
        hessian += self._of_bending(posed, turns, stage)
        return hessian + torch.diag(self._of_priors(stage))

    def _of_keypoints(
        self,
        jacobian: Float[Tensor, "frames 118 3 91"],
        posed: PosedFrames,
        frames: Int[np.ndarray, " frames"],
        stage: StageWeights,
    ) -> Float[Tensor, "frames 91 91"]:
        data = self._objective.data
        rows = torch.as_tensor(frames)
        depth = posed.keypoints_camera[..., 2:]
        plane = posed.keypoints_camera[..., :2] / depth
        focal = data.K.diagonal()[:2]
        error = data.keypoints_px[rows] - (plane * focal + data.K[:2, 2])
        rho = self._objective.settings.data_rho_px
        joint_weight = self._objective.joint_weights(stage) * data.confidence[rows]
        weight = joint_weight.square()[..., None] * (rho**2 / (error.square() + rho**2)).square()
        pixels = (jacobian[:, :, :2] - plane[..., None] * jacobian[:, :, 2:]) * (focal / depth)[
            ..., None
        ]
        scaled = pixels * (2 * stage.factors()["data"] * weight).sqrt()[..., None]
        stacked = scaled.flatten(1, 2)  # (frames, 236, 91)
        return stacked.transpose(1, 2) @ stacked

    def _anchor_matrices(
        self, evaluation: Evaluation, stage: StageWeights
    ) -> Float[Tensor, "frames anchors 3 3"]:
        """Second derivative of the depth and scene terms with respect to each anchor's place."""
        settings, vertices = self._objective.settings, evaluation.posed.vertices_camera
        normals = vertex_normals(vertices, self._anchor_faces, area_weighted=True)
        normals = normals[:, self._points.anchor_ids]
        factors, pairs = stage.factors(), evaluation.pairs
        num_anchors = self._points.num_anchors
        total = vertices.new_zeros(len(vertices) * num_anchors, 9)
        for found, rho, factor in (
            (pairs.s2m, settings.scan_to_body_rho_m, factors["s2m"]),
            (pairs.m2s, settings.body_to_scan_rho_m, factors["m2s"]),
        ):
            curvature = 2 * factor * (rho**2 / (found.squared_distances(vertices) + rho**2)).square()
            self._gather(total, found, curvature, normals)
        if pairs.contact is not None:
            rho = settings.contact_rho_m
            vertices_world = transform_points(self._objective.scene.T_world_from_camera, vertices)
            squared = pairs.contact.squared_distances(vertices_world)
            curvature = 2 * factors["contact"] * rho**2 / (squared + rho**2).square()
            self._gather(total, pairs.contact, curvature, normals)
        if stage.penetration > 0:
            inside, curvature = self._penetrating(vertices, stage.penetration)
            self._gather(total, inside, curvature, normals)
        return total.unflatten(0, (len(vertices), num_anchors)).unflatten(-1, (3, 3))

    def _gather(
        self,
        total: Float[Tensor, "frames_anchors 9"],
        pairs: VertexPairs,
        curvature: Float[Tensor, " pairs"],
        normals: Float[Tensor, "frames anchors 3"],
    ) -> None:
        anchor = self._points.anchor_of_vertex[pairs.vertex]
        normal = normals[pairs.frame, anchor]
        along = normal[:, :, None] * normal[:, None]
        identity = torch.eye(3).to(normal)
        matrix = (1 - self._tangential) * along + self._tangential * identity
        row = pairs.frame * self._points.num_anchors + anchor
        total.index_add_(0, row, ((pairs.weight * curvature)[:, None, None] * matrix).flatten(1))

    def _penetrating(
        self, vertices_camera: Float[Tensor, "frames verts 3"], weight: float
    ) -> tuple[VertexPairs, Float[Tensor, " pairs"]]:
        scene = self._objective.scene
        depth = -scene.sdf.sample(transform_points(scene.T_world_from_camera, vertices_camera))
        frame, vertex = (depth > 0).nonzero(as_tuple=True)
        inside = depth[frame, vertex]
        pairs = VertexPairs(frame, vertex, vertices_camera[frame, vertex], torch.ones_like(inside))
        return pairs, weight / inside.clamp(min=_SHALLOW_M)

    def _of_bending(
        self, posed: PosedFrames, turns: Float[Tensor, "frames 55 3 91"], stage: StageWeights
    ) -> Float[Tensor, "frames 91 91"]:
        joints = list(BENDING_JOINTS)
        rotvec = rotmat_to_rotvec(posed.body_rotmats[:, joints])
        # Back from the camera frame to the parent's frame, then from turns to rotation vectors.
        parent = posed.rotation[:, [j + 1 for j in joints]] @ posed.body_rotmats[:, joints].mT
        local = parent.mT @ turns[:, [j + 1 for j in joints]]
        derivative = torch.linalg.solve(left_jacobian(rotvec), local)  # (frames, 4, 3, 91)
        axis, sign = torch.tensor([1, 1, 0, 0]), rotvec.new_tensor([1.0, -1.0, -1.0, -1.0])
        row = torch.arange(len(joints))
        angle = rotvec[:, row, axis] * sign
        cap = self._objective.settings.bending_exponent_cap
        slope = angle if cap is None else angle.clamp(max=cap)
        stacked = derivative[:, row, axis] * (slope.exp() * stage.factors()["bending"]).sqrt()[..., None]
        return stacked.transpose(1, 2) @ stacked

    def _of_priors(self, stage: StageWeights) -> Float[Tensor, "91"]:
        factors, body = stage.factors(), self._objective.body
        diagonal = torch.zeros(NUM_PARAMETERS, dtype=body.dtype)
        diagonal[COLUMNS["latent"]] = 2 * factors["body_pose"]
        diagonal[COLUMNS["betas"]] = 2 * factors["shape"]
        diagonal[COLUMNS["expression"]] = 2 * factors["expression"]
        for side, components in (
            ("left_hand", body.left_hand_components),
            ("right_hand", body.right_hand_components),
        ):
            # The PCA components are orthogonal, so only their lengths matter.
            diagonal[COLUMNS[f"{side}_pose"]] = 2 * factors[side] * components.square().sum(1)
        diagonal[COLUMNS["jaw_pose"]] = 2 * torch.tensor(stage.jaw_axes, dtype=body.dtype).square()
        return diagonal


def joint_turns(
    parameters: Float[Tensor, "frames 91"],
    posed: PosedFrames,
    body: SmplxBody,
    prior: PoseDecoder,
) -> Float[Tensor, "frames 55 3 91"]:
    """Small turn of every joint, in the camera frame, per unit of every parameter."""
    turns = parameters.new_zeros(len(parameters), len(body.skinning.parents), 3, NUM_PARAMETERS)
    latent = parameters[:, COLUMNS["latent"]]
    turns[:, BODY_JOINTS, :, COLUMNS["latent"]] = _latent_turns(latent, posed.body_rotmats, prior)
    for name, joints in _PERIPHERAL_JOINTS.items():
        values = parameters[:, COLUMNS[name]]
        if name.endswith("hand_pose"):
            side = name.removesuffix("_pose")
            components = getattr(body, f"{side}_components")
            rotvec = values @ components + getattr(body, f"{side}_mean")
            inner = components.T.unflatten(0, (-1, 3))  # (15, 3, 12)
        else:
            rotvec, inner = values, torch.eye(3).to(values)[None]
        jacobian = left_jacobian(rotvec.unflatten(1, (-1, 3)))
        turns[:, joints, :, COLUMNS[name]] = jacobian @ inner
    parents = torch.tensor(body.skinning.parents).clamp(min=0)
    to_camera = posed.rotation[:, parents]
    to_camera[:, 0] = torch.eye(3).to(parameters)
    return to_camera @ turns


def _latent_turns(
    latent: Float[Tensor, "frames 32"],
    body_rotmats: Float[Tensor, "frames 21 3 3"],
    prior: PoseDecoder,
) -> Float[Tensor, "frames 21 3 32"]:
    size = latent.shape[1]
    tiled = latent.repeat_interleave(size, dim=0)
    directions = torch.eye(size).to(latent).repeat(len(latent), 1)
    change: Tensor = torch.func.jvp(prior.decode, (tiled,), (directions,))[1]
    change = change.unflatten(0, (-1, size))  # (frames, 32, 21, 3, 3)
    turn = change @ body_rotmats[:, None].mT
    vectors = torch.stack([turn[..., 2, 1], turn[..., 0, 2], turn[..., 1, 0]], dim=-1)
    return vectors.permute(0, 2, 3, 1)


def point_jacobian(
    points: AnchorPoints,
    posed: PosedFrames,
    body: SmplxBody,
    turns: Float[Tensor, "frames 55 3 91"],
) -> Float[Tensor, "frames points 3 91"]:
    """Motion of every point per unit of every parameter; pose correctives left out."""
    vertices = posed.vertices_camera[:, points.vertex_ids]
    places = torch.cat([posed.places_camera, vertices], dim=1)
    moments = _cross(turns, posed.places_camera)
    num_frames, num_joints = turns.shape[:2]
    both = torch.cat([turns, moments], dim=2).reshape(num_frames, num_joints, -1)
    moved = (points.subtree @ both).unflatten(2, (6, NUM_PARAMETERS))
    jacobian = _cross(moved[:, :, :3], places).sub_(moved[:, :, 3:])
    shape = slice(COLUMNS["betas"].start, COLUMNS["expression"].stop)
    jacobian[..., shape] = _shape_jacobian(points, posed, body)
    jacobian[..., COLUMNS["transl"]] = torch.eye(3).to(jacobian)
    return jacobian


def _cross(
    columns: Float[Tensor, "frames points 3 91"], vectors: Float[Tensor, "frames points 3"]
) -> Float[Tensor, "frames points 3 91"]:
    # torch.linalg.cross is several times slower along an inner dimension.
    a, b, c = columns.unbind(2)
    x, y, z = vectors[..., None].unbind(2)
    return torch.stack([b * z - c * y, c * x - a * z, a * y - b * x], dim=2)


def _shape_jacobian(
    points: AnchorPoints, posed: PosedFrames, body: SmplxBody
) -> Float[Tensor, "frames points 3 20"]:
    num_joints = len(body.skinning.parents)
    rest, rotation = points.shapes[:num_joints], posed.rotation
    moved = [rest[0].expand(len(rotation), -1, -1)]
    for joint, parent in enumerate(body.skinning.parents[1:], start=1):
        moved.append(moved[parent] + rotation[:, parent] @ (rest[joint] - rest[parent]))
    offset = torch.stack(moved, dim=1) - rotation @ rest  # (frames, joints, 3, 20)
    blended = (points.weights @ rotation.flatten(2)).unflatten(2, (3, 3))
    return blended @ points.shapes + (points.weights @ offset.flatten(2)).unflatten(2, (3, -1))


def _farthest_points(points: Float[np.ndarray, "points 3"], count: int) -> Int[np.ndarray, " count"]:
    chosen = np.zeros(count, np.int64)
    distance = np.full(len(points), np.inf)
    for k in range(1, count):
        distance = np.minimum(distance, np.square(points - points[chosen[k - 1]]).sum(-1))
        chosen[k] = distance.argmax()
    return chosen


def _descendants(parents: tuple[int, ...]) -> Float[Tensor, "joints joints"]:
    """Entry [k, j] is 1 where joint k moves with joint j (its descendants and itself)."""
    moves = torch.eye(len(parents))
    for joint, parent in enumerate(parents):
        if parent >= 0:
            moves[joint] += moves[parent]
    return moves
