"""Linear blend skinning with shape and pose correctives: the one kernel behind every body.

Written for one CPU thread and batches of some 60 frames, forward and backward; the numbers are those
of the plain formula (tests compare with it). What makes it fast: coordinates in planes; vertices
sorted so that a run of some hundred depends on few joints and its blended transforms stay in cache;
correctives by joint where most are zero; blended transforms made again in the backward pass, not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.model_file import SkinnedArrays
from pipelines.bodies.pose_correctives import DenseCorrectives, PoseCorrectives, SparseCorrectives

_RUN_LENGTH = 256
"""Vertices blended at a time: 12 planes of 60 frames fill 0.7 MB."""
_SPARSE_BELOW = 0.25
"""Share of non-zero correctives below which they are applied joint by joint."""


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Consecutive sorted vertices that depend on few joints."""

    start: int
    end: int
    joints: Int[Tensor, " joints"]
    weights: Float[Tensor, "joints verts"]


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """The model with its vertices sorted by joint, coordinates in planes (x of all, then y, then z)."""

    to_planes: Int[Tensor, " verts3"]
    """Column of the file order (vertex-major x, y, z) at each column here. One flat gather of columns
    is several times faster than indexing vertices."""
    from_planes: Int[Tensor, " verts3"]
    """The other way."""
    template: Float[Tensor, " verts3"]
    shapes: Float[Tensor, "shapes verts3"]
    correctives: PoseCorrectives
    runs: tuple[_Run, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Skinning:
    """A body model as the tensors its evaluation needs."""

    template: Float[Tensor, "verts 3"]
    blendshapes: Float[Tensor, "shapes verts3"]
    """Shape (and expression) directions; columns vertex-major x, y, z."""
    joint_template: Float[Tensor, "joints 3"]
    joint_shapes: Float[Tensor, "shapes joints3"]
    """Response of the rest joints to shape: J_regressor applied to the shape directions."""
    weights: Float[Tensor, "joints verts"]
    parents: tuple[int, ...]
    kernel: _Sorted

    @property
    def num_shapes(self) -> int:
        """Shape and expression components."""
        return len(self.blendshapes)

    @staticmethod
    def build(arrays: SkinnedArrays, dtype: torch.dtype) -> Skinning:
        """Products are taken in float64 and rounded once."""
        verts, joints = arrays.weights.shape
        joint_shapes = arrays.J_regressor @ arrays.shapedirs.reshape(verts, -1)  # (joints, 3 shapes)
        joint_shapes = joint_shapes.reshape(joints * 3, -1).T

        def tensor(array: Any) -> Tensor:
            return torch.tensor(array, dtype=dtype)

        return _assemble(
            template=tensor(arrays.v_template),
            blendshapes=tensor(arrays.shapedirs.reshape(verts * 3, -1).T),
            joint_template=tensor(arrays.J_regressor @ arrays.v_template),
            joint_shapes=tensor(joint_shapes),
            weights=tensor(arrays.weights.T),
            correctives=tensor(arrays.posedirs).flatten(0, 1).T,
            parents=arrays.parents,
        )

    def subset(self, vertex_ids: Int[Tensor, " ids"]) -> Skinning:
        """The same body evaluated only at some vertices; joints keep their exact places."""
        columns = self.kernel.from_planes.unflatten(0, (-1, 3))[vertex_ids].flatten()
        return _assemble(
            template=self.template[vertex_ids],
            blendshapes=self.blendshapes.unflatten(1, (-1, 3))[:, vertex_ids].flatten(1),
            joint_template=self.joint_template,
            joint_shapes=self.joint_shapes,
            weights=self.weights[:, vertex_ids],
            correctives=self.kernel.correctives.columns_at(columns),
            parents=self.parents,
        )

    def rest_joints(self, shape: Float[Tensor, "frames shapes"]) -> Float[Tensor, "frames joints 3"]:
        """Joints of the shaped body in rest pose."""
        return self.joint_template + (shape @ self.joint_shapes).unflatten(1, (-1, 3))

    def vertices(
        self,
        shape: Float[Tensor, "frames shapes"],
        rotmats: Float[Tensor, "frames joints 3 3"],
        rotation: Float[Tensor, "frames joints 3 3"],
        offset: Float[Tensor, "frames joints 3"],
    ) -> Float[Tensor, "frames verts 3"]:
        """Skinned vertices.

        Args:
            shape: betas, then expression.
            rotmats: rotation of each joint relative to its parent; drives the correctives.
            rotation: world rotation of each joint.
            offset: so that a point of the joint moves to rotation x_rest + offset.
        """
        identity = torch.eye(3, dtype=rotmats.dtype, device=rotmats.device)
        feature = (rotmats[:, 1:] - identity).flatten(1)
        # (frames, 4 columns, 3 rows, joints): matrix columns first, the offset as fourth
        transforms = torch.cat([rotation.permute(0, 3, 2, 1), offset.transpose(1, 2)[:, None]], dim=1)
        result: Tensor = _Skin.apply(shape, feature, transforms, self.kernel)  # type: ignore[no-untyped-call]
        return result


def forward_kinematics(
    rotmats: Float[Tensor, "frames joints 3 3"],
    rest_joints: Float[Tensor, "frames joints 3"],
    parents: tuple[int, ...],
) -> tuple[Float[Tensor, "frames joints 3 3"], Float[Tensor, "frames joints 3"]]:
    """World rotation and place of every joint; the root turns about its own rest place."""
    above = torch.tensor(parents[1:], device=rotmats.device)
    bones = rest_joints[:, 1:] - rest_joints[:, above]
    rotations, places = [rotmats[:, :1]], [rest_joints[:, :1]]
    levels, position = _levels(parents)
    for joints, rows in levels:
        parent_rotation = rotations[-1][:, rows]
        turned = (parent_rotation @ bones[:, [joint - 1 for joint in joints], :, None])[..., 0]
        places.append(places[-1][:, rows] + turned)
        rotations.append(parent_rotation @ rotmats[:, joints])
    return torch.cat(rotations, dim=1)[:, position], torch.cat(places, dim=1)[:, position]


def skinning_offset(
    rotation: Float[Tensor, "frames joints 3 3"],
    places: Float[Tensor, "frames joints 3"],
    rest_joints: Float[Tensor, "frames joints 3"],
) -> Float[Tensor, "frames joints 3"]:
    """Offset t of each joint's rigid motion x_world = R x_rest + t."""
    return places - (rotation @ rest_joints[..., None])[..., 0]


@lru_cache(maxsize=16)
def _levels(parents: tuple[int, ...]) -> tuple[list[tuple[list[int], list[int]]], list[int]]:
    """Joints of each depth below the root with their parents' rows in the level above.

    Also the place of every joint in the concatenation of the levels.
    """
    levels: list[tuple[list[int], list[int]]] = []
    above, listed = [0], [0]
    while len(listed) < len(parents):
        joints = [joint for joint, parent in enumerate(parents) if parent in above and joint > 0]
        levels.append((joints, [above.index(parents[joint]) for joint in joints]))
        listed += joints
        above = joints
    return levels, [listed.index(joint) for joint in range(len(parents))]


class _Skin(torch.autograd.Function):
    """(shape, pose feature, transforms) -> vertices, with a hand-written backward pass."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        shape, feature, transforms, kernel = inputs
        rest = torch.addmm(kernel.template, shape, kernel.shapes)
        kernel.correctives.add_to(rest, feature)
        rest = rest.unflatten(1, (3, -1))  # (frames, 3, verts)
        moved = torch.empty_like(rest)
        for run in kernel.runs:
            here = slice(run.start, run.end)
            blended = _blend(transforms, run)  # (frames, 4, 3, run)
            place = torch.addcmul(blended[:, 3], blended[:, 0], rest[:, :1, here])
            place.addcmul_(blended[:, 1], rest[:, 1:2, here])
            moved[:, :, here] = place.addcmul_(blended[:, 2], rest[:, 2:, here])
        ctx.save_for_backward(transforms, rest)
        ctx.kernel = kernel
        return moved.flatten(1).index_select(1, kernel.from_planes).unflatten(1, (-1, 3))

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> tuple[Tensor | None, ...]:
        transforms, rest = ctx.saved_tensors
        kernel: _Sorted = ctx.kernel
        gradient = outputs[0].flatten(1).index_select(1, kernel.to_planes).unflatten(1, (3, -1))
        needs_shape, needs_feature, needs_transforms, _ = ctx.needs_input_grad
        to_transforms = torch.zeros_like(transforms) if needs_transforms else None
        to_rest = torch.empty_like(rest)
        for run in kernel.runs:
            here = slice(run.start, run.end)
            part = gradient[:, :, here]
            if needs_shape or needs_feature:
                blended = _blend(transforms, run)
                to_rest[:, :, here] = (blended[:, :3] * part[:, None]).sum(dim=2)
            if to_transforms is not None:
                outer = part.new_empty(len(part), 4, *part.shape[1:])
                torch.mul(part[:, None], rest[:, :, None, here], out=outer[:, :3])
                outer[:, 3] = part
                share = outer.flatten(0, 2) @ run.weights.T
                to_transforms.index_add_(3, run.joints, share.unflatten(0, outer.shape[:3]))
        flat = to_rest.flatten(1)
        return (
            flat @ kernel.shapes.T if needs_shape else None,
            kernel.correctives.pull_back(flat) if needs_feature else None,
            to_transforms,
            None,
        )


def _blend(
    transforms: Float[Tensor, "frames 4 3 joints"], run: _Run
) -> Float[Tensor, "frames 4 3 verts"]:
    few = transforms[..., run.joints]
    return (few.flatten(0, 2) @ run.weights).unflatten(0, few.shape[:3])


def _assemble(
    template: Tensor,
    blendshapes: Tensor,
    joint_template: Tensor,
    joint_shapes: Tensor,
    weights: Tensor,
    correctives: Tensor,
    parents: tuple[int, ...],
) -> Skinning:
    """Sort and cut; all columns come vertex-major in the file's order."""
    rank = torch.tensor(_depth_first(parents))
    order = torch.argsort(rank[weights.argmax(dim=0)], stable=True)

    to_planes = (3 * order + torch.arange(3)[:, None]).flatten()
    sparse = correctives.count_nonzero() < _SPARSE_BELOW * correctives.numel()
    return Skinning(
        template=template,
        blendshapes=blendshapes,
        joint_template=joint_template,
        joint_shapes=joint_shapes,
        weights=weights,
        parents=parents,
        kernel=_Sorted(
            to_planes=to_planes,
            from_planes=torch.argsort(to_planes),
            template=template.flatten()[to_planes],
            shapes=blendshapes[:, to_planes].contiguous(),
            correctives=(SparseCorrectives if sparse else DenseCorrectives).build(
                correctives[:, to_planes]
            ),
            runs=_runs(weights[:, order]),
        ),
    )


def _runs(weights: Float[Tensor, "joints verts"]) -> tuple[_Run, ...]:
    runs = []
    for start in range(0, weights.shape[1], _RUN_LENGTH):
        part = weights[:, start : start + _RUN_LENGTH]
        joints = (part != 0).any(dim=1).nonzero()[:, 0]
        runs.append(_Run(start, start + part.shape[1], joints, part[joints].contiguous()))
    return tuple(runs)


def _depth_first(parents: tuple[int, ...]) -> list[int]:
    """Rank of each joint on a walk that finishes one limb before the next."""
    rank: dict[int, int] = {}

    def visit(joint: int) -> None:
        rank[joint] = len(rank)
        for child, parent in enumerate(parents):
            if parent == joint:
                visit(child)

    visit(0)
    return [rank[joint] for joint in range(len(parents))]
