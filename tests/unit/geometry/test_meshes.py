from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from pipelines.geometry.meshes import RayCaster, face_normals, vertex_normals

SQUARE = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_counter_clockwise_faces_look_up_with_twice_their_area():
    normals = face_normals(torch.as_tensor(SQUARE), torch.as_tensor(SQUARE_FACES))
    np.testing.assert_allclose(normals.numpy(), [[0, 0, 4], [0, 0, 4]])


def test_area_weights_change_the_normal_at_an_uneven_edge():
    """A large floor triangle and a small wall triangle share an edge."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 3, 1]])  # +z with area 1.5, +y with area 0.5
    weighted = vertex_normals(vertices, faces, area_weighted=True)[0]
    plain = vertex_normals(vertices, faces, area_weighted=False)[0]
    np.testing.assert_allclose(weighted.numpy(), np.array([0, 1, 3]) / np.sqrt(10), atol=1e-12)
    np.testing.assert_allclose(plain.numpy(), np.array([0, 1, 1]) / np.sqrt(2), atol=1e-12)


def test_area_weighted_normals_agree_with_the_recorded_scene(goldens_folder):
    with np.load(goldens_folder / "prox_fitting.npz") as golden:
        vertices, faces = golden["in/scene/vertices"], golden["in/scene/faces"]
        expected = golden["out/scene_vertex_normals_area_weighted"]
    found = vertex_normals(
        torch.as_tensor(vertices).double(), torch.as_tensor(faces), area_weighted=True
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_vertex_without_face_has_normal_zero_and_batches_work():
    vertices = torch.as_tensor(np.vstack([SQUARE, [[9.0, 9, 9]]])).expand(3, 5, 3)
    normals = vertex_normals(vertices, torch.as_tensor(SQUARE_FACES), area_weighted=False)
    np.testing.assert_allclose(normals[:, 4].numpy(), 0)
    np.testing.assert_allclose(normals[:, :4].numpy(), np.broadcast_to([0, 0, 1], (3, 4, 3)))


def test_turning_the_mesh_turns_the_normals():
    ball = trimesh.creation.icosphere(subdivisions=1)
    vertices, faces = (
        torch.as_tensor(ball.vertices).double(),
        torch.as_tensor(ball.faces.astype(np.int64)),
    )
    R = torch.linalg.qr(
        torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )[0]
    R = R * torch.linalg.det(R)
    before = vertex_normals(vertices, faces, area_weighted=True)
    after = vertex_normals(vertices @ R.T, faces, area_weighted=True)
    np.testing.assert_allclose(after.numpy(), (before @ R.T).numpy(), atol=1e-12)
    outward = (before * vertices).sum(-1)
    assert (outward > 0.99).all()


def test_normals_are_differentiable():
    generator = torch.Generator().manual_seed(3)
    vertices = torch.randn(4, 3, dtype=torch.float64, generator=generator).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    for area_weighted in (True, False):
        assert torch.autograd.gradcheck(
            lambda v, a=area_weighted: vertex_normals(v, faces, area_weighted=a), vertices
        )


@pytest.fixture(scope="module")
def floor() -> RayCaster:
    return RayCaster(SQUARE, SQUARE_FACES)


def test_distance_is_in_units_of_the_direction(floor):
    origins = np.array([[0.5, 0.2, 3.0], [0.5, 0.2, 3.0], [5.0, 5.0, 3.0], [0.5, 0.2, -1.0]])
    directions = np.array([[0.0, 0, -1], [0, 0, -2], [0, 0, -1], [0, 0, -1]])
    distance, faces = floor.first_hit(origins, directions)
    np.testing.assert_allclose(distance, [3, 1.5, np.inf, np.inf], rtol=1e-6)
    np.testing.assert_array_equal(faces, [0, 0, -1, -1])
    np.testing.assert_array_equal(floor.any_hit(origins, directions), [True, True, False, False])


def test_the_nearest_of_two_surfaces_is_hit():
    stack = np.concatenate([SQUARE, SQUARE + np.array([0, 0, 1])])
    caster = RayCaster(stack, np.concatenate([SQUARE_FACES, SQUARE_FACES + 4]))
    distance, faces = caster.first_hit(np.array([[1.5, 0.5, 4.0]]), np.array([[0.0, 0, -1]]))
    assert distance[0] == pytest.approx(3)
    assert faces[0] >= 2


def test_slanted_rays_hit_a_ball_at_the_distance_of_the_sphere():
    ball = trimesh.creation.icosphere(subdivisions=4)
    caster = RayCaster(np.asarray(ball.vertices), np.asarray(ball.faces, np.int64))
    generator = np.random.default_rng(0)
    directions = generator.standard_normal((200, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance, _ = caster.first_hit(-3 * directions, directions)
    np.testing.assert_allclose(distance, 2, atol=3e-3)


def test_no_rays_give_no_hits(floor):
    distance, faces = floor.first_hit(np.zeros((0, 3)), np.zeros((0, 3)))
    assert distance.shape == faces.shape == (0,)
