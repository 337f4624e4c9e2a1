"""Where the body stands and how it is turned before anything else is known: PROX's camera stage."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.bodies.smplx_model import SmplxBody
from pipelines.fitting.prox_style.body import COLUMNS, NUM_PARAMETERS, PoseDecoder, pose_frames
from pipelines.fitting.prox_style.energies import TORSO_KEYPOINTS, camera_residuals
from pipelines.fitting.prox_style.objective import FrameData
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat

OFFICIAL_START = (0.0, 0.0, 0.0)
"""PROX starts head down, facing away."""
_LEAST_TORSO_POINTS = 3
_SHOULDERS = (2, 5)
_MOST_STEPS = 60
_MOST_DAMPING = 1e6
_LEAST_CURVATURE = 1e-3
_SETTLED = 1e-5


def torso_points(data: FrameData) -> Float[Tensor, "frames 118"]:
    """1 for keypoints that were detected, in frames with enough of the torso, else 0.

    Differs from PROX: a torso keypoint that was not detected is left out, and with fewer than three
    the orientation stays at its start and the translation at the mean of the depth points.
    """
    seen = (data.confidence > 0).to(data.confidence)
    enough = seen[:, list(TORSO_KEYPOINTS)].sum(1) >= _LEAST_TORSO_POINTS
    return seen * enough[:, None]


def shoulders_close(data: FrameData, two_sided_px: float) -> Bool[Tensor, " frames"]:
    """True where both shoulders were seen closer together than the limit: a side view."""
    left, right = (data.keypoints_px[:, k] for k in _SHOULDERS)
    seen = (data.confidence[:, list(_SHOULDERS)] > 0).all(dim=1)
    return seen & ((left - right).norm(dim=-1) < two_sided_px)


def upright(turn: float) -> tuple[float, float, float]:
    """Rotation vector of a body that is upright in an OpenCV camera frame.

    Args:
        turn: about the body's own axis, in whole turns: 0 looks into the camera, 0.5 looks away.
    """
    half = math.pi * turn
    return (math.pi * math.cos(half), 0.0, math.pi * math.sin(half))


def turned_about_body_axis(
    global_orient: Float[Tensor, "frames 3"],
) -> Float[Tensor, "frames 3"]:
    """The same body turned by half a turn about its own y axis."""
    half_turn = torch.diag(global_orient.new_tensor([-1.0, 1.0, -1.0]))
    return rotmat_to_rotvec(rotvec_to_rotmat(global_orient) @ half_turn)


def camera_stage(
    data: FrameData,
    start: tuple[float, float, float],
    body: SmplxBody,
    prior: PoseDecoder,
    depth_weight: float,
) -> Float[Tensor, "frames 91"]:
    """Orientation and translation of the mean body from hips and shoulders; the rest stays zero."""
    parameters = data.initial_transl.new_zeros(len(data), NUM_PARAMETERS)
    orient, transl = COLUMNS["global_orient"], COLUMNS["transl"]
    parameters[:, orient] = parameters.new_tensor(start)
    parameters[:, transl] = data.initial_transl
    seen = torso_points(data)
    # The mean body is rigid: pose it once, then only turn and move its keypoints.
    at_rest = pose_frames(parameters.new_zeros(1, NUM_PARAMETERS), body, prior)
    pelvis, keypoints = at_rest.places_camera[0, 0], at_rest.keypoints_camera[0]

    def residuals(point: Float[Tensor, "frames 6"]) -> Float[Tensor, "frames 9"]:
        turned = (keypoints - pelvis) @ rotvec_to_rotmat(point[:, :3]).mT + pelvis
        return camera_residuals(
            turned + point[:, None, 3:],
            data.keypoints_px,
            seen,
            point[:, 3:],
            data.initial_transl,
            data.K,
            depth_weight,
        )

    best = _least_squares(torch.cat([parameters[:, orient], parameters[:, transl]], dim=1), residuals)
    enough = seen.any(dim=1)
    parameters[enough, orient] = best[enough, :3]
    parameters[enough, transl] = best[enough, 3:]
    return parameters


def _least_squares(
    start: Float[Tensor, "frames 6"],
    residuals: Callable[[Float[Tensor, "frames 6"]], Float[Tensor, "frames 9"]],
) -> Float[Tensor, "frames 6"]:
    """Levenberg-Marquardt, every frame with its own damping, until no frame's energy falls."""
    point, damping = start.detach(), start.new_full((len(start),), 1e-2)
    identity = torch.eye(start.shape[1], dtype=start.dtype)
    for _ in range(_MOST_STEPS):
        leaf = point.requires_grad_()
        value = residuals(leaf)
        rows = [torch.autograd.grad(r.sum(), leaf, retain_graph=True)[0] for r in value.unbind(1)]
        jacobian, value, point = torch.stack(rows, dim=1), value.detach(), point.detach()
        matrix = jacobian.mT @ jacobian
        scale = matrix.diagonal(dim1=1, dim2=2) + _LEAST_CURVATURE
        damped = matrix + (damping[:, None] * scale)[..., None] * identity
        step = -torch.linalg.solve(damped, (jacobian.mT @ value[..., None]))[..., 0]
        energy = value.square().sum(1)
        found = residuals(point + step).square().sum(1)
        better = found < energy
        point = torch.where(better[:, None], point + step, point)
        settled = torch.where(better, energy - found <= _SETTLED * energy, damping > _MOST_DAMPING)
        if bool(settled.all()):
            break
        damping = torch.where(better, damping * 0.3, damping * 5).clamp(min=1e-6)
    return point
