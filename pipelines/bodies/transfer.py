"""SMPL-X parameters for SMPL+H bodies: least squares over the vertices the two have in common.

Shape is solved linearly in the rest pose, so frames with equal SMPL+H betas get equal SMPL-X betas.
Pose starts from the same joint rotations and is improved by damped Gauss-Newton steps with exact
gradients and an approximate curvature, all frames at once.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipelines.bodies.correspondence import read_transfer_matrix, smplx_to_smplh_vertices
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPL_BODY_JOINTS
from pipelines.bodies.model import SmplhBody, SmplxBody, load_smplh, load_smplx
from pipelines.bodies.skinning import forward_kinematics, skinning_offset
from pipelines.bodies.smplx_model import NUM_BETAS, NUM_EXPRESSION
from pipelines.bodies.transfer_curvature import NUM_VARIABLES, PoseCurvature
from pipelines.geometry.rotations import rotmat_to_rotvec, rotvec_to_rotmat
from pipelines.records import Gender, SmplhParameters, SmplxParameters

__all__ = ["SmplxSolution", "smplx_to_smplh_vertices", "solve_smplx_from_smplh"]

_FRAMES_AT_ONCE = 64
_MAX_STEPS = 12
_RELATIVE_GAIN = 1e-3
"""The search ends when no frame's squared error falls by a larger share."""
_FIRST_DAMPING = 1e-3
"""Relative to the curvature's diagonal."""
_EVERY_VERTEX = 10
"""The curvature is taken at each tenth vertex."""
_HAND_RIDGE_M2 = 1e-7
"""Holds what the vertices do not see of the hand coefficients."""
_NUM_BODY = len(SMPL_BODY_JOINTS)
_TURNS = 3 * _NUM_BODY


@dataclass(frozen=True, slots=True, eq=False)
class SmplxSolution:
    """SMPL-X bodies in the frame of the SMPL+H bodies they were solved from."""

    parameters: SmplxParameters
    v2v_m: Float[np.ndarray, " frames"]
    """Mean distance over the 6890 vertices, SMPL-X carried over by the transfer matrix."""


def solve_smplx_from_smplh(
    files: BodyFiles, gender: Gender, parameters: SmplhParameters
) -> SmplxSolution:
    """SMPL-X parameters whose bodies lie on the given SMPL+H bodies; same frame, metres.

    Face and gaze stay neutral. Twelve hand components around the mean hand cannot make the flat hand
    of SMPL+H exactly; that is most of the error that is left.
    """
    smplh = load_smplh(files, gender, parameters.betas.shape[1])
    smplx = load_smplx(files, gender)
    fit = ShapeFit.build(files, smplh, smplx)
    solved, errors = [], []
    for start in range(0, max(len(parameters.transl), 1), _FRAMES_AT_ONCE):
        rows = slice(start, start + _FRAMES_AT_ONCE)
        chunk = {
            field.name: torch.tensor(getattr(parameters, field.name)[rows], dtype=smplx.dtype)
            for field in dataclasses.fields(parameters)
        }
        problem, first = _pose_problem(files, smplh, smplx, fit, chunk)
        best = problem.minimise(first)
        solved.append(_as_record(problem.betas, best))
        errors.append(problem.v2v_m(best).numpy())
    return SmplxSolution(_concatenate(solved), np.concatenate(errors).astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class ShapeFit:
    """SMPL-X betas and translation that fit a SMPL+H rest body, as an affine function of its betas."""

    betas_map: Float[Tensor, "smplh smplx"]
    betas_offset: Float[Tensor, " smplx"]
    shift_map: Float[Tensor, "smplh 3"]
    shift_offset: Float[Tensor, "3"]

    @staticmethod
    def build(files: BodyFiles, smplh: SmplhBody, smplx: SmplxBody) -> ShapeFit:
        """Least squares over the 6890 rest vertices, hands flat in both."""
        matrix = read_transfer_matrix(files.transfer)

        def carried(rows: Tensor) -> np.ndarray:
            """(rows, 10475 * 3) -> (6890 * 3, rows)."""
            vertices = rows.unflatten(1, (-1, 3)).double().numpy()
            return np.stack([(matrix @ each).ravel() for each in vertices], axis=1)

        directions = carried(smplx.skinning.blendshapes[:NUM_BETAS])
        shift = np.tile(np.eye(3), (len(smplh.skinning.template), 1))
        solve = np.linalg.pinv(np.concatenate([directions, shift], axis=1))
        template = carried(smplx.skinning.template.flatten()[None])[:, 0]
        offset = solve @ (smplh.skinning.template.double().numpy().ravel() - template)
        shapes = solve @ smplh.skinning.blendshapes.double().numpy().T

        def tensor(array: np.ndarray) -> Tensor:
            return torch.tensor(array, dtype=smplx.dtype)

        return ShapeFit(
            betas_map=tensor(shapes[:NUM_BETAS].T),
            betas_offset=tensor(offset[:NUM_BETAS]),
            shift_map=tensor(shapes[NUM_BETAS:].T),
            shift_offset=tensor(offset[NUM_BETAS:]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """What is solved for, per frame."""

    rotmats: Float[Tensor, "frames 22 3 3"]
    transl: Float[Tensor, "frames 3"]
    hands: Float[Tensor, "frames 24"]
    """Left, then right PCA coefficients."""

    def moved(self, step: Float[Tensor, "frames variables"]) -> _Pose:
        """Joints turned in their parents' frames, the rest added to."""
        turns = rotvec_to_rotmat(step[:, :_TURNS].unflatten(1, (-1, 3)))
        transl = self.transl + step[:, _TURNS : _TURNS + 3]
        return _Pose(turns @ self.rotmats, transl, self.hands + step[:, _TURNS + 3 :])

    def where(self, better: Tensor, other: _Pose) -> _Pose:
        """This pose in frames where it is better, else the other."""
        column = better[:, None]
        return _Pose(
            torch.where(column[..., None, None], self.rotmats, other.rotmats),
            torch.where(column, self.transl, other.transl),
            torch.where(column, self.hands, other.hands),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _PoseProblem:
    files: BodyFiles
    body: SmplxBody
    curvature: PoseCurvature
    betas: Float[Tensor, "frames 10"]
    target: Float[Tensor, "frames 6890 3"]

    def minimise(self, pose: _Pose) -> _Pose:
        """Damped Gauss-Newton; a step that does not help a frame is taken back there."""
        damping = torch.full_like(pose.transl[:, 0], _FIRST_DAMPING)
        cost, gradient = self._cost_and_gradient(pose)
        for _ in range(_MAX_STEPS):
            curvature = self._curvature(pose)
            diagonal = curvature.diagonal(dim1=1, dim2=2)
            damped = curvature + torch.diag_embed(damping[:, None] * diagonal + 1e-9)
            step = -torch.linalg.solve(damped, gradient)
            trial = pose.moved(step)
            trial_cost, trial_gradient = self._cost_and_gradient(trial)
            better = trial_cost < cost
            gained = (better & (cost - trial_cost > _RELATIVE_GAIN * cost)).any()
            pose = trial.where(better, pose)
            cost = torch.where(better, trial_cost, cost)
            gradient = torch.where(better[:, None], trial_gradient, gradient)
            damping = torch.where(better, damping / 5, damping * 10).clamp(1e-7, 1e3)
            if not gained:
                break
        return pose

    def v2v_m(self, pose: _Pose) -> Float[Tensor, " frames"]:
        """Mean vertex distance."""
        with torch.no_grad():
            return (self._vertices(pose) - self.target).norm(dim=-1).mean(dim=1)

    def _vertices(self, pose: _Pose) -> Float[Tensor, "frames 6890 3"]:
        rotmats, _ = self._all_rotmats(pose)
        mesh = self.body.from_rotmats(self.betas, self._expression(), rotmats, pose.transl)
        return smplx_to_smplh_vertices(self.files, mesh.vertices)

    def _cost_and_gradient(
        self, pose: _Pose
    ) -> tuple[Float[Tensor, " frames"], Float[Tensor, "frames variables"]]:
        """Mean squared distance (m^2) with the hand ridge, and its gradient at a zero step."""
        step = pose.transl.new_zeros(len(pose.transl), NUM_VARIABLES, requires_grad=True)
        moved = pose.moved(step)
        squared = (self._vertices(moved) - self.target).square().sum(dim=(1, 2))
        cost = squared / self.target.shape[1] + _HAND_RIDGE_M2 * moved.hands.square().sum(dim=1)
        (gradient,) = torch.autograd.grad(cost.sum(), step)
        return cost.detach(), gradient

    @torch.no_grad()
    def _curvature(self, pose: _Pose) -> Float[Tensor, "frames variables variables"]:
        shape = torch.cat([self.betas, self._expression()], dim=1)
        rotmats, hand_pose = self._all_rotmats(pose)
        rest = self.body.skinning.rest_joints(shape)
        rotation, places = forward_kinematics(rotmats, rest, self.body.skinning.parents)
        offset = skinning_offset(rotation, places, rest)
        matrix = self.curvature.matrix(shape, rotation, places, offset, hand_pose)
        matrix.diagonal(dim1=1, dim2=2)[:, _TURNS + 3 :].add_(2 * _HAND_RIDGE_M2)
        return matrix

    def _expression(self) -> Float[Tensor, "frames 10"]:
        return self.betas.new_zeros(len(self.betas), NUM_EXPRESSION)

    def _all_rotmats(
        self, pose: _Pose
    ) -> tuple[Float[Tensor, "frames 55 3 3"], Float[Tensor, "frames 30 3"]]:
        """Local rotations with a neutral face, and the rotation vectors of the fingers."""
        hands = self.body.hand_rotvecs(*pose.hands.chunk(2, dim=1))
        face = torch.eye(3).to(pose.rotmats).expand(len(hands), 3, 3, 3)
        return torch.cat([pose.rotmats, face, rotvec_to_rotmat(hands)], dim=1), hands


def _pose_problem(
    files: BodyFiles,
    smplh: SmplhBody,
    smplx: SmplxBody,
    fit: ShapeFit,
    chunk: dict[str, Tensor],
) -> tuple[_PoseProblem, _Pose]:
    """The problem of some frames, and the first guess: equal joint rotations, nearly flat hands."""
    betas = chunk["betas"] @ fit.betas_map + fit.betas_offset
    rotvecs = torch.cat([chunk["global_orient"], chunk["body_pose"]], dim=1).unflatten(1, (-1, 3))
    rotmats = rotvec_to_rotmat(rotvecs)
    pelvis = smplh.rest_pelvis(chunk["betas"])
    smplx_pelvis = smplx.rest_pelvis(betas, torch.zeros_like(betas))
    # Both roots turn about their own pelvis; the rest bodies differ by a shift.
    shift = chunk["betas"] @ fit.shift_map + fit.shift_offset
    turned = (rotmats[:, 0] @ (shift - pelvis + smplx_pelvis)[..., None])[..., 0]
    transl = turned + pelvis + chunk["transl"] - smplx_pelvis
    flat = torch.cat(
        [
            -smplx.left_hand_components @ smplx.left_hand_mean,
            -smplx.right_hand_components @ smplx.right_hand_mean,
        ]
    )
    with torch.no_grad():
        target = smplh(**chunk).vertices
    ids = _nearest_smplx_vertices(files)[::_EVERY_VERTEX]
    problem = _PoseProblem(files, smplx, PoseCurvature.build(smplx, ids), betas, target)
    return problem, _Pose(rotmats, transl, flat.expand(len(betas), -1))


def _nearest_smplx_vertices(files: BodyFiles) -> Tensor:
    """The SMPL-X vertex with the largest weight for each SMPL+H vertex."""
    matrix = abs(read_transfer_matrix(files.transfer))
    return torch.as_tensor(np.asarray(matrix.argmax(axis=1)).ravel())


def _as_record(betas: Tensor, pose: _Pose) -> SmplxParameters:
    rotvecs = rotmat_to_rotvec(pose.rotmats)
    frames = len(betas)
    left, right = pose.hands.chunk(2, dim=1)
    arrays = {
        "betas": betas,
        "global_orient": rotvecs[:, 0],
        "body_pose": rotvecs[:, 1:].flatten(1),
        "left_hand_pose": left,
        "right_hand_pose": right,
        "transl": pose.transl,
    }
    neutral = {"expression": NUM_EXPRESSION, "jaw_pose": 3, "leye_pose": 3, "reye_pose": 3}
    return SmplxParameters(
        **{name: tensor.double().numpy() for name, tensor in arrays.items()},
        **{name: np.zeros((frames, size)) for name, size in neutral.items()},
    )


def _concatenate(parts: list[SmplxParameters]) -> SmplxParameters:
    fields = [field.name for field in dataclasses.fields(SmplxParameters)]
    return SmplxParameters(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    )
