"""PROX's energy terms, one unweighted value per frame.

Joints and depth terms are in the colour camera's frame, the two scene terms in the world frame; metres.
Nearest neighbours and visibility are constants of an evaluation: they come in as `VertexPairs`
(`pairs.py` finds them), so that every term here is a plain differentiable function.

Source: prox `fitting.py` (`SMPLifyLoss`, `SMPLifyCameraInitLoss`), `prior.py`, `misc_utils.py`.
Differs from PROX: the self-collision term is left out (weight 0.01 in PROXD.yaml, a count of crossing
triangles found on a GPU; at most a few units in an energy of thousands).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.fitting.prox_style.settings import StageWeights
from pipelines.geometry.cameras import project_pinhole
from pipelines.geometry.robust import geman_mcclure
from pipelines.geometry.signed_distance import SdfGrid

TERM_NAMES = (
    "data",
    "body_pose",
    "shape",
    "bending",
    "left_hand",
    "right_hand",
    "expression",
    "jaw",
    "s2m",
    "m2s",
    "penetration",
    "contact",
)
"""s2m: scan to body; m2s: body to scan."""

IGNORED_KEYPOINTS = (1, 9, 12)
"""Neck and both hips of BODY_25: OpenPose and the body model define them differently."""
TORSO_KEYPOINTS = (9, 12, 2, 5)
"""Hips and shoulders, the only keypoints of the camera stage."""
_HANDS_AND_BROWS = slice(25, 76)
_HANDS = slice(25, 67)
NUM_KEYPOINTS = 118

_BENDING_COLUMNS = (52, 55, 9, 12)
"""Left elbow y, right elbow y, left knee x, right knee x among the 63 body-pose numbers."""
_BENDING_SIGNS = (1.0, -1.0, -1.0, -1.0)


@dataclass(frozen=True, slots=True, eq=False)
class VertexPairs:
    """Body vertices and the fixed points they are drawn to, of all frames in one list.

    Depth pairs are in the camera frame, contact pairs in the world frame, like the vertices they are
    used with.
    """

    frame: Int[Tensor, " pairs"]
    vertex: Int[Tensor, " pairs"]
    target: Float[Tensor, "pairs 3"]
    weight: Float[Tensor, " pairs"]

    def squared_distances(self, vertices: Float[Tensor, "frames verts 3"]) -> Float[Tensor, " pairs"]:
        """Squared length of every pair, m^2."""
        return (vertices[self.frame, self.vertex] - self.target).square().sum(-1)

    def frame_sums(self, values: Float[Tensor, " pairs"], num_frames: int) -> Float[Tensor, " frames"]:
        """Weighted sum of one value per pair over the pairs of each frame; 0 without pairs."""
        return values.new_zeros(num_frames).index_add_(0, self.frame, self.weight * values)


def keypoint_weights(
    stage: StageWeights, *, official_hand_slice: bool, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "118"]:
    """Weight of every keypoint in one stage: 1 for the body, the stage's for hands and face.

    Args:
        stage: weights of the stage.
        official_hand_slice: PROX ends the hand rows at 76, though the face starts at 67.
        dtype: of the result.
    """
    weights = torch.ones(NUM_KEYPOINTS, dtype=dtype)
    weights[list(IGNORED_KEYPOINTS)] = 0.0
    weights[_HANDS.start :] = stage.face_joints
    weights[_HANDS_AND_BROWS if official_hand_slice else _HANDS] = stage.hand_joints
    return weights


def data_energy(
    joints_camera: Float[Tensor, "frames 118 3"],
    keypoints_px: Float[Tensor, "frames 118 2"],
    confidence: Float[Tensor, "frames 118"],
    joint_weights: Float[Tensor, "118"],
    K: Float[Tensor, "3 3"],
    rho_px: float,
) -> Float[Tensor, " frames"]:
    """Sum over joints of (weight x confidence)^2 times the robust error in x and in y (px^2)."""
    squared = (keypoints_px - project_pinhole(joints_camera, K)).square()
    per_joint = geman_mcclure(squared, rho_px).sum(-1)
    return ((joint_weights * confidence).square() * per_joint).sum(-1)


def sum_of_squares(values: Float[Tensor, "frames numbers"]) -> Float[Tensor, " frames"]:
    """Prior of latent pose, shape, expression, and of a hand's 45 numbers (hand mean not added)."""
    return values.square().sum(-1)


def bending_energy(
    body_pose: Float[Tensor, "frames 63"], exponent_cap: float | None = None
) -> Float[Tensor, " frames"]:
    """Sum of exp(+-angle) of elbows and knees, small when they bend the natural way; 4 at zero pose.

    Differs from SMPLify-X: not squared, as in PROX. Beyond `exponent_cap` (radians) each exponential
    goes on along its tangent, so that an unbounded pose cannot overflow.
    """
    signs = body_pose.new_tensor(_BENDING_SIGNS)
    angles = body_pose[:, _BENDING_COLUMNS] * signs
    if exponent_cap is None:
        return angles.exp().sum(-1)
    excess = (angles - exponent_cap).clamp(min=0)
    return ((angles - excess).exp() * (1 + excess)).sum(-1)


def jaw_energy(
    jaw_pose: Float[Tensor, "frames 3"], axis_weights: tuple[float, float, float]
) -> Float[Tensor, " frames"]:
    """Sum over axes of (weight x angle)^2: the only term whose weights are inside."""
    return (jaw_pose * jaw_pose.new_tensor(axis_weights)).square().sum(-1)


def depth_energy(
    vertices_camera: Float[Tensor, "frames verts 3"], pairs: VertexPairs, rho_m: float
) -> Float[Tensor, " frames"]:
    """Sum over pairs of the robust squared distance (m^2); s2m and m2s differ in their pairs only."""
    robust = geman_mcclure(pairs.squared_distances(vertices_camera), rho_m)
    return pairs.frame_sums(robust, len(vertices_camera))


def contact_energy(
    vertices_world: Float[Tensor, "frames verts 3"], pairs: VertexPairs, rho_m: float
) -> Float[Tensor, " frames"]:
    """Mean over kept contact vertices of d^2/(d^2 + rho^2), d to the nearest scene vertex.

    The pairs carry weight 1/(kept vertices of their frame). Differs from PROX: a frame that keeps no
    vertex has energy 0, not NaN.
    """
    robust = geman_mcclure(pairs.squared_distances(vertices_world), rho_m) / rho_m**2
    return pairs.frame_sums(robust, len(vertices_world))


def penetration_energy(
    vertices_world: Float[Tensor, "frames verts 3"],
    sdf: SdfGrid,
    normal_lengths: Float[Tensor, "nx ny nz"] | None = None,
) -> Float[Tensor, " frames"]:
    """Sum over all vertices inside the scene of their depth (m) times the stored normal's length.

    Args:
        vertices_world: every vertex of the body, head and hands too, in the frame of the grid.
        sdf: signed distances, negative inside.
        normal_lengths: length of the grid's stored normals; None counts as 1 (they are unit vectors
            in principle, and PROX cannot run without the file).
    """
    depth = (-sdf.sample(vertices_world)).clamp(min=0)
    if normal_lengths is not None:
        depth = depth * _lengths_at(vertices_world.detach(), sdf, normal_lengths)
    return depth.sum(-1)


def _lengths_at(
    points_world: Float[Tensor, "frames verts 3"],
    sdf: SdfGrid,
    normal_lengths: Float[Tensor, "nx ny nz"],
) -> Float[Tensor, "frames verts"]:
    # PROX looks normals up with a cell size of extent/dim, not extent/(dim - 1): kept.
    size = torch.tensor(sdf.values_m.shape, dtype=points_world.dtype)
    cells = ((points_world - sdf.min_world) * size / (sdf.max_world - sdf.min_world)).round().long()
    x, y, z = cells.clamp(min=0).minimum((size - 1).long()).unbind(-1)
    return normal_lengths[x, y, z]


def camera_residuals(
    joints_camera: Float[Tensor, "frames 118 3"],
    keypoints_px: Float[Tensor, "frames 118 2"],
    seen: Float[Tensor, "frames 118"],
    transl: Float[Tensor, "frames 3"],
    initial_transl: Float[Tensor, "frames 3"],
    K: Float[Tensor, "3 3"],
    depth_weight: float,
) -> Float[Tensor, "frames 9"]:
    """Camera stage: pixel errors of hips and shoulders, and the depth held to its start.

    The stage minimises the plain sum of their squares: no confidence, no robust function.

    Args:
        joints_camera: joints in keypoint order, metres.
        keypoints_px: detections.
        seen: 1 where a keypoint was detected. Differs from PROX, which pulls a missing torso keypoint
            to pixel (0, 0).
        transl: the body's translation (not its pelvis).
        initial_transl: mean of the person's depth points.
        K: colour intrinsics, pixels.
        depth_weight: squared in the energy.
    """
    torso = list(TORSO_KEYPOINTS)
    error_px = keypoints_px[:, torso] - project_pinhole(joints_camera[:, torso], K)
    depth = depth_weight * (transl[:, 2:] - initial_transl[:, 2:])
    return torch.cat([(seen[:, torso, None] * error_px).flatten(1), depth], dim=1)
