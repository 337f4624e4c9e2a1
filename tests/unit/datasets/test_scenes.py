from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from pipelines.datasets.layout import ProxLayout
from pipelines.datasets.scenes import check_same_room, read_grid_box, read_scan_mesh, read_scene
from pipelines.errors import DataInvalid, DataMissing
from pipelines.records import SceneScan


def read(tree, *, with_normals: bool = False) -> SceneScan:
    return read_scene(ProxLayout(tree.base), "Boxroom", with_normals=with_normals, mismatch_m=0.05)


def sdf_file(tree):
    return tree.base / "sdf" / "Boxroom_sdf.npy"


def test_mesh_and_grid_are_read(pristine):
    scene = read(pristine)
    assert scene.sdf_m.shape == (32, 32, 32)
    assert scene.sdf_m.dtype == np.float32
    assert scene.sdf_min_world.tolist() == [-2.5, -2.5, -1.2]
    # cell [ix, iy, iz] = distance to the floor z = -0.7 right below the middle of the ceiling
    assert scene.sdf_m[16, 3, 8] == pytest.approx(-1.2 + 8 * 3.2 / 31 + 0.7, abs=1e-5)
    assert scene.faces.shape[1] == 3
    assert scene.colors is not None
    np.testing.assert_allclose(scene.colors[0], (1, 128 / 255, 0), atol=1e-9)


def test_vertex_order_is_that_of_the_file(pristine):
    mesh = read_scan_mesh(ProxLayout(pristine.base).scan("Boxroom"))
    np.testing.assert_allclose(mesh.vertices_world[:3], [(-2, -2, -0.7), (-2, 0, -0.7), (-2, 2, -0.7)])


def test_cubic_and_double_grids_are_as_good(tree):
    flat = np.load(sdf_file(tree))
    np.save(sdf_file(tree), flat.reshape(32, 32, 32).astype(np.float64))
    np.testing.assert_array_equal(read(tree).sdf_m.ravel(), flat)


def test_normals_are_read_when_asked_for(tree):
    with pytest.raises(DataMissing, match="Boxroom_normals"):
        read(tree, with_normals=True)
    np.save(tree.base / "sdf" / "Boxroom_normals.npy", np.zeros((32, 32, 32, 3), np.float32))
    normals = read(tree, with_normals=True).sdf_normals
    assert normals is not None
    assert normals.shape == (32, 32, 32, 3)
    assert read(tree).sdf_normals is None


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros(31**3, np.float32), r"float32 of shape \(29791,\)"),
        (np.zeros((32, 32), np.float32), r"\(32, 32\)"),
        (np.zeros(32**3, np.int32), "int32"),
        (np.full(32**3, np.nan, np.float32), "NaN"),
    ],
)
def test_grids_of_the_wrong_shape_or_content_are_refused(tree, values, found):
    np.save(sdf_file(tree), values)
    with pytest.raises(DataInvalid, match=rf"Boxroom_sdf[\s\S]*{found}|{found}[\s\S]*Boxroom_sdf"):
        read(tree)


@pytest.mark.parametrize("keep", [0, 50, 5000])
def test_truncated_grids_are_refused(tree, keep):
    sdf_file(tree).write_bytes(sdf_file(tree).read_bytes()[:keep])
    with pytest.raises(DataInvalid, match="Boxroom_sdf"):
        read(tree)


def test_grids_with_objects_are_refused(tree):
    np.save(sdf_file(tree), np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataInvalid, match="Boxroom_sdf"):
        read(tree)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"min": [0, 0, 0], "max": [1, 1, 1]},
        {"min": [0, 0], "max": [1, 1, 1], "dim": 32},
        {"min": [0, 0, 2], "max": [1, 1, 1], "dim": 32},
        {"min": [0, 0, 0], "max": [1, 1, 1], "dim": 1},
        {"min": [0, 0, 0], "max": [1, 1, 1], "dim": [32, 32, 64]},
        {"min": [0, 0, float("nan")], "max": [1, 1, 1], "dim": 32},
    ],
)
def test_a_wrong_box_is_refused(tmp_path, content):
    path = tmp_path / "Boxroom.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataInvalid, match=r"Boxroom\.json"):
        read_grid_box(path)


def test_an_sdf_of_another_room_is_refused(tree):
    """The same walls, but the floor half a metre lower and the table elsewhere."""
    axis = [np.linspace(low, high, 32) for low, high in ((-2.5, 2.5), (-2.5, 2.5), (-1.2, 2.0))]
    x, y, z = np.meshgrid(*axis, indexing="ij")
    other = np.minimum.reduce([z + 1.2, 2.4 - y, x + 2.4])
    np.save(sdf_file(tree), other.astype(np.float32).ravel())
    with pytest.raises(DataInvalid, match=r"not of the scan Boxroom[\s\S]*Boxroom_sdf[\s\S]*median"):
        read(tree)


def test_an_sdf_in_another_frame_is_refused(tree):
    path = tree.base / "sdf" / "Boxroom.json"
    box = json.loads(path.read_text())
    box["min"][2] += 1.0
    box["max"][2] += 1.0
    path.write_text(json.dumps(box))
    with pytest.raises(DataInvalid, match="not of the scan"):
        read(tree)


def test_a_scan_far_outside_its_grid_is_refused_although_border_values_are_small(pristine):
    scene = read(pristine)
    shifted = SceneScan(
        name="far",
        vertices_world=scene.vertices_world + 50,
        faces=scene.faces,
        sdf_m=np.zeros_like(scene.sdf_m),
        sdf_min_world=scene.sdf_min_world,
        sdf_max_world=scene.sdf_max_world,
    )
    with pytest.raises(DataInvalid, match="not of the scan far"):
        check_same_room(shifted, 0.05, source="sdf")


def test_a_scan_with_much_that_its_sdf_lacks_is_warned_of(pristine, caplog):
    scene = read(pristine)
    rubbish = np.random.default_rng(0).uniform(
        (-1, -1, 0.2), (0.5, 0.5, 1), (len(scene.vertices_world) // 3, 3)
    )
    more = SceneScan(
        name="cluttered",
        vertices_world=np.concatenate([scene.vertices_world, rubbish]),
        faces=scene.faces,
        sdf_m=scene.sdf_m,
        sdf_min_world=scene.sdf_min_world,
        sdf_max_world=scene.sdf_max_world,
    )
    with caplog.at_level(logging.WARNING):
        assert check_same_room(more, 0.05, source="sdf") < 0.05
    assert "cluttered: only" in caplog.text


@pytest.mark.parametrize("content", [b"", b"ply\nformat ascii 1.0\nelement vertex 3\n", b"\x00" * 100])
def test_a_broken_scan_is_refused(tree, content):
    ProxLayout(tree.base).scan("Boxroom").write_bytes(content)
    with pytest.raises(DataInvalid, match=r"Boxroom\.ply"):
        read(tree)


def test_a_truncated_scan_is_refused(tree):
    path = ProxLayout(tree.base).scan("Boxroom")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataInvalid, match=r"Boxroom\.ply"):
        read(tree)


def test_a_scan_with_nan_is_refused(tree):
    path = ProxLayout(tree.base).scan("Boxroom")
    path.write_text(path.read_text().replace("-2.000000 -2.000000 -0.700000", "nan 0 0", 1))
    with pytest.raises(DataInvalid, match="finite vertices"):
        read(tree)


@pytest.mark.parametrize("file", ["scenes/Boxroom.ply", "sdf/Boxroom.json", "sdf/Boxroom_sdf.npy"])
def test_absent_files_are_named(tree, file):
    (tree.base / file).unlink()
    with pytest.raises(DataMissing, match=file.replace(".", r"\.")):
        read(tree)
