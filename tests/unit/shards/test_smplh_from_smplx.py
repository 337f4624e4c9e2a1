"""SMPL-X bodies carried over to SMPL+H: as exact as flat hands allow, and the error told."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from pipelines.bodies.correspondence import smplx_to_smplh_vertices
from pipelines.bodies.files import resolve_body_files
from pipelines.bodies.model import load_smplh, load_smplx
from pipelines.metrics.anatomy import load_anatomy
from pipelines.records import SmplxParameters
from pipelines.shards.smplh_from_smplx import smplh_from_smplx

FILES = resolve_body_files(None)
SIZES = {
    "betas": 10, "expression": 10, "global_orient": 3, "body_pose": 63, "jaw_pose": 3, "leye_pose": 3,
    "reye_pose": 3, "left_hand_pose": 12, "right_hand_pose": 12, "transl": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> SmplxParameters:
    """Six bodies of two people in poses of all kinds, faces neutral."""
    rng = np.random.default_rng(3)
    values = {name: np.zeros((6, size)) for name, size in SIZES.items()}
    values["betas"] = np.repeat(rng.standard_normal((2, 10)), 3, axis=0)
    values["global_orient"] = rng.normal(0, 1.5, (6, 3))
    values["body_pose"] = rng.normal(0, 0.3, (6, 63))
    values["transl"] = rng.normal(0, 2, (6, 3))
    values["left_hand_pose"] = rng.normal(0, 0.5, (6, 12))
    return SmplxParameters(**values)


@pytest.fixture(scope="module", params=["male", "female"])
def carried(request, drawn):
    """Gender, SMPL-X vertices on the SMPL+H topology, the conversion, its vertices."""
    gender = request.param
    found = smplh_from_smplx(FILES, gender, drawn)
    tensors = {f.name: torch.tensor(getattr(drawn, f.name)).float() for f in fields(drawn)}
    true = smplx_to_smplh_vertices(FILES, load_smplx(FILES, gender)(**tensors).vertices).numpy()
    converted = {
        f.name: torch.from_numpy(getattr(found.parameters, f.name)) for f in fields(found.parameters)
    }
    return true, found, load_smplh(FILES, gender, 16)(**converted).vertices.numpy()


def test_all_but_the_hands_lie_on_the_true_body(carried):
    true, _, vertices = carried
    gap = np.linalg.norm(vertices - true, axis=-1)
    gap -= np.linalg.norm((vertices - true).mean(axis=1, keepdims=True), axis=-1)
    hands = load_anatomy(FILES).hand_vertices
    assert gap[:, hands].mean() < 0.05
    assert gap[:, ~hands].mean() < 0.004


def test_the_error_is_the_one_measured_on_the_stored_bodies(carried):
    true, found, vertices = carried
    measured = np.linalg.norm(vertices - true, axis=-1).mean(axis=1)
    np.testing.assert_allclose(found.v2v_m, measured, atol=2e-6)
    assert found.v2v_m.max() < 0.008


def test_bodies_are_as_shards_store_them(carried):
    parameters = carried[1].parameters
    assert parameters.betas.shape == (6, 16)
    assert all(getattr(parameters, f.name).dtype == np.float32 for f in fields(parameters))
