"""SA-HMR's own evaluation gives the same numbers (goldens/sahmr_metrics.npz)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipelines.geometry.signed_distance import SdfGrid
from pipelines.metrics.penetration import penetration, signed_distances
from pipelines.metrics.truth import joint_errors


@pytest.fixture(scope="module")
def golden(goldens_folder):
    return np.load(goldens_folder / "sahmr_metrics.npz", allow_pickle=False)


@pytest.fixture(scope="module")
def drawn(golden):
    """Truth, prediction, joint regressor and grid, drawn in the order of the recording."""
    rng = np.random.default_rng(int(golden["seed"]))
    single = np.float32
    truth = ((0.8, 0.3, 1.2) + 0.4 * rng.standard_normal((6890, 3))).astype(single)
    prediction = (truth + 0.1 * rng.standard_normal((6890, 3))).astype(single)
    regressor = np.abs(rng.standard_normal((17, 6890))) * (rng.random((17, 6890)) < 0.001)
    regressor[:, 0] += 0.1
    regressor = (regressor / regressor.sum(axis=1, keepdims=True)).astype(single)
    values = torch.tensor((0.2 * rng.standard_normal((16, 16, 16))).astype(single))
    grid = SdfGrid(values, torch.tensor([-0.5, -1.0, 0.2]), torch.tensor([2.5, 1.4, 2.0]))
    return SimpleNamespace(truth=truth, prediction=prediction, regressor=regressor, grid=grid)


def test_distances_and_pene_equal_the_originals(golden, drawn):
    distances = signed_distances(drawn.prediction[None], np.eye(4), drawn.grid)
    np.testing.assert_allclose(
        distances[0, golden["sdf_at_pred/idx"]], golden["sdf_at_pred/val"], atol=1e-6
    )
    assert penetration(distances)["pene_v1"].value == pytest.approx(
        float(golden["metric_PenE"]), rel=1e-6
    )


def test_joint_errors_equal_the_originals(golden, drawn):
    regressor = drawn.regressor.astype(np.float64)
    errors = joint_errors(
        regressor @ drawn.prediction.astype(np.float64), regressor @ drawn.truth.astype(np.float64)
    )
    for ours, theirs in (
        ("g_mpjpe_h36m14_v1", "metric_G_MPJPE"),
        ("mpjpe_h36m14_v1", "metric_MPJPE"),
        ("pa_mpjpe_h36m14_v1", "metric_PA_MPJPE"),
    ):
        assert 1000 * errors[ours] == pytest.approx(float(golden[theirs]), rel=1e-6)
