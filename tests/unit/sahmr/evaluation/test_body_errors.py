"""Body and scene errors equal SA-HMR's (goldens/metrics_losses_supervision.npz), and hand-made values."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.metrics.penetration import signed_distances
from sahmr.evaluation.body_errors import BODY_KEYS, body_errors, scene_fit

IN_MM = ("g_mpjpe", "g_mpve", "mpjpe", "mpve", "pa_mpjpe")


@pytest.fixture(scope="module")
def golden(goldens_folder):
    return np.load(goldens_folder / "metrics_losses_supervision.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def drawn(golden):
    """Truth, prediction, regressor, grid and contact, drawn in the order of the recording."""
    rng = np.random.default_rng(int(golden["seed"]))
    truth = ((0.8, 0.3, 1.2) + 0.4 * rng.standard_normal((6890, 3))).astype(np.float32)
    prediction = (truth + 0.1 * rng.standard_normal((6890, 3))).astype(np.float32)
    regressor = np.abs(rng.standard_normal((17, 6890))) * (rng.random((17, 6890)) < 0.001)
    regressor[:, 0] += 0.1
    regressor = (regressor / regressor.sum(axis=1, keepdims=True)).astype(np.float32)
    values = torch.tensor((0.2 * rng.standard_normal((16, 16, 16))).astype(np.float32))
    grid = SdfGrid(values, torch.tensor([-0.5, -1.0, 0.2]), torch.tensor([2.5, 1.4, 2.0]))
    contact = rng.random(6890) < 0.2
    return SimpleNamespace(
        truth=truth,
        prediction=prediction,
        regressor=regressor.astype(np.float64),
        grid=grid,
        contact=contact,
    )


def test_body_errors_equal_the_originals(golden, drawn):
    errors = body_errors(drawn.prediction, drawn.truth, drawn.regressor, drawn.contact)
    for name in IN_MM:
        theirs = float(golden[f"metric_{name.upper()}"])
        assert 1000 * errors[f"{name}_v1"] == pytest.approx(theirs, rel=2e-6), name
    theirs = float(golden["metric_C_HSCP_L2"])
    assert 1000 * errors["contact_l2_v1"] == pytest.approx(theirs, rel=2e-6)


def test_pene_and_confe_equal_the_originals(golden, drawn):
    distances = signed_distances(drawn.prediction[None], np.eye(4), drawn.grid)[0]
    nothing = np.zeros(6890, dtype=bool)
    assert scene_fit(distances, nothing) == pytest.approx(float(golden["metric_PenE"]), rel=2e-6)
    assert scene_fit(distances, drawn.contact) == pytest.approx(float(golden["metric_ConFE"]), rel=2e-6)


def test_scene_fit_by_hand():
    distances = np.array([0.02, -0.01, -0.03, 0.05])
    nothing = np.zeros(4, dtype=bool)
    assert scene_fit(distances, np.array([True, True, False, False])) == pytest.approx(0.06)
    assert scene_fit(distances, nothing) == pytest.approx(0.04)
    assert scene_fit(np.abs(distances), nothing) == 0


def test_a_body_beside_the_truth_by_hand(drawn):
    """Everything is shifted by (3, 0, 4) cm: 5 cm globally, nothing once the pelvis is aligned."""
    regressor = drawn.regressor / drawn.regressor.sum(axis=1, keepdims=True)
    truth = drawn.truth.astype(np.float64)
    errors = body_errors(truth + np.array([0.03, 0.0, 0.04]), truth, regressor, drawn.contact)
    for key in ("g_mpjpe_v1", "g_mpve_v1", "pelvis_mesh_v1"):
        assert errors[key] == pytest.approx(0.05)
    for key in ("mpjpe_v1", "mpve_v1", "pa_mpjpe_v1", "contact_l2_v1"):
        assert errors[key] == pytest.approx(0.0, abs=1e-9)


def test_moving_both_bodies_changes_nothing(drawn):
    regressor = drawn.regressor / drawn.regressor.sum(axis=1, keepdims=True)
    R, t = Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix(), np.array([4.0, -2.0, 1.0])
    before = body_errors(drawn.prediction, drawn.truth, regressor, drawn.contact)
    bodies = (points.astype(np.float64) @ R.T + t for points in (drawn.prediction, drawn.truth))
    assert body_errors(*bodies, regressor, drawn.contact) == pytest.approx(before, rel=1e-6)


def test_contact_error_is_divided_by_all_vertices(drawn):
    some = np.zeros(6890, dtype=bool)
    assert body_errors(drawn.prediction, drawn.truth, drawn.regressor, some)["contact_l2_v1"] == 0
    every = body_errors(drawn.prediction, drawn.truth, drawn.regressor, ~some)
    assert every["contact_l2_v1"] == pytest.approx(every["mpve_v1"])


def test_a_prediction_that_is_not_finite_has_no_error(drawn):
    broken = drawn.prediction.copy()
    broken[17, 1] = np.nan
    errors = body_errors(broken, drawn.truth, drawn.regressor, drawn.contact)
    assert set(errors) == set(BODY_KEYS)
    assert all(np.isnan(value) for value in errors.values())
