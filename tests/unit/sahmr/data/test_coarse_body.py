"""On the stand-in body, which has the true topology and file formats."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.bodies.downsample import read_mesh_pyramid
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.parts import contact_labels_smplh
from pipelines.errors import DataInvalid, DataMissing
from sahmr.data.coarse_body import kept_vertices, load_categories, load_template, read_part_info


@pytest.fixture(scope="module")
def files():
    return resolve_body_files(None)


def test_template_stands_on_its_head_round_its_pelvis(files):
    """Camera y points down: the head is up, at negative y."""
    template = load_template(files)
    assert (template.joints.shape, template.vertices.shape) == ((14, 3), (431, 3))
    right_ankle, head = template.joints[0], template.joints[13]
    assert head[1] < -0.4 < 0.5 < right_ankle[1]
    assert float(template.joints[[2, 3]].mean(dim=0).norm()) < 0.15  # between the hips
    assert template.joints[0, 0] < 0 < template.joints[5, 0]  # it faces the camera


def test_kept_vertices_are_rows_of_the_full_body(files):
    pyramid = read_mesh_pyramid(files.downsampling)
    kept = kept_vertices(pyramid)
    values = np.random.default_rng(0).standard_normal((6890, 2))
    np.testing.assert_array_equal(values[kept], pyramid.coarsen(values, levels=2))
    assert len(np.unique(kept)) == 431


def test_eight_categories_are_the_labels_of_the_kept_vertices(files):
    categories = load_categories(files, 8)
    kept = kept_vertices(read_mesh_pyramid(files.downsampling))
    assert categories.part_of_vertex.tolist() == contact_labels_smplh(files)[kept].tolist()
    assert set(categories.part_of_vertex.tolist()) <= set(range(8))


def test_one_category_is_the_union_of_the_parts(files):
    eight, one = load_categories(files, 8), load_categories(files, 2)
    assert torch.equal(one.part_of_vertex != 0, eight.part_of_vertex != 0)


def test_vertex_categories_know_their_mirror(files):
    categories = load_categories(files, 432)
    mirror = np.array(categories.mirror[1:]) - 1
    assert categories.count == 432
    template = load_template(files).vertices.numpy()
    off = np.linalg.norm(template[mirror] * [-1, 1, 1] - template, axis=1)
    assert np.median(off) < 0.02


def test_other_numbers_of_classes_are_refused(files):
    with pytest.raises(DataInvalid, match=r"no set of contact categories[\s\S]*found: 5"):
        load_categories(files, 5)


def test_part_file_of_the_authors_is_read(tmp_path, files):
    labels = np.arange(431) % 8
    content = {"predefined_segparts": ["default"] * 8, "verts431_pids": labels.astype(np.float64)}
    np.save(tmp_path / "seg_part_info.npy", content)
    assert read_part_info(tmp_path / "seg_part_info.npy").tolist() == labels.tolist()
    categories = load_categories(files, 8, tmp_path / "seg_part_info.npy")
    assert categories.part_of_vertex.tolist() == labels.tolist()


def test_wrong_part_files_are_refused(tmp_path):
    path = tmp_path / "seg_part_info.npy"
    with pytest.raises(DataMissing, match="part file not found"):
        read_part_info(path)
    path.write_bytes(b"nothing")
    with pytest.raises(DataInvalid, match="no npy file"):
        read_part_info(path)
    for content in ({"other": 1}, {"verts431_pids": np.full(431, 9.0)}, {"verts431_pids": np.zeros(7)}):
        np.save(path, content)
        with pytest.raises(DataInvalid, match="no class per coarse vertex"):
            read_part_info(path)
