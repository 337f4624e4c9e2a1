"""Pairs found by caches against all distances measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.bodies.parts import contact_labels_smplh
from pipelines.fitting.matching import Matcher, robust_point_weights
from pipelines.fitting.scene_energies import facing_pairs
from pipelines.fitting.window_data import SceneData, WindowData, gather_scene, gather_windows
from pipelines.fitting.windows import Window
from pipelines.geometry.meshes import vertex_normals
from pipelines.geometry.robust import bisquare_weights


@pytest.fixture(scope="module")
def data(person: Any) -> WindowData:
    windows = [Window(0, 3, 0), Window(3, 3, 0)]
    return gather_windows(person.observations, windows, torch.float64)


@pytest.fixture(scope="module")
def vertices(person: Any) -> torch.Tensor:
    return person.vertices.unflatten(0, (2, 3))


@pytest.fixture(scope="module")
def scene(person: Any) -> SceneData:
    contact = contact_labels_smplh(person.files) > 0
    pose = person.observations.T_world_from_camera
    return gather_scene(person.scene, pose, contact, person.body.faces, torch.float64)


def _moves(vertices: torch.Tensor) -> list[torch.Tensor]:
    """A fit's way: still, millimetres, centimetres, a jump, and back."""
    generator = torch.Generator().manual_seed(0)
    places = [vertices]
    for size in (0.0, 0.0005, 0.002, 0.004, 0.03, 0.3, 0.0001, 0.001):
        noise = torch.randn(vertices.shape, generator=generator, dtype=vertices.dtype)
        places.append(places[-1] + size * noise)
    return [*places, vertices]


def test_points_find_their_nearest_vertex_wherever_the_body_goes(
    data: WindowData, vertices: torch.Tensor
) -> None:
    matcher = Matcher()
    for moved in _moves(vertices):
        found = matcher.points(data, moved).squared_distances(data.points_camera, moved)
        gaps = torch.cdist(data.points_camera.flatten(0, 1), moved.flatten(0, 1))
        expected = gaps.min(dim=-1).values.square().view(2, -1)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_contact_vertices_find_their_nearest_scene_vertex(
    data: WindowData, vertices: torch.Tensor, scene: SceneData
) -> None:
    matcher = Matcher()
    targets = torch.as_tensor(scene.vertices_world)
    for moved in _moves(scene.to_world(vertices)):
        found = matcher.scene(data, scene, moved)
        contact = moved[:, :, scene.contact_ids]
        nearest = torch.cdist(contact.flatten(0, 1), targets).min(dim=-1)
        distance = (contact - found.nearest_world).norm(dim=-1).flatten(0, 1)
        torch.testing.assert_close(distance, nearest.values, atol=1e-10, rtol=0)


def test_kept_pairs_face_each_other(
    data: WindowData, vertices: torch.Tensor, scene: SceneData, person: Any
) -> None:
    world = scene.to_world(vertices)
    found = Matcher().scene(data, scene, world)
    normals = vertex_normals(world.flatten(0, 1), person.body.faces, area_weighted=False)
    own = normals[:, scene.contact_ids].unflatten(0, (2, 3))
    expected = facing_pairs(own, scene.normals_world[found.nearest_indices])
    assert torch.equal(found.kept, expected)
    assert 0 < int(found.kept.sum()) < found.kept.numel()


def test_frames_without_points_weigh_nothing_and_shift_no_scale(
    data: WindowData, vertices: torch.Tensor
) -> None:
    squared = (
        Matcher().points(data, vertices + 0.01).squared_distances(data.points_camera, vertices + 0.01)
    )
    has_points = data.has_points.clone()
    has_points[0, 2] = 0
    weights = robust_point_weights(replace(data, has_points=has_points), squared)
    count = data.points_camera.shape[2]
    assert not weights[0, 2 * count :].any()
    alone = bisquare_weights(squared[:1, : 2 * count].sqrt())
    torch.testing.assert_close(weights[:1, : 2 * count], alone)
