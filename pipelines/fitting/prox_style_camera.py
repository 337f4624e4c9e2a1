"""Where the body stands and how it is turned before anything else is known: PROX's camera stage."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.bodies.smplx_model import SmplxBody
from pipelines.fitting.prox_style_body import COLUMNS, NUM_PARAMETERS, PoseDecoder, pose_frames
from pipelines.fitting.prox_style_energies import TORSO_KEYPOINTS, camera_energy
from pipelines.fitting.prox_style_lbfgs import minimise_lbfgs
from pipelines.fitting.prox_style_objective import FrameData
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat

FACING = (math.pi, 0.0, 0.0)
"""Half turn about x: upright in an OpenCV camera frame and looking into the camera."""
BACK_TURNED = (0.0, 0.0, math.pi)
"""Half turn about z: upright and looking away."""
OFFICIAL_START = (0.0, 0.0, 0.0)
"""PROX starts head down, facing away."""
_LEAST_TORSO_POINTS = 3
_SHOULDERS = (2, 5)


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
    parameters[:, COLUMNS["global_orient"]] = parameters.new_tensor(start)
    parameters[:, COLUMNS["transl"]] = data.initial_transl
    seen = torso_points(data)
    # The mean body is rigid: pose it once, then only turn and move its keypoints.
    at_rest = pose_frames(parameters.new_zeros(1, NUM_PARAMETERS), body, prior)
    pelvis, keypoints = at_rest.places_camera[0, 0], at_rest.keypoints_camera[0]
    for frame in torch.nonzero(seen.sum(dim=1))[:, 0].tolist():
        parameters[frame] = _fit_rigid(
            parameters[frame], keypoints - pelvis, pelvis, data, seen, frame, depth_weight
        )
    return parameters


def _fit_rigid(
    parameters: Float[Tensor, "91"],
    keypoints_from_pelvis: Float[Tensor, "118 3"],
    pelvis: Float[Tensor, "3"],
    data: FrameData,
    seen: Float[Tensor, "frames 118"],
    frame: int,
    depth_weight: float,
) -> Float[Tensor, "91"]:
    row = slice(frame, frame + 1)

    def evaluate(point: Float[Tensor, " numbers"]) -> tuple[float, Float[Tensor, " numbers"]]:
        leaf = point.detach().requires_grad_()
        orient, transl = leaf[None, :3], leaf[None, 3:]
        turned = keypoints_from_pelvis @ rotvec_to_rotmat(orient).mT + pelvis + transl[:, None]
        energy = camera_energy(
            turned,
            data.keypoints_px[row],
            seen[row],
            transl,
            data.initial_transl[row],
            data.K,
            depth_weight,
        )
        (gradient,) = torch.autograd.grad(energy.sum(), leaf)
        return energy.item(), gradient

    orient, transl = COLUMNS["global_orient"], COLUMNS["transl"]
    best = minimise_lbfgs(torch.cat([parameters[orient], parameters[transl]]), evaluate)
    result = parameters.clone()
    result[orient], result[transl] = best[:3], best[3:]
    return result
