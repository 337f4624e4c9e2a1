from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.bodies.model_file import SkinnedArrays
from pipelines.bodies.pose_correctives import DenseCorrectives, SparseCorrectives
from pipelines.bodies.skinning import Skinning, forward_kinematics, skinning_offset
from pipelines.geometry.rotations import rotvec_to_rotmat

PARENTS = (-1, 0, 0, 1, 2, 3)
VERTS = 611  # more than two runs, the last one short


def made_up_body(sparse: bool, seed: int = 0) -> SkinnedArrays:
    rng = np.random.default_rng(seed)
    joints = len(PARENTS)
    weights = rng.random((VERTS, joints)) * (rng.random((VERTS, joints)) < 0.4)
    weights[np.arange(VERTS), rng.integers(0, joints, VERTS)] += 0.5
    posedirs = rng.standard_normal((VERTS, 3, 9 * (joints - 1))) * 0.01
    if sparse:
        posedirs *= (rng.random((VERTS, 1, joints - 1)) < 0.1).repeat(9, axis=2)
    regressor = rng.random((joints, VERTS))
    return SkinnedArrays(
        v_template=rng.standard_normal((VERTS, 3)),
        faces=np.zeros((1, 3), np.int64),
        shapedirs=rng.standard_normal((VERTS, 3, 4)) * 0.1,
        posedirs=posedirs,
        J_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        parents=PARENTS,
    )


def plain_vertices(arrays: SkinnedArrays, shape, rotmats):
    """The textbook formula, one 4x4 matrix per vertex."""
    to = lambda a: torch.as_tensor(a, dtype=torch.float64)  # noqa: E731
    rest = to(arrays.v_template) + torch.einsum("vik,fk->fvi", to(arrays.shapedirs), shape)
    joints = torch.einsum("jv,fvi->fji", to(arrays.J_regressor), rest)
    feature = (rotmats[:, 1:] - torch.eye(3, dtype=torch.float64)).flatten(1)
    rest = rest + torch.einsum("vik,fk->fvi", to(arrays.posedirs), feature)
    world = []
    for joint, parent in enumerate(arrays.parents):
        bone = joints[:, joint] - (joints[:, parent] if parent >= 0 else 0)
        local = torch.eye(4, dtype=torch.float64).repeat(len(shape), 1, 1)
        local[:, :3, :3], local[:, :3, 3] = rotmats[:, joint], bone
        world.append(local if parent < 0 else world[parent] @ local)
    world = torch.stack(world, dim=1)
    relative = world.clone()
    relative[..., :3, 3] -= (world[..., :3, :3] @ joints[..., None])[..., 0]
    per_vertex = torch.einsum("vj,fjab->fvab", to(arrays.weights), relative)
    moved = (per_vertex[..., :3, :3] @ rest[..., None])[..., 0] + per_vertex[..., :3, 3]
    return moved, world[..., :3, 3]


def evaluate(skinning: Skinning, shape, rotmats):
    rest = skinning.rest_joints(shape)
    rotation, places = forward_kinematics(rotmats, rest, skinning.parents)
    offset = skinning_offset(rotation, places, rest)
    return skinning.vertices(shape, rotmats, rotation, offset), places


def draw(frames: int, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(frames, 4, generator=generator, dtype=torch.float64)
    rotvec = torch.randn(frames, len(PARENTS), 3, generator=generator, dtype=torch.float64)
    return shape, rotvec


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("frames", [1, 3])
def test_kernel_gives_the_textbook_formula(sparse: bool, frames: int) -> None:
    arrays = made_up_body(sparse)
    skinning = Skinning.build(arrays, torch.float64)
    expected = SparseCorrectives if sparse else DenseCorrectives
    assert isinstance(skinning.kernel.correctives, expected)
    shape, rotvec = draw(frames)
    rotmats = rotvec_to_rotmat(rotvec)
    vertices, places = evaluate(skinning, shape, rotmats)
    plain, plain_places = plain_vertices(arrays, shape, rotmats)
    torch.testing.assert_close(vertices, plain, atol=1e-12, rtol=0)
    torch.testing.assert_close(places, plain_places, atol=1e-12, rtol=0)
    assert vertices.is_contiguous()


@pytest.mark.parametrize("sparse", [True, False])
def test_gradient_is_that_of_the_textbook_formula(sparse: bool) -> None:
    arrays = made_up_body(sparse)
    skinning = Skinning.build(arrays, torch.float64)
    pull = torch.randn(2, VERTS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradients = []
    for function in (lambda *x: evaluate(skinning, *x), lambda *x: plain_vertices(arrays, *x)):
        shape, rotvec = (tensor.requires_grad_() for tensor in draw(2))
        vertices, _ = function(shape, rotvec_to_rotmat(rotvec))
        (vertices * pull).sum().backward()
        gradients.append((shape.grad, rotvec.grad))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-10, rtol=1e-10)


def test_gradient_passes_gradcheck_on_a_few_vertices() -> None:
    skinning = Skinning.build(made_up_body(sparse=True), torch.float64).subset(torch.tensor([3, 7]))
    shape, rotvec = (tensor.requires_grad_() for tensor in draw(1))
    assert torch.autograd.gradcheck(
        lambda s, r: evaluate(skinning, s, rotvec_to_rotmat(r))[0], (shape, rotvec)
    )


def test_only_the_gradients_asked_for_are_made() -> None:
    skinning = Skinning.build(made_up_body(sparse=True), torch.float64)
    shape, rotvec = draw(2)
    shape.requires_grad_()
    vertices, _ = evaluate(skinning, shape, rotvec_to_rotmat(rotvec))
    vertices.sum().backward()
    assert shape.grad is not None
    assert rotvec.grad is None


@pytest.mark.parametrize("sparse", [True, False])
def test_subset_gives_the_same_vertices_in_the_order_asked(sparse: bool) -> None:
    skinning = Skinning.build(made_up_body(sparse), torch.float64)
    ids = torch.tensor([610, 5, 5, 300])
    shape, rotvec = draw(2)
    rotmats = rotvec_to_rotmat(rotvec)
    whole, _ = evaluate(skinning, shape, rotmats)
    some, _ = evaluate(skinning.subset(ids), shape, rotmats)
    torch.testing.assert_close(some, whole[:, ids], atol=1e-12, rtol=0)


def test_float32_differs_from_float64_by_rounding_only() -> None:
    arrays = made_up_body(sparse=False)
    shape, rotvec = draw(2)
    rotmats = rotvec_to_rotmat(rotvec)
    exact, _ = evaluate(Skinning.build(arrays, torch.float64), shape, rotmats)
    single, _ = evaluate(Skinning.build(arrays, torch.float32), shape.float(), rotmats.float())
    assert (exact - single).abs().max() < 2e-5


def test_zero_frames_are_an_ordinary_batch() -> None:
    skinning = Skinning.build(made_up_body(sparse=True), torch.float64)
    vertices, places = evaluate(skinning, torch.zeros(0, 4).double(), torch.zeros(0, 6, 3, 3).double())
    assert vertices.shape == (0, VERTS, 3)
    assert places.shape == (0, 6, 3)
