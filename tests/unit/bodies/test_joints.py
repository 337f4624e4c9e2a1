from __future__ import annotations

import numpy as np
import pytest
from smplx.vertex_ids import vertex_ids

from pipelines.bodies import joints


def test_body25_maps_are_those_of_prox_and_humor() -> None:
    smplh = "52 12 17 19 21 16 18 20 0 2 5 8 1 4 7 53 54 55 56 57 58 59 60 61 62"
    assert tuple(int(text) for text in smplh.split()) == joints.BODY25_FROM_SMPLH
    assert (
        55,
        12,
        17,
        19,
        21,
        16,
        18,
        20,
        0,
        2,
        5,
        8,
        1,
        4,
        7,
        *range(56, 66),
    ) == joints.BODY25_FROM_SMPLX


def test_hand_maps_put_ring_before_pinky_although_the_model_has_pinky_first() -> None:
    # fmt: off
    left = (20, 37, 38, 39, 66, 25, 26, 27, 67, 28, 29, 30, 68, 34, 35, 36, 69, 31, 32, 33, 70)
    right = (21, 52, 53, 54, 71, 40, 41, 42, 72, 43, 44, 45, 73, 49, 50, 51, 74, 46, 47, 48, 75)
    # fmt: on
    assert left == joints.LEFT_HAND_FROM_SMPLX
    assert right == joints.RIGHT_HAND_FROM_SMPLX
    assert joints.PROX118_FROM_SMPLX[25:67] == left + right
    assert joints.PROX118_FROM_SMPLX[67:] == tuple(range(76, 127))


def test_picked_vertices_are_those_smplx_hard_codes() -> None:
    assert set(joints.PICKED_SMPLX) == set(vertex_ids["smplx"].values())
    assert set(joints.PICKED_SMPLH) == set(vertex_ids["smplh"].values())
    for ids, model in ((joints.PICKED_SMPLX, "smplx"), (joints.PICKED_SMPLH, "smplh")):
        named = dict(zip(joints.PICKED_NAMES, ids, strict=True))
        assert named["left_heel"] == vertex_ids[model]["LHeel"]
        assert named["right_ring_tip"] == vertex_ids[model]["rring"]


@pytest.mark.parametrize(
    ("flip", "names"),
    [
        (joints.BODY25_FLIP, joints.BODY25_NAMES),
        (joints.SMPL_FLIP, joints.SMPL_BODY_JOINTS),
        (joints.FACE51_FLIP, None),
        (joints.PROX118_FLIP, None),
    ],
)
def test_flips_are_their_own_inverse_and_swap_names(flip, names) -> None:
    table = np.array(flip)
    assert (table[table] == np.arange(len(table))).all()
    for name, partner in zip(names or (), table, strict=False):
        swapped = name.replace("left", "?").replace("right", "left").replace("?", "right")
        assert names[partner] == swapped


def test_humor_tree_differs_from_the_kinematic_tree_at_the_collars_only() -> None:
    pairs = zip(joints.HUMOR_PARENTS, joints.SMPL_PARENTS, strict=True)
    differing = [joints.SMPL_BODY_JOINTS[k] for k, (a, b) in enumerate(pairs) if a != b]
    assert differing == ["left_collar", "right_collar"]


def test_every_list_has_its_length() -> None:
    assert len(joints.SMPLX_JOINTS) == len(joints.SMPLX_PARENTS) == 55
    assert len(joints.SMPLH_JOINTS) == len(joints.SMPLH_PARENTS) == 52
    assert len(joints.PROX118_FROM_SMPLX) == len(joints.PROX118_FLIP) == 118
    assert len(set(joints.HUMOR_KEY_VERTICES)) == 43
    assert len(joints.H36M_NAMES) == 17
    assert len(joints.H36M14) == 14
