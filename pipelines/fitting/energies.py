"""HuMoR's energies, each a pure function of what it needs, raw (unweighted), one value per window.

Every term is a sum over its window's frames, joints and coordinates, never a mean: changing that would
change every weight. Arguments named `frames_used` are 1 for frames that count and 0 for padding or for
frames without an observation. Metres, pixels, radians; frames of reference are in the argument names.
Source: humor `fitting/fitting_loss.py`; formulas of the fitting page, section 8.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.joints import HUMOR_PARENTS
from pipelines.geometry.robust import geman_mcclure

JOINTS2D_SIGMA_PX = 100.0
LIFTED_SIGMA_M = 0.2
CONTACT_HEIGHT_M = 0.08
"""A joint in contact may be this high above the floor for nothing."""

PerWindow = Float[Tensor, " windows"]


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)


def points3d(
    squared_distances: Float[Tensor, "windows residuals"],
    robust_weights: Float[Tensor, "windows residuals"],
) -> PerWindow:
    """Half the weighted squared distances from each observed point to its nearest vertex (m^2).

    The weights (bisquare) are constants of the gradient. Squares are taken from the coordinates, so the
    gradient exists at distance 0 (Differs from HuMoR: it squares a root, NaN there).
    """
    return 0.5 * _sum(robust_weights * squared_distances)


def joints2d(
    projected_px: Float[Tensor, "windows frames keypoints 2"],
    keypoints_px: Float[Tensor, "windows frames keypoints 2"],
    confidence: Float[Tensor, "windows frames keypoints"],
) -> PerWindow:
    """Squared confidence times Geman-McClure (100 px) of each pixel coordinate on its own (px^2).

    Keypoints that must not count (neck, hips, padding) carry confidence 0.
    """
    counts = confidence > 0
    error = torch.where(counts[..., None], projected_px - keypoints_px, 0.0)
    robust = geman_mcclure(error.square(), JOINTS2D_SIGMA_PX)
    return _sum(confidence.square()[..., None] * robust)


def lifted_joints3d(
    joints_camera: Float[Tensor, "windows frames keypoints 3"],
    lifted_camera: Float[Tensor, "windows frames keypoints 3"],
    weights: Float[Tensor, "windows frames keypoints"],
) -> PerWindow:
    """Squared weight times Geman-McClure (20 cm) of the distance to the lifted keypoint (m^2).

    Differs from HuMoR, which has no such term for RGB-D: only a stage that starts others uses it.
    """
    error = torch.where(weights[..., None] > 0, joints_camera - lifted_camera, 0.0)
    return _sum(weights.square() * geman_mcclure(error.square().sum(-1), LIFTED_SIGMA_M))


def pose_prior(
    latent_pose: Float[Tensor, "windows frames latent"], frames_used: Float[Tensor, "windows frames"]
) -> PerWindow:
    """Squared norm of VPoser's latent pose (no half)."""
    return _sum(latent_pose.square() * frames_used[..., None])


def shape_prior(
    betas: Float[Tensor, "windows betas"], num_frames: Float[Tensor, " windows"]
) -> PerWindow:
    """Frames in use times the squared norm of the window's betas."""
    return num_frames * betas.square().sum(-1)


def joints3d_smooth(
    joints_camera: Float[Tensor, "windows frames joints 3"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Half the squared displacements of the joints between consecutive frames (m^2)."""
    both = frames_used[:, 1:] * frames_used[:, :-1]
    return 0.5 * _sum(joints_camera.diff(dim=1).square() * both[..., None, None])


def motion_prior(
    latent_motion: Float[Tensor, "windows steps latent"],
    prior_mean: Float[Tensor, "windows steps latent"],
    prior_var: Float[Tensor, "windows steps latent"],
    steps_used: Float[Tensor, "windows steps"],
) -> PerWindow:
    """Negative log likelihood of the latent motion under the conditional prior, constants kept."""
    deviation = (latent_motion - prior_mean).square() / prior_var
    nll = 0.5 * (deviation + prior_var.log() + math.log(2 * math.pi))
    return _sum(nll * steps_used[..., None])


def standard_motion_prior(latent_motion: Float[Tensor, "windows steps latent"]) -> PerWindow:
    """Squared norm of the latent motion: HuMoR's form when the prior is a standard normal."""
    return _sum(latent_motion.square())


def joint_consistency(
    joints_smpl: Float[Tensor, "windows frames joints 3"],
    joints_rollout: Float[Tensor, "windows frames joints 3"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Half the squared distances between the body's joints and the rolled-out joints (m^2)."""
    return 0.5 * _sum((joints_smpl - joints_rollout).square() * frames_used[..., None, None])


def follow_turns(
    rotmats: Float[Tensor, "windows frames joints 3 3"],
    reference: Float[Tensor, "windows frames joints 3 3"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Half the squared entries by which joint rotations differ from those of a motion found before."""
    apart = (rotmats - reference).square().sum((-2, -1))
    return 0.5 * _sum(apart * frames_used[..., None])


def bone_length(
    joints_rollout: Float[Tensor, "windows frames joints 3"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Half the squared changes of bone length between consecutive rolled-out frames (m^2)."""
    parents = list(HUMOR_PARENTS[1:])
    bones = joints_rollout[:, :, 1:] - joints_rollout[:, :, parents]
    lengths = torch.linalg.vector_norm(bones, dim=-1)
    both = frames_used[:, 1:] * frames_used[:, :-1]
    return 0.5 * _sum(lengths.diff(dim=1).square() * both[..., None])


def contact_vel(
    joints_smpl: Float[Tensor, "windows frames joints 3"],
    contact: Float[Tensor, "windows frames joints"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Half the squared displacement of each joint since the last frame times its contact probability."""
    moved = joints_smpl.diff(dim=1).square().sum(-1)
    return 0.5 * _sum(contact[:, 1:] * moved * frames_used[:, 1:, None])


def contact_height(
    joints_prior: Float[Tensor, "windows frames joints 3"],
    contact: Float[Tensor, "windows frames joints"],
    frames_used: Float[Tensor, "windows frames"],
) -> PerWindow:
    """Height above 8 cm over the floor (z = 0) of each joint times its contact probability (m).

    Differs from HuMoR's wording (|z| - 0.08): the absolute value is kept, so joints sunk below the floor
    by more than 8 cm pay too.
    """
    excess = (joints_prior[..., 2].abs() - CONTACT_HEIGHT_M).clamp_min(0.0)
    return _sum(contact * excess * frames_used[..., None])


def floor_reg(
    floor_camera: Float[Tensor, "windows 3"],
    observed_floor_camera: Float[Tensor, "windows 3"],
    num_frames: Float[Tensor, " windows"],
) -> PerWindow:
    """Frames in use times half the squared distance to the observed floor, both as normal times offset."""
    return num_frames * 0.5 * (floor_camera - observed_floor_camera).square().sum(-1)


def observed_positions(
    predicted: Float[Tensor, "windows frames items 3"],
    observed: Float[Tensor, "windows frames items 3"],
) -> PerWindow:
    """Half the squared distances to observed positions; an infinite entry is not observed.

    HuMoR's `joints3d` and `verts3d`; unused for PROX, where nothing observes them.
    """
    seen = observed.isfinite()
    return 0.5 * _sum(torch.where(seen, predicted - observed, 0.0).square())


def rgb_overlap_consist(
    key_vertices_camera: Float[Tensor, "windows frames keys 3"],
    overlaps: Int[Tensor, " windows"],
    lengths: Int[Tensor, " windows"],
) -> tuple[PerWindow, PerWindow]:
    """Disagreement of neighbouring windows on the frames they share: positions and their differences.

    Args:
        key_vertices_camera: HuMoR's 43 key vertices, metres.
        overlaps: frames shared with the window before; 0 where there is none.
        lengths: frames of each window.

    Returns:
        Half the squared distances, and half the squared distances of the one-frame differences; both
        booked on the later window.
    """
    positions, differences = [], []
    nothing = key_vertices_camera.new_zeros(())
    for window, overlap in enumerate(overlaps.tolist()):
        if overlap == 0:
            positions.append(nothing)
            differences.append(nothing)
            continue
        end = int(lengths[window - 1])
        gap = (
            key_vertices_camera[window, :overlap] - key_vertices_camera[window - 1, end - overlap : end]
        )
        positions.append(0.5 * gap.square().sum())
        differences.append(0.5 * gap.diff(dim=0).square().sum())
    return torch.stack(positions), torch.stack(differences)


def neighbour_gap(
    values: Float[Tensor, "windows numbers"], overlaps: Int[Tensor, " windows"]
) -> PerWindow:
    """Half the squared difference to the window before (betas, floor), where the two overlap."""
    previous = torch.cat([values[:1], values[:-1]])
    return 0.5 * (values - previous).square().sum(-1) * (overlaps > 0)


def constant_overlap(
    key_vertices_camera: Float[Tensor, "windows frames keys 3"],
    targets_camera: Float[Tensor, "windows 2 frames keys 3"],
    shared: Float[Tensor, "windows 2 frames"],
) -> PerWindow:
    """As `rgb_overlap_consist`, positions and differences together, against neighbours that stand still.

    HuMoR does this with the last window of the batch before; here with the windows on both sides.
    """
    gap = (key_vertices_camera[:, None] - targets_camera) * shared[..., None, None]
    both = shared[:, :, 1:] * shared[:, :, :-1]
    change = gap.diff(dim=2) * both[..., None, None]
    return 0.5 * (_sum(gap.square()) + _sum(change.square()))
