"""Scan, floor and distance grid of rooms whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.capture.floor import find_floor
from pipelines.capture.scan import Scan, read_scan, rims, turned_to, without_dust
from pipelines.capture.sdf import build_grid, signed_distance
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.meshes import RayCaster
from pipelines.geometry.transforms import rigid
from pipelines.synthetic.layout import look_at
from pipelines.synthetic.primitives import Solid, union_distance
from pipelines.synthetic.scan import ply_bytes

Mesh = Callable[..., tuple[np.ndarray, np.ndarray]]
POSE = look_at(np.array([0.3, -2.3, 1.6]), np.array([-0.1, 0.6, 0.7]), 0.02)


def scan_of(as_mesh: Mesh, solids: tuple[Solid, ...], edge_m: float = 0.1) -> Scan:
    vertices, faces = as_mesh(solids, edge_m)
    return Scan(vertices, faces, None)


def test_a_ply_in_millimetres_comes_out_in_metres(tmp_path: Path, as_mesh: Mesh) -> None:
    vertices, faces = as_mesh((Solid("cube", "box", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),), 5.0)
    colors = np.full(vertices.shape, 51, np.uint8)
    path = tmp_path / "scan.ply"
    path.write_bytes(ply_bytes((vertices * 1000).astype(np.float32), faces, colors))
    scan = read_scan(path, 0.001)
    assert np.ptp(scan.vertices_world, axis=0) == pytest.approx([2, 2, 2])
    assert len(scan.vertices_world) == 8  # the sides' corners are merged
    assert scan.face_areas.sum() == pytest.approx(24)
    assert scan.colors is not None
    assert scan.colors[0] == pytest.approx([0.2, 0.2, 0.2])


def test_point_clouds_and_absent_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    with pytest.raises(DataInvalid, match=r"no triangle mesh|cannot be read"):
        read_scan(tmp_path / "points.obj", 1.0)
    with pytest.raises(DataMissing, match="scan not found"):
        read_scan(tmp_path / "none.ply", 1.0)


def test_dust_is_left_out_and_a_rim_is_measured(as_mesh: Mesh) -> None:
    room = (
        Solid("floor", "box", (0.0, 0.0, -0.1), (1.0, 1.0, 0.1), front="+z"),
        Solid("speck", "box", (0.0, 0.0, 1.0), (0.01, 0.01, 0.01)),
    )
    scan, dust = without_dust(scan_of(as_mesh, room), 0.01)
    assert dust == 6  # the sides of the speck are not joined before merging
    assert rims(scan) == [pytest.approx(8.0)]


def test_faces_that_point_away_are_turned(as_mesh: Mesh, solids: tuple[Solid, ...]) -> None:
    scan = scan_of(as_mesh, solids)
    caster = RayCaster(scan.vertices_world, scan.faces)
    kept, share, flipped = turned_to(scan, caster, POSE[:3, 3])
    assert (share, flipped) == (1.0, False)
    away = Scan(scan.vertices_world, scan.faces[:, ::-1].copy(), None)
    turned, share, flipped = turned_to(away, caster, POSE[:3, 3])
    assert (share, flipped) == (0.0, True)
    np.testing.assert_allclose(turned.face_normals, kept.face_normals)


def test_faces_turned_at_random_are_refused(as_mesh: Mesh, solids: tuple[Solid, ...]) -> None:
    scan = scan_of(as_mesh, solids)
    faces = scan.faces.copy()
    faces[::2] = faces[::2, ::-1]
    with pytest.raises(DataInvalid, match="oriented at random"):
        turned_to(
            Scan(scan.vertices_world, faces, None), RayCaster(scan.vertices_world, faces), POSE[:3, 3]
        )


@pytest.mark.parametrize("up", ["+z", "-z", "+y", "-y", "+x", "-x", "oblique"])
def test_the_floor_is_found_whatever_is_up(as_mesh: Mesh, solids: tuple[Solid, ...], up: str) -> None:
    turns = {"+z": (0, 0, 0), "-z": (np.pi, 0, 0), "+y": (-np.pi / 2, 0, 0), "-y": (np.pi / 2, 0, 0)}
    turns |= {"+x": (0, np.pi / 2, 0), "-x": (0, -np.pi / 2, 0), "oblique": (0.5, 0.3, 0)}
    T = rigid(cv2.Rodrigues(np.array(turns[up], float))[0], np.array([0.4, -1.2, 2.0]))
    floor = find_floor(scan_of(as_mesh, solids).moved(T), T @ POSE)
    assert up in (floor.up_axis, "oblique")
    assert floor.tilt_deg < 0.01
    assert floor.camera_height_m == pytest.approx(1.6, abs=1e-3)
    assert floor.residual_m < 1e-3
    assert floor.area_m2 == pytest.approx(26.1, rel=0.01)  # and the undersides of table and box
    assert np.allclose(floor.T_upright_from_scan, np.eye(4)) == (up == "+z")


def test_no_floor_below_the_camera_is_said(as_mesh: Mesh, solids: tuple[Solid, ...]) -> None:
    with pytest.raises(DataInvalid, match="no level surface below the camera"):
        find_floor(scan_of(as_mesh, solids[1:3]), POSE)


def test_signed_distance_of_a_closed_room(as_mesh: Mesh) -> None:
    vertices, faces = as_mesh((Solid("room", "box", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),), 0.5)
    inward = Scan(vertices, faces[:, ::-1].copy(), None)
    points = np.array([[0, 0, 0], [0.9, 0, 0], [1.2, 0, 0], [0, -1.3, 0], [0.7, 0.8, -0.6]], float)
    np.testing.assert_allclose(
        signed_distance(inward, points, None), [1, 0.1, -0.2, -0.3, 0.2], atol=1e-9
    )


def test_a_hole_in_the_floor_is_closed_by_its_plane(as_mesh: Mesh, solids: tuple[Solid, ...]) -> None:
    scan = scan_of(as_mesh, solids)
    hole = np.linalg.norm(scan.face_centers - [0, -1, 0], axis=1) < 0.6
    holed = scan.keep(~hole)
    above = np.array([[0.0, -1.0, 0.1], [0.0, -1.0, -0.2]])
    floor = np.array([0.0, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(signed_distance(holed, above, floor), [0.1, -0.2], atol=1e-9)
    assert signed_distance(holed, above, None)[0] > 0.4


def test_the_grid_of_a_noisy_open_scan_has_the_true_signs(
    as_mesh: Mesh, solids: tuple[Solid, ...]
) -> None:
    scan = scan_of(as_mesh, solids, 0.05)
    noise = np.random.default_rng(0).normal(0, 0.002, scan.vertices_world.shape)
    noisy = Scan(scan.vertices_world + noise, scan.faces, None)
    grid = build_grid(noisy, 64, 0.3, np.array([0.0, 0.0, 1.0, 0.0]))
    axes = [np.linspace(grid.min_world[k], grid.max_world[k], 64) for k in range(3)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    big = 20.0
    truth = union_distance(
        (
            Solid("floor", "box", (0.0, 0.0, -big), (big, big, big)),
            Solid("wall", "box", (0.0, 2.5 + big, 0.0), (big, big, big)),
            Solid("side", "box", (-2.5 - big, 0.0, 0.0), (big, big, big)),
            *solids[3:],
        ),
        nodes,
    )
    known = (np.abs(nodes[:, :2]) < 2.5).all(axis=1) & (nodes[:, 2] < 2.4)
    near = known & (np.abs(truth) < 0.3)
    values = grid.values_m.reshape(-1)
    assert ((values < 0) != (truth < 0))[near & (np.abs(truth) > 0.01)].mean() < 0.01
    assert np.median(np.abs(values - truth)[near & (truth > 0)]) < 0.004
