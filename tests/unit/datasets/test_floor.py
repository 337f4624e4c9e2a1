from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipelines.datasets.floor import (
    estimate_floor,
    floor_in_camera,
    read_humor_floor,
    read_humor_planes,
)
from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.scenes import read_scan_mesh
from pipelines.errors import DataInvalid, DataMissing
from pipelines.geometry.transforms import rigid, transform_points


def sheet(low: tuple[float, float], high: tuple[float, float], z: float, cells: int) -> tuple:
    x, y = np.meshgrid(
        np.linspace(low[0], high[0], cells + 1), np.linspace(low[1], high[1], cells + 1), indexing="ij"
    )
    vertices = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, z)])
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + cells + 1, corner + cells + 2, corner + 1
    return vertices, np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])


def join(*parts: tuple) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces, first = [], [], 0
    for v, f in parts:
        vertices.append(v)
        faces.append(f + first)
        first += len(v)
    return np.concatenate(vertices), np.concatenate(faces)


def room(floor_cells: int = 30) -> tuple[np.ndarray, np.ndarray]:
    floor = sheet((-2, -2), (2, 2), -0.7, floor_cells)
    table = sheet((0, 0), (1.2, 1.2), 0.05, 60)  # scanned far more finely than the floor
    wall_vertices, wall_faces = sheet((-2, -0.7), (2, 1.5), 2.0, 20)
    return join(floor, table, (wall_vertices[:, [0, 2, 1]], wall_faces))


@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(-1, 1), st.sampled_from([1, 30]), st.integers(0, 1000)
)
def test_tilted_and_noisy_floors_are_found_to_a_millimetre(roll, pitch, height, cells, seed):
    vertices, faces = room(cells)
    R = Rotation.from_euler("xy", [roll, pitch], degrees=True).as_matrix()
    T = rigid(R, np.array([0, 0, height]))
    vertices = transform_points(T, vertices)
    noise = np.random.default_rng(seed).normal(0, 0.001, len(vertices)) if cells > 1 else 0
    vertices[:, 2] += noise
    plane = estimate_floor(vertices, faces)
    ends = transform_points(T, np.array([[-2.0, -2, -0.7], [2, -2, -0.7], [2, 2, -0.7], [0, 0, -0.7]]))
    np.testing.assert_allclose(ends @ plane[:3] - plane[3], 0, atol=1e-3)
    assert np.linalg.norm(plane[:3]) == pytest.approx(1)
    assert plane[2] > 0.99


def test_a_little_rubbish_below_the_floor_does_not_pull_it_down():
    """Reflections in a polished floor are scanned as small patches below it."""
    vertices, faces = join(room(), sheet((-1, -1), (-0.6, -0.6), -1.1, 10))
    assert estimate_floor(vertices, faces)[3] == pytest.approx(-0.7, abs=1e-6)


def test_clutter_on_the_floor_does_not_lift_it():
    rng = np.random.default_rng(0)
    mats = [sheet((x, y), (x + 0.4, y + 0.4), -0.69, 4) for x, y in rng.uniform(-2, 1.6, (8, 2))]
    vertices, faces = join(room(), *mats)
    assert estimate_floor(vertices, faces)[3] == pytest.approx(-0.7, abs=3e-3)


def test_a_bed_larger_than_the_seen_floor_is_not_the_floor():
    floor = sheet((-1, -2), (1, -1), -0.5, 10)
    bed = sheet((-1, -1), (1, 1), 0.0, 10)
    assert estimate_floor(*join(floor, bed))[3] == pytest.approx(-0.5, abs=1e-6)


def test_faces_turned_over_count_as_well():
    vertices, faces = room()
    assert estimate_floor(vertices, faces[:, ::-1])[3] == pytest.approx(-0.7, abs=1e-6)


def test_a_scan_without_level_surface_is_refused():
    vertices, faces = sheet((-1, -1), (1, 1), 0.0, 3)
    with pytest.raises(DataInvalid, match="no floor"):
        estimate_floor(vertices[:, [0, 2, 1]], faces, source="wall.ply")


def test_the_fixtures_floor_in_its_camera(pristine):
    layout = ProxLayout(pristine.base)
    mesh = read_scan_mesh(layout.scan("Boxroom"))
    np.testing.assert_allclose(
        estimate_floor(mesh.vertices_world, mesh.faces), [0, 0, 1, -0.7], atol=1e-9
    )


def write_floor(tree, text: str) -> ProxLayout:
    layout = ProxLayout(tree.base)
    layout.humor_floor("Boxroom").parent.mkdir()
    layout.humor_floor("Boxroom").write_text(text)
    return layout


def test_humors_floor_comes_first_unless_the_scan_is_asked_for(tree):
    layout = write_floor(tree, "0.0 -1.0 0.0 -1.25\n")
    T = np.array([[1.0, 0, 0, 0.1], [0, 0, 1, -1.8], [0, -1, 0, 0.2], [0, 0, 0, 1]])
    assert floor_in_camera(layout, "Boxroom", T, "auto").tolist() == [0, -1, 0, -1.25]
    scan = floor_in_camera(layout, "Boxroom", T, "scan")
    np.testing.assert_allclose(scan, [0, -1, 0, -0.9], atol=1e-9)


def test_humors_floor_is_turned_to_point_up(tree):
    layout = write_floor(tree, "0.0 1.0 0.0 1.25")
    assert read_humor_floor(layout.humor_floor("Boxroom")).tolist() == [0, -1, 0, -1.25]


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d", "0 -2 0 1", "nan nan nan nan", "1 0 0 1"])
def test_a_wrong_floor_file_is_refused_by_name(tree, text):
    layout = write_floor(tree, text)
    with pytest.raises(DataInvalid, match=r"Boxroom\.txt"):
        read_humor_floor(layout.humor_floor("Boxroom"))


def test_an_absent_floor_file_is_told(tree):
    with pytest.raises(DataMissing, match=r"Boxroom\.txt[\s\S]*prox\.floor"):
        floor_in_camera(ProxLayout(tree.base), "Boxroom", np.eye(4), "humor_floors")


def write_planes(tree, vectors: list[list[float]], shares: list[int]) -> ProxLayout:
    """Camera-frame vectors (normal times offset) stored in PlaneRCNN's axes (x, z, -y)."""
    layout = ProxLayout(tree.base)
    folder = layout.humor_planes("Boxroom")
    folder.mkdir(parents=True)
    stored = np.array([[x, z, -y] for x, y, z in vectors], np.float32)
    masks = np.zeros((len(vectors), 48, 64), bool)
    for mask, share in zip(masks, shares, strict=True):
        mask[-10:, :share] = True
    np.save(folder / "0_plane_parameters_0.npy", stored)
    np.save(folder / "0_plane_masks_0.npy", masks)
    return layout


def test_the_plane_at_the_bottom_of_the_image_is_the_floor(tree):
    floor = [0.0, 0.9 * np.cos(0.2), 0.9 * np.sin(0.2)]
    wall, ceiling = [0.0, 0.1, 3.0], [0.0, -1.5, 0.0]
    layout = write_planes(tree, [ceiling, wall, floor], [0, 60, 40])
    plane = read_humor_planes(layout.humor_planes("Boxroom"))
    np.testing.assert_allclose(plane, [0, -np.cos(0.2), -np.sin(0.2), -0.9], atol=1e-6)


def test_planes_without_a_floor_are_refused(tree):
    layout = write_planes(tree, [[3.0, 0.1, 0.0]], [10])
    with pytest.raises(DataInvalid, match="no plane could be the floor"):
        read_humor_planes(layout.humor_planes("Boxroom"))
    with pytest.raises(DataMissing, match="Elsewhere"):
        read_humor_planes(layout.humor_planes("Elsewhere"))
