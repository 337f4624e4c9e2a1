from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipelines.bodies.standin.correctives import pose_correctives
from pipelines.bodies.standin.decimate import SymmetricDecimator
from pipelines.bodies.standin.eyes import unit_eye
from pipelines.bodies.standin.joint_regressor import fit_joint_regressor
from pipelines.bodies.standin.macro import BodyFactors
from pipelines.bodies.standin.shape_space import principal_space
from pipelines.bodies.standin.surface_points import barycentric, closest_points


def test_eyeball_has_the_exact_counts_and_faces_outward() -> None:
    points, faces = unit_eye()
    assert points.shape == (546, 3)
    assert faces.shape == (1073, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-9)
    a, b, c = points[faces].transpose(1, 0, 2)
    outward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a + b + c)
    assert (outward > 0).all()


def symmetric_sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.asarray(mesh.vertices) * [1.0, 1.5, 1.0]
    mirrored = vertices * [-1, 1, 1]
    distance = np.linalg.norm(vertices[:, None] - mirrored[None], axis=2)
    assert distance.min(axis=0).max() < 1e-9
    return vertices, np.asarray(mesh.faces), distance.argmin(axis=0)


def test_decimation_keeps_the_surface_closed_symmetric_and_protected() -> None:
    vertices, faces, mirror = symmetric_sphere()
    protected = {0, int(mirror[0]), 100, int(mirror[100])}
    decimator = SymmetricDecimator(vertices, faces, mirror, np.ones(len(vertices)), protected)
    previous = np.arange(len(vertices))
    for count in (400, 150):
        kept, coarse = decimator.reduce_to(count)
        assert len(kept) == count
        assert set(kept) <= set(previous)
        assert protected <= set(kept)
        mesh = trimesh.Trimesh(vertices, coarse, process=False)
        mesh.remove_unreferenced_vertices()
        assert mesh.is_watertight
        assert mesh.euler_number == 2
        assert len(coarse) == 2 * count - 4
        if decimator.num_unpaired == 0:
            assert set(mirror[kept]) == set(kept)
        previous = kept
    assert mesh.volume > 0.9 * trimesh.Trimesh(vertices, faces).volume


def test_principal_directions_rebuild_the_samples() -> None:
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((40, 3)).astype(np.float32)
    directions = rng.standard_normal((3, 5, 3)).astype(np.float32)
    samples = 1 + np.tensordot(hidden, directions, 1)
    space = principal_space(samples, 3)
    assert space.explained[-1] == pytest.approx(1, abs=1e-5)
    flat = space.directions.reshape(-1, 3)
    coefficients = np.linalg.lstsq(flat, (samples - space.mean).reshape(40, -1).T, rcond=None)[0]
    np.testing.assert_allclose(flat @ coefficients, (samples - space.mean).reshape(40, -1).T, atol=1e-4)
    np.testing.assert_allclose(coefficients.std(axis=1, ddof=1), 1, atol=1e-3)
    assert (flat[np.abs(flat).argmax(0), np.arange(3)] > 0).all()


def test_regressor_rows_are_convex_and_find_the_centre_of_a_ball() -> None:
    rng = np.random.default_rng(0)
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.1).vertices
    scale = rng.uniform(0.8, 1.2, (30, 1, 1))
    shift = rng.standard_normal((30, 1, 3))
    bodies = (ball * scale + shift).astype(np.float32)
    joints = shift + scale * 0
    weights = np.ones((len(ball), 1), np.float32)
    regressor = fit_joint_regressor(bodies, joints, weights, (-1,))
    assert regressor.min() >= 0
    assert regressor.sum() == pytest.approx(1)
    assert (regressor > 0).sum() < len(ball) / 2
    np.testing.assert_allclose(regressor @ bodies[0], joints[0], atol=1e-3)


def test_corrective_vanishes_at_rest_and_away_from_the_joint() -> None:
    """A bar along x bent at the origin: only vertices shared by both bones get correctives."""
    x = np.linspace(-0.5, 0.5, 21)
    bar = np.stack([x, np.full(21, 0.05), np.zeros(21)], axis=1)
    share = np.clip(x / 0.2 + 0.5, 0, 1)
    weights = np.stack([1 - share, share], axis=1)
    posedirs = pose_correctives(bar, np.zeros((2, 3)), weights, (-1, 0))
    assert posedirs.shape == (21, 3, 9)
    moved = np.abs(posedirs).max(axis=(1, 2)) > 0
    shared = (share > 0.02) & (share < 0.98)
    np.testing.assert_array_equal(moved, shared)
    # Bent by 90 degrees, linear blending pulls the elbow in; the corrective pushes it out again.
    R = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    middle = 10
    blended = 0.5 * (np.eye(3) + R)
    offset = posedirs[middle] @ (R - np.eye(3)).ravel()
    plain = np.linalg.norm(blended @ bar[middle])
    assert plain < np.linalg.norm(blended @ (bar[middle] + offset)) < np.linalg.norm(bar[middle]) * 1.05


def test_closest_points_and_their_weights() -> None:
    triangles = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 5], [1, 0, 5], [0, 1, 5]]], float)
    points = np.array([[0.25, 0.25, 0.3], [2.0, 0.0, 4.8]])
    places, faces = closest_points(triangles, points)
    np.testing.assert_allclose(places, [[0.25, 0.25, 0], [1, 0, 5]])
    np.testing.assert_array_equal(faces, [0, 1])
    np.testing.assert_allclose(barycentric(triangles[faces], places), [[0.5, 0.25, 0.25], [0, 1, 0]])


def test_anchor_weights_are_one_at_their_anchor_and_shared_between() -> None:
    factors = BodyFactors(
        gender=0.25,
        age=0.0,
        muscle=0.5,
        weight=0.75,
        proportions=0.5,
        cup=0.0,
        firmness=1.0,
        races=(0.2, 0.3, 0.5),
        height=1.0,
    )
    weights = factors.anchor_weights()
    assert weights["female"] == 0.75
    assert weights["averagemuscle"] == 1
    assert weights["averageweight"] == weights["maxweight"] == 0.5
    assert weights["uncommonproportions"] == weights["idealproportions"] == 0
    assert weights["maxheight"] == 1
    assert weights["caucasian"] == 0.5
