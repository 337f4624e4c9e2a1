"""Where stage 1 starts: translation and orientation of every frame.

HuMoR starts every frame at the mean of its depth points, upright and facing the camera. That is far from
a person who faces away, turns, or lies. Here the torso's keypoints and the depth at them are fitted by a
rigid torso from many headings at once, and the cheapest smooth path through the candidates is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.joints import BODY25_FROM_SMPLH, BODY25_NAMES
from pipelines.fitting.lifting import depth_at_keypoints
from pipelines.fitting.prediction import FitModels
from pipelines.fitting.window_data import WindowData
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.motion_prior.pose_prior import POSE_LATENT_SIZE

_TORSO = ("neck", "right_shoulder", "left_shoulder", "mid_hip", "right_hip", "left_hip")
_HEAD = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
_HEAD_WEIGHT = 0.3
"""The head turns against the torso."""
_SIGMA_PX = 40.0
_SIGMA_DEPTH_M = 0.15
_BELOW_SURFACE_M = 0.10
"""Joints lie this far behind the skin that the depth camera sees."""
_ITERATIONS = 12
_TURN_COST = 4.0
"""Price of a turn of one radian between consecutive frames, in units of a robust residual."""
_NO_DATA_DEPTH_M = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class TorsoEvidence:
    """What the keypoints of torso and head say, rows = frames."""

    keypoints_px: Float[Tensor, "rows parts 2"]
    weights: Float[Tensor, "rows parts"]
    """Confidence, lowered for the head; 0 = not seen."""
    depth_m: Float[Tensor, "rows parts"]
    """Depth of the joint guessed from the surface at the keypoint."""
    depth_weights: Float[Tensor, "rows parts"]
    centre: Float[Tensor, "rows 3"]
    """Mean depth point, or a place on the ray through the keypoints."""


def start_variables(
    models: FitModels,
    data: WindowData,
    method: str,
) -> dict[str, Tensor]:
    """Stage 1's variables: `official` (upright, facing the camera) or `torso`.

    Args:
        models: body and priors.
        data: observations of all windows.
        method: which start.
    """
    windows, frames = data.frames_used.shape
    start = {
        "latent_pose": data.K.new_zeros(windows, frames, POSE_LATENT_SIZE),
        "betas": data.K.new_zeros(windows, models.body.num_betas),
    }
    evidence = _gather(data)
    if method == "official":
        facing = torch.tensor([math.pi, 0.0, 0.0]).to(data.K)
        return {
            "trans": evidence.centre.unflatten(0, (windows, frames)),
            "root_orient": facing.expand(windows, frames, 3).clone(),
            **start,
        }
    with torch.no_grad():
        rotation, pelvis = _torso_path(models, data, evidence)
    rest_pelvis = models.body.rest_pelvis(start["betas"])[:, None]
    return {
        "trans": pelvis.unflatten(0, (windows, frames)) - rest_pelvis,
        "root_orient": rotmat_to_rotvec(rotation).unflatten(0, (windows, frames)),
        **start,
    }


def _gather(data: WindowData) -> TorsoEvidence:
    parts = [BODY25_NAMES.index(name) for name in (*_TORSO, *_HEAD)]
    keypoints = data.keypoints_px[:, :, parts].flatten(0, 1)
    scale = torch.tensor([1.0] * len(_TORSO) + [_HEAD_WEIGHT] * len(_HEAD)).to(keypoints)
    weights = data.all_confidence[:, :, parts].flatten(0, 1) * scale
    points = data.points_camera.flatten(0, 1)
    has_points = data.has_points.flatten()
    depth, near = depth_at_keypoints(keypoints, points[:, ::2], data.K)
    depth_weights = weights * near * has_points[:, None]
    return TorsoEvidence(
        keypoints, weights, depth + _BELOW_SURFACE_M, depth_weights, _centres(data, keypoints, weights)
    )


def _centres(
    data: WindowData, keypoints: Float[Tensor, "rows parts 2"], weights: Float[Tensor, "rows parts"]
) -> Float[Tensor, "rows 3"]:
    """Mean point; without points the ray through the keypoints' mean at a neighbour's depth."""
    windows, frames = data.frames_used.shape
    centre = data.points_camera.mean(2)
    has_points = data.has_points > 0
    total = weights.sum(1).unflatten(0, (windows, frames))
    pixel = (keypoints * weights[..., None]).sum(1).unflatten(0, (windows, frames))
    pixel = pixel / total.clamp_min(1e-6)[..., None]
    ray = torch.cat(
        [(pixel - data.K[:2, 2]) / data.K.diagonal()[:2], torch.ones_like(pixel[..., :1])], dim=-1
    )
    result = centre.clone()
    for window in range(windows):
        depth = _filled(centre[window, :, 2], has_points[window], _NO_DATA_DEPTH_M)
        known = has_points[window] | (total[window] > 0)
        guess = torch.where(has_points[window, :, None], centre[window], ray[window] * depth[:, None])
        if not known.any():
            guess = torch.tensor([0.0, 0.0, _NO_DATA_DEPTH_M]).to(guess).expand(frames, 3)
            known = torch.ones_like(known)
        for axis in range(3):
            result[window, :, axis] = _filled(guess[:, axis], known, _NO_DATA_DEPTH_M)
    return result.flatten(0, 1)


def _filled(values: Float[Tensor, " frames"], known: Tensor, default: float) -> Tensor:
    """Interpolate over frames where a value is not known."""
    if not known.any():
        return torch.full_like(values, default)
    frames = np.arange(len(values))
    at = known.numpy()
    filled = np.interp(frames, frames[at], values.numpy()[at])
    return torch.as_tensor(filled, dtype=values.dtype)


def _torso_path(
    models: FitModels, data: WindowData, evidence: TorsoEvidence
) -> tuple[Float[Tensor, "rows 3 3"], Float[Tensor, "rows 3"]]:
    """Fit every frame from every candidate; choose one candidate per frame, smoothly."""
    windows, frames = data.frames_used.shape
    template = _template(models)
    candidates = _candidates(data)
    options = candidates.shape[1]
    starts = candidates[:, None].expand(windows, frames, options, 3, 3).reshape(-1, 3, 3).contiguous()
    repeated = TorsoEvidence(
        *(getattr(evidence, name).repeat_interleave(options, 0) for name in evidence.__slots__)
    )
    rotation, pelvis, cost = _fit_rigid(template, data.K, repeated, starts)
    rotation = rotation.unflatten(0, (windows, frames, options))
    pelvis = pelvis.unflatten(0, (windows, frames, options))
    cost = cost.unflatten(0, (windows, frames, options))
    choice = torch.stack([_cheapest_path(cost[w], rotation[w]) for w in range(windows)])
    index = choice[..., None]
    chosen_rotation = rotation.gather(2, index[..., None, None].expand(-1, -1, 1, 3, 3))[:, :, 0]
    chosen_pelvis = pelvis.gather(2, index[..., None].expand(-1, -1, 1, 3))[:, :, 0]
    return chosen_rotation.flatten(0, 1), chosen_pelvis.flatten(0, 1)


def _template(models: FitModels) -> Float[Tensor, "parts 3"]:
    """Torso and head of the mean body in rest pose, relative to the pelvis."""
    body = models.body
    zero = torch.zeros(1, body.num_betas, dtype=body.dtype)
    rest = body(
        zero, torch.zeros(1, 3).to(zero), torch.zeros(1, 63).to(zero), torch.zeros(1, 3).to(zero)
    )
    parts = [BODY25_FROM_SMPLH[BODY25_NAMES.index(name)] for name in (*_TORSO, *_HEAD)]
    return rest.joints[0, parts] - rest.joints[0, 0]


def _candidates(data: WindowData) -> Float[Tensor, "windows options 3 3"]:
    """Headings of a standing body, and of one lying on its back, front and sides."""
    up = torch.nn.functional.normalize(data.floor_camera, dim=-1)
    up = torch.where(up[:, 1:2] > 0, -up, up)
    ahead = torch.tensor([0.0, 0.0, 1.0]).to(up) - up[:, 2:] * up
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    side = torch.linalg.cross(up, ahead, dim=-1)
    standing = torch.stack([side, up, ahead], dim=-1)  # body x, y (up), z (front) in the camera
    options = []
    for tilt, axis in (
        (0.0, 0),
        (-math.pi / 2, 0),
        (math.pi / 2, 0),
        (math.pi / 2, 2),
        (-math.pi / 2, 2),
    ):
        count = 8 if tilt == 0 else 4
        for turn in range(count):
            yaw = torch.tensor([0.0, 2 * math.pi * turn / count, 0.0]).to(up)
            lean = torch.zeros(3).to(up)
            lean[axis] = tilt
            options.append(standing @ rotvec_to_rotmat(yaw) @ rotvec_to_rotmat(lean))
    return torch.stack(options, dim=1)


def _fit_rigid(
    template: Float[Tensor, "parts 3"],
    K: Float[Tensor, "3 3"],
    evidence: TorsoEvidence,
    rotation: Float[Tensor, "rows 3 3"],
) -> tuple[Float[Tensor, "rows 3 3"], Float[Tensor, "rows 3"], Float[Tensor, " rows"]]:
    """Gauss-Newton on six numbers per row with Geman-McClure weights in pixels and depth."""
    pelvis = evidence.centre.clone()
    focal = K.diagonal()[:2]
    for _ in range(_ITERATIONS):
        arm = template @ rotation.mT
        place = arm + pelvis[:, None]
        depth = place[..., 2:].clamp_min(0.3)
        ray = place[..., :2] / depth
        error = (ray * focal + K[:2, 2] - evidence.keypoints_px) / _SIGMA_PX
        gap = (place[..., 2] - evidence.depth_m) / _SIGMA_DEPTH_M
        turns = -_cross(arm)
        moves = torch.cat([turns, torch.eye(3).to(arm).expand_as(turns)], dim=-1)
        pixel_rows = (moves[..., :2, :] - ray[..., None] * moves[..., 2:, :]) / depth[..., None]
        pixel_rows = pixel_rows * (focal / _SIGMA_PX)[:, None]
        weights = evidence.weights / (1 + error.square().sum(-1)).square()
        depth_weights = evidence.depth_weights / (1 + gap.square()).square()
        rows = torch.cat([pixel_rows.flatten(1, 2), moves[..., 2, :] / _SIGMA_DEPTH_M], dim=1)
        both = torch.cat([weights.repeat_interleave(2, dim=1), depth_weights], dim=1)
        residual = torch.cat([error.flatten(1), gap], dim=1)
        # a weak pull to the centre of the points, and on turns, keeps empty frames solvable
        offset = pelvis - evidence.centre
        hessian = (rows * both[..., None]).mT @ rows
        pull = torch.tensor([0.1, 0.1, 0.1, 1.0, 1.0, 1.0]).to(hessian)
        hessian = hessian + torch.diag(pull)
        slope = (rows.mT @ (both * residual)[..., None])[..., 0]
        slope = slope + torch.cat([torch.zeros_like(offset), offset], dim=1)
        step = -torch.linalg.solve(hessian, slope)
        rotation = rotvec_to_rotmat(step[:, :3].clamp(-1, 1)) @ rotation
        pelvis = pelvis + step[:, 3:].clamp(-0.5, 0.5)
    squared = error.square().sum(-1)
    cost = (evidence.weights * squared / (1 + squared)).sum(1)
    cost = cost + (evidence.depth_weights * gap.square() / (1 + gap.square())).sum(1)
    return rotation, pelvis, cost


def _cheapest_path(
    cost: Float[Tensor, "frames options"], rotation: Float[Tensor, "frames options 3 3"]
) -> Int[Tensor, " frames"]:
    """Viterbi: cost of the frames plus turns between them (capped, for a swap may be real)."""
    frames = len(cost)
    best, back = cost[0], []
    for frame in range(1, frames):
        cosine = torch.einsum("iab,jab->ij", rotation[frame - 1], rotation[frame])
        angle = ((cosine - 1) / 2).clamp(-1, 1).acos()
        arriving = best[:, None] + _TURN_COST * angle.square().clamp(max=1.0)
        best, origin = arriving.min(dim=0)
        best = best + cost[frame]
        back.append(origin)
    path = [best.argmin()]
    for origin in reversed(back):
        path.append(origin[path[-1]])
    return torch.stack(path[::-1])


def _cross(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
