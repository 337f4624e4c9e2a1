"""Second derivatives of what is measured in the camera frame: depth points, keypoints, scene, overlaps.

Gauss-Newton with the robust functions replaced by their quadratic bounds, per frame, over the columns of
`jacobians.py` (translation 3, turns 66, betas). Only the solver's steps depend on it, never an energy.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.joints import BODY25_FROM_SMPLH, HUMOR_KEY_VERTICES, PICKED_SMPLH
from pipelines.fitting.energies import JOINTS2D_SIGMA_PX, LIFTED_SIGMA_M
from pipelines.fitting.jacobians import BodyResponse
from pipelines.fitting.objective import Evaluation, StageObjective
from pipelines.fitting.scene_energies import CONTACT_RHO_M
from pipelines.fitting.window_data import WindowData

SAMPLED_POINTS = 256
SAMPLED_INSIDE = 128
TANGENTIAL_SHARE = 0.15
"""Curvature along the surface against that across it: a point slides along the body at little cost, for
another vertex then becomes its nearest."""
SHALLOWEST_M = 0.01
"""Depths below this share one curvature (|s| has none of its own)."""
OVERLAP_SAFETY = 2.0
"""Neighbouring windows are stepped side by side; twice the curvature keeps them from swapping places."""

Hessian = Float[Tensor, "rows columns columns"]


def body_response(objective: StageObjective, evaluation: Evaluation) -> BodyResponse:
    """Response of the evaluated bodies, rows = windows times frames, camera frame."""
    prediction = evaluation.prediction
    num_frames = prediction.transl.shape[1]
    rotmats = torch.cat([prediction.root_rotmats[:, :, None], prediction.body_rotmats], dim=2)
    return BodyResponse.of(
        objective.models.body,
        prediction.betas.detach().repeat_interleave(num_frames, dim=0),
        rotmats.detach().flatten(0, 1),
        prediction.transl.detach().flatten(0, 1),
    )


def data_curvature(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    """Sum of the active data terms' curvatures for each row."""
    columns = response.places_by_beta.shape[-1] + 69
    rows = len(response.places)
    total = response.places.new_zeros(rows, columns, columns)
    makers = {
        "points3d": _points,
        "joints2d": _keypoints,
        "lifted_joints3d": _lifted,
        "rgb_overlap_consist": _overlap,
        "prox_penetration": _penetration,
        "prox_contact": _contact,
    }
    for term, make in makers.items():
        if objective.weight(term) > 0:
            total += objective.weight(term) * make(objective, evaluation, response)
    return total


def _points(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    inputs = evaluation.inputs
    assert inputs.points is not None
    assert inputs.point_weights is not None
    vertices = _vertices(evaluation)
    count = inputs.points.indices.shape[2]
    every = max(1, count // SAMPLED_POINTS)
    ids = inputs.points.indices.flatten(0, 1)[:, ::every]
    weights = inputs.point_weights.reshape(-1, count)[:, ::every]
    jacobian = response.vertices(ids, _pick(vertices, ids))
    return every * _across_and_along(jacobian, response.normals(ids), weights, TANGENTIAL_SHARE)


def _keypoints(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    """Energy c^2 rho(e) has the bound 2 c^2 rho'(e^2) J^T J, the pinhole's derivative inside J."""
    data = objective.data
    places, jacobian = _keypoint_joints(evaluation, response)
    focal = data.K.diagonal()[:2]
    ray = places[..., :2] / places[..., 2:]
    pixels = (jacobian[..., :2, :] - ray[..., None] * jacobian[..., 2:, :]) / places[..., 2:, None]
    pixels = pixels * focal[:, None]
    error = ray * focal + data.K[:2, 2] - data.keypoints_px.flatten(0, 1)
    slope = (JOINTS2D_SIGMA_PX**2 / (JOINTS2D_SIGMA_PX**2 + error.square())).square()
    weights = 2 * data.confidence.flatten(0, 1).square()[..., None] * slope
    return _gram(pixels.flatten(1, 2), weights.flatten(1))


def _lifted(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    """The bound of the keypoints, with distances in space."""
    data = objective.data
    places, jacobian = _keypoint_joints(evaluation, response)
    squared = (places - data.lifted_camera.flatten(0, 1)).square().sum(-1)
    slope = (LIFTED_SIGMA_M**2 / (LIFTED_SIGMA_M**2 + squared)).square()
    weights = 2 * data.lifted_weights.flatten(0, 1).square() * slope
    return _gram(jacobian.flatten(1, 2), weights.repeat_interleave(3, dim=1))


def _keypoint_joints(
    evaluation: Evaluation, response: BodyResponse
) -> tuple[Float[Tensor, "rows 25 3"], Float[Tensor, "rows 25 3 columns"]]:
    """Body joints of the 25 keypoints and their Jacobian."""
    joints = evaluation.prediction.joints.detach().flatten(0, 1)
    picked = torch.tensor(PICKED_SMPLH)
    vertices = response.vertices(picked.expand(len(joints), -1), joints[:, 52:73])
    fingers = response.joints()[:, [20]].expand(-1, 30, -1, -1)  # never asked for
    every_joint = torch.cat([response.joints(), fingers, vertices], dim=1)
    index = list(BODY25_FROM_SMPLH)
    return joints[:, index], every_joint[:, index]


def _overlap(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    data = objective.data
    keys = torch.tensor(HUMOR_KEY_VERTICES)
    total = response.places.new_zeros(
        len(response.places),
        69 + response.places_by_beta.shape[-1],
        69 + response.places_by_beta.shape[-1],
    )
    shared = overlap_curvature(data)
    rows = shared.flatten().nonzero()[:, 0]
    if len(rows) == 0:
        return total
    jacobian = response.vertices(keys.expand(len(response.places), -1), _vertices(evaluation)[:, keys])[
        rows
    ]
    weights = shared.flatten()[rows, None].expand(-1, jacobian.shape[1] * 3)
    total[rows] = _gram(jacobian.flatten(1, 2), weights)
    return total


def overlap_curvature(data: WindowData) -> Float[Tensor, "windows frames"]:
    """Curvature of the overlap energy per frame and key coordinate (differences left out)."""
    if data.neighbours is not None:
        return data.neighbours.shared.sum(1)
    shared = torch.zeros_like(data.frames_used)
    for window, overlap in enumerate(data.overlaps.tolist()):
        if overlap:
            end = int(data.lengths[window - 1])
            shared[window, :overlap] += OVERLAP_SAFETY
            shared[window - 1, end - overlap : end] += OVERLAP_SAFETY
    return shared


def overlap_sides(data: WindowData) -> Float[Tensor, " windows"]:
    """Curvature of the overlap energy by a window's betas and by its floor."""
    if data.neighbours is not None:
        return data.neighbours.present.sum(1)
    return OVERLAP_SAFETY * (data.overlaps > 0).to(data.frames_used.dtype)


def _penetration(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    """|s| is bounded by a parabola of curvature 1/|s| along the distance's gradient."""
    scene, world = objective.scene, evaluation.inputs.vertices_world
    assert scene is not None
    assert world is not None
    with torch.enable_grad():
        points = world.detach().flatten(0, 1).requires_grad_(True)
        distance = scene.sdf.sample(points)
        (slope,) = torch.autograd.grad(distance.sum(), points)
    depth = (-distance.detach()).clamp_min(0.0)
    deepest = depth.topk(min(SAMPLED_INSIDE, depth.shape[1]), dim=1)
    ids = deepest.indices
    share = depth.sum(1) / deepest.values.sum(1).clamp_min(1e-9)
    used = objective.data.frames_used.flatten()
    weights = (deepest.values > 0) / deepest.values.clamp_min(SHALLOWEST_M) * (share * used)[:, None]
    vertices = _vertices(evaluation)
    slope_camera = slope @ scene.R_world_from_camera
    jacobian = response.vertices(ids, _pick(vertices, ids))
    return _across_and_along(jacobian, _pick(slope_camera, ids), weights, 0.0)


def _contact(objective: StageObjective, evaluation: Evaluation, response: BodyResponse) -> Hessian:
    scene, inputs = objective.scene, evaluation.inputs
    assert scene is not None
    assert inputs.scene_match is not None
    assert inputs.vertices_world is not None
    match = inputs.scene_match
    gap = inputs.vertices_world.detach()[:, :, scene.contact_ids] - match.nearest_world
    squared = gap.square().sum(-1)
    slope = 2 * CONTACT_RHO_M**2 / (squared + CONTACT_RHO_M**2).square()
    count = match.kept.sum(-1, keepdim=True).clamp_min(1)
    weights = slope * match.kept / count * objective.data.frames_used[..., None]
    every = max(1, weights.shape[2] // SAMPLED_POINTS)
    weights = every * weights.flatten(0, 1)[:, ::every]
    ids = scene.contact_ids[::every].expand(len(weights), -1)
    jacobian = response.vertices(ids, _pick(_vertices(evaluation), ids))
    normals = scene.normals_world[match.nearest_indices].flatten(0, 1)[:, ::every]
    return _across_and_along(jacobian, normals @ scene.R_world_from_camera, weights, TANGENTIAL_SHARE)


def _across_and_along(
    jacobian: Float[Tensor, "rows chosen 3 columns"],
    normals: Float[Tensor, "rows chosen 3"],
    weights: Float[Tensor, "rows chosen"],
    tangential: float,
) -> Hessian:
    """J^T (n n^T + tangential (1 - n n^T)) J, weighted."""
    across = (normals[..., None, :] @ jacobian)[..., 0, :]
    total = (1 - tangential) * _gram(across, weights)
    if tangential > 0:
        both = weights.repeat_interleave(3, dim=1)
        total = total + tangential * _gram(jacobian.flatten(1, 2), both)
    return total


def _gram(
    jacobian: Float[Tensor, "rows residuals columns"], weights: Float[Tensor, "rows residuals"]
) -> Hessian:
    return (jacobian * weights[..., None]).mT @ jacobian


def _vertices(evaluation: Evaluation) -> Float[Tensor, "rows verts 3"]:
    vertices = evaluation.prediction.vertices
    assert vertices is not None
    return vertices.detach().flatten(0, 1)


def _pick(
    vectors: Float[Tensor, "rows verts 3"], ids: Int[Tensor, "rows chosen"]
) -> Float[Tensor, "rows chosen 3"]:
    return vectors.gather(1, ids[..., None].expand(-1, -1, 3))
