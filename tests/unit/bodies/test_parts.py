from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.bodies.downsample import read_mesh_pyramid
from pipelines.bodies.files import BodyFiles
from pipelines.bodies.joints import SMPLH_JOINTS, SMPLX_JOINTS
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.bodies.parts import (
    CONTACT_PARTS,
    PROX_CONTACT_PARTS,
    contact_labels_smplh,
    head_vertices_smplh,
    head_vertices_smplx,
    read_contact_parts,
    read_segment,
)
from pipelines.errors import DataInvalid, DataMissing


def test_parts_are_disjoint_and_in_prox_order(files: BodyFiles) -> None:
    parts = read_contact_parts(files.segments)
    assert tuple(parts) == PROX_CONTACT_PARTS
    everything = np.concatenate(list(parts.values()))
    assert len(np.unique(everything)) == len(everything)
    np.testing.assert_array_equal(
        read_segment(files.segments, "butt"), read_segment(files.segments, "gluteus")
    )


def test_legs_are_the_soles_of_the_feet(files: BodyFiles) -> None:
    template = load_smplx(files, "neutral").skinning.template.numpy()
    parts = read_contact_parts(files.segments)
    lowest = template[:, 1].min()
    for part, sign in (("L_Leg", 1), ("R_Leg", -1)):
        sole = template[parts[part]]
        assert (sole[:, 1] < lowest + 0.06).all()
        assert (sign * sole[:, 0] > 0.02).all()
        assert np.ptp(sole[:, 2]) > 0.2  # from heel to toes


def test_parts_lie_where_their_names_say(files: BodyFiles) -> None:
    body = load_smplx(files, "neutral")
    template = body.skinning.template.numpy()
    joints = body.skinning.joint_template.numpy()
    place = {name: template[ids].mean(0) for name, ids in read_contact_parts(files.segments).items()}
    at = {
        name: joints[SMPLX_JOINTS.index(name)] for name in ("pelvis", "spine2", "left_wrist", "left_hip")
    }
    assert place["L_Hand"][0] > at["left_wrist"][0]
    assert place["R_Hand"][0] < -at["left_wrist"][0]
    assert place["back"][1] > at["spine2"][1] - 0.05
    assert place["back"][2] < at["spine2"][2]
    assert place["gluteus"][2] < at["pelvis"][2]
    assert place["thighs"][1] < at["left_hip"][1] - 0.1


def test_labels_follow_sahmr_order_and_the_segments(files: BodyFiles) -> None:
    labels = contact_labels_smplh(files)
    assert labels.shape == (6890,)
    assert sorted(np.unique(labels)) == list(range(8))
    template = load_smplh(files, "neutral").skinning.template.numpy()
    assert CONTACT_PARTS[4:6] == ("back", "gluteus")
    assert template[labels == 5][:, 1].mean() > template[labels == 6][:, 1].mean()
    assert template[labels == 1][:, 1].max() < template[:, 1].min() + 0.06


def test_head_is_above_the_shoulders_in_both_models(files: BodyFiles) -> None:
    smplx, smplh = load_smplx(files, "neutral"), load_smplh(files, "neutral")
    ids = head_vertices_smplx(files.segments)
    shoulder = smplx.skinning.joint_template[SMPLX_JOINTS.index("left_shoulder"), 1]
    assert smplx.skinning.template[ids][:, 1].mean() > shoulder
    ids = head_vertices_smplh(files)
    shoulder = smplh.skinning.joint_template[SMPLH_JOINTS.index("left_shoulder"), 1]
    assert smplh.skinning.template[ids][:, 1].mean() > shoulder
    assert len(ids) > 500


def test_duplicate_ids_in_a_segment_count_once(tmp_path: Path) -> None:
    (tmp_path / "back.json").write_text('{"verts_ind": [5, 3, 5], "faces_ind": []}')
    np.testing.assert_array_equal(read_segment(tmp_path, "back"), [3, 5])


def test_broken_and_missing_segments_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "back.json").write_text("[1, 2")
    with pytest.raises(DataInvalid, match=r"(?s)verts_ind.*back\.json"):
        read_segment(tmp_path, "back")
    with pytest.raises(DataMissing, match=r"(?s)L_Leg\.json.*body_segments\.zip"):
        read_segment(tmp_path, "L_Leg")


def test_pyramid_goes_down_by_picking_and_back_within_millimetres(files: BodyFiles) -> None:
    pyramid = read_mesh_pyramid(files.downsampling)
    template = load_smplh(files, "neutral").skinning.template.double().numpy()
    coarse = pyramid.coarsen(template, levels=2)
    assert coarse.shape == (431, 3)
    assert {tuple(row) for row in coarse} <= {tuple(row) for row in template}
    back = pyramid.refine(coarse, levels=2)
    assert np.linalg.norm(back - template, axis=1).mean() < 0.008
    middle = pyramid.refine(pyramid.coarsen(template))
    assert np.linalg.norm(middle - template, axis=1).mean() < 0.003
    assert [matrix.nnz for matrix in pyramid.adjacency] == [41328, 10326, 2574]
    for matrix in pyramid.up:
        np.testing.assert_allclose(np.asarray(matrix.sum(1)).ravel(), 1)


def test_pyramid_of_other_sizes_is_refused(tmp_path: Path) -> None:
    matrices = np.empty(1, dtype=object)
    matrices[0] = np.eye(3)
    path = tmp_path / "mesh_downsampling.npz"
    np.savez(path, A=matrices, U=matrices, D=matrices)
    with pytest.raises(DataInvalid, match="other sizes"):
        read_mesh_pyramid(path)
