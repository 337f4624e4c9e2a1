"""Linear blend skinning with shape and pose correctives: the one kernel behind every body."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipelines.bodies.model_file import SkinnedArrays


@dataclass(frozen=True, slots=True, eq=False)
class Skinning:
    """A body model as the tensors its evaluation needs."""

    template: Float[Tensor, "verts 3"]
    blendshapes: Float[Tensor, "blends verts3"]
    """Rows: shape (and expression) directions, then pose correctives; columns vertex-major x, y, z."""
    num_shapes: int
    joint_template: Float[Tensor, "joints 3"]
    joint_shapes: Float[Tensor, "shapes joints3"]
    """Response of the rest joints to shape: J_regressor applied to the shape directions."""
    weights: Float[Tensor, "joints verts"]
    parents: tuple[int, ...]

    @staticmethod
    def build(arrays: SkinnedArrays, dtype: torch.dtype) -> Skinning:
        """Products are taken in float64 and rounded once."""
        verts = len(arrays.v_template)
        shapes = arrays.shapedirs.reshape(verts * 3, -1).T
        correctives = arrays.posedirs.reshape(verts * 3, -1).T
        joint_shapes = arrays.J_regressor @ arrays.shapedirs.reshape(verts, -1)  # (joints, 3 shapes)
        joints = len(arrays.parents)
        joint_shapes = joint_shapes.reshape(joints * 3, -1).T
        blendshapes = torch.cat(
            [torch.as_tensor(rows.copy(), dtype=dtype) for rows in (shapes, correctives)]
        )
        return Skinning(
            template=torch.as_tensor(arrays.v_template, dtype=dtype),
            blendshapes=blendshapes,
            num_shapes=len(shapes),
            joint_template=torch.as_tensor(arrays.J_regressor @ arrays.v_template, dtype=dtype),
            joint_shapes=torch.as_tensor(joint_shapes.copy(), dtype=dtype),
            weights=torch.as_tensor(arrays.weights.T.copy(), dtype=dtype),
            parents=arrays.parents,
        )

    def subset(self, vertex_ids: Int[Tensor, " ids"]) -> Skinning:
        """The same body evaluated only at some vertices; joints keep their exact places."""
        blendshapes = self.blendshapes.unflatten(1, (-1, 3))[:, vertex_ids].flatten(1).contiguous()
        return replace(
            self,
            template=self.template[vertex_ids],
            blendshapes=blendshapes,
            weights=self.weights[:, vertex_ids].contiguous(),
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
        """Skinned vertices, given the joints' world rotation and x_world = rotation x_rest + offset."""
        identity = torch.eye(3, dtype=rotmats.dtype, device=rotmats.device)
        feature = (rotmats[:, 1:] - identity).flatten(1)
        coefficients = torch.cat([shape, feature], dim=1)
        rest = torch.addmm(self.template.flatten(), coefficients, self.blendshapes).unflatten(1, (-1, 3))
        transforms = torch.cat([rotation.flatten(2), offset], dim=2)  # (frames, joints, 12)
        blended = transforms.transpose(1, 2) @ self.weights  # (frames, 12, verts)
        planes = rest.transpose(1, 2)  # (frames, 3, verts)
        turned = (blended[:, :9].unflatten(1, (3, 3)) * planes[:, None]).sum(dim=2)
        return (turned + blended[:, 9:]).transpose(1, 2)


def forward_kinematics(
    rotmats: Float[Tensor, "frames joints 3 3"],
    rest_joints: Float[Tensor, "frames joints 3"],
    parents: tuple[int, ...],
) -> tuple[Float[Tensor, "frames joints 3 3"], Float[Tensor, "frames joints 3"]]:
    """World rotation and place of every joint; the root turns about its own rest place."""
    rotations, places = [rotmats[:, 0]], [rest_joints[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        bone = rest_joints[:, joint] - rest_joints[:, parent]
        places.append(places[parent] + (rotations[parent] @ bone[..., None])[..., 0])
        rotations.append(rotations[parent] @ rotmats[:, joint])
    return torch.stack(rotations, dim=1), torch.stack(places, dim=1)


def skinning_offset(
    rotation: Float[Tensor, "frames joints 3 3"],
    places: Float[Tensor, "frames joints 3"],
    rest_joints: Float[Tensor, "frames joints 3"],
) -> Float[Tensor, "frames joints 3"]:
    """Offset t of each joint's rigid motion x_world = R x_rest + t."""
    return places - (rotation @ rest_joints[..., None])[..., 0]
