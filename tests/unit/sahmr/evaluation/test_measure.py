"""Rows whose error is known, on bodies that stand on a floor."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from sahmr.evaluation.measure import measure_rows
from sahmr.evaluation.rows import FittedRow, PlacedBodies, SahmrRow, TrueRow
from sahmr.networks.sahmr import Sahmr
from sahmr.types import BodyTemplate


@dataclass(frozen=True)
class Shifted:
    """The truth, moved."""

    shift: tuple[float, float, float]
    broken: str = ""

    def __call__(self, batch, true_vertices_camera):
        bodies = true_vertices_camera + torch.tensor(self.shift)
        bodies[[name == self.broken for name in batch.sample_ids]] = torch.nan
        return PlacedBodies(bodies, notes={"moved": len(batch)})


@pytest.fixture(scope="module")
def sahmr_row(small_sahmr, supervision):
    """A reduced network that finds roots near 3 m and contact nearly everywhere."""
    torch.manual_seed(0)
    network = Sahmr(small_sahmr)
    with torch.no_grad():
        network.rcnet.root_net.maps.weight[1] = 0
        network.rcnet.root_net.maps.bias[1] = 1.5
        network.rcnet.contact_net.classifier[0].bias[4 + 1] += 3
    template = BodyTemplate(0.3 * torch.randn(14, 3), 0.3 * torch.randn(431, 3))
    return SahmrRow(network.eval(), template, supervision)


def test_the_truth_has_no_error_and_sinks_as_deep_as_it_does(eval_samples, yardstick):
    ids, rows = measure_rows(eval_samples, range(6), {"dataset_gt": TrueRow()}, yardstick, 4)
    values = rows["dataset_gt"].values
    assert set(values) == {"pene_v1", "confe_v1"}
    assert ids.recording[0] == "A_00034_01"
    assert ids.subject[2:4] == ("00159", "00159")
    for row, sample in enumerate(eval_samples.collection):
        height = -vertices_of(eval_samples, yardstick, row)[:, 1] + 1.2
        assert values["pene_v1"][row] == pytest.approx(-height[height < 0].sum(), abs=1e-4)
        touching = sample.vertex_category > 0
        assert touching.any()
        confe = np.abs(height[touching | (height < 0)]).sum()
        assert values["confe_v1"][row] == pytest.approx(confe, abs=1e-3)


def test_a_shift_is_seen_globally_and_gone_once_aligned(eval_samples, yardstick):
    shifted = Shifted((0.03, 0.0, 0.04))
    _, rows = measure_rows(eval_samples, [1, 4], {"metro": shifted}, yardstick, 8)
    values = rows["metro"].values
    np.testing.assert_allclose(values["g_mpve_v1"], 0.05, atol=1e-5)
    # The regressor's rows do not sum to exactly one.
    np.testing.assert_allclose(values["g_mpjpe_v1"], 0.05, atol=1e-4)
    np.testing.assert_allclose(values["mpve_v1"], 0, atol=1e-4)
    np.testing.assert_allclose(values["body_contact_recall_v1"], 1)
    assert rows["metro"].notes == {"moved": 2}


def test_a_body_lifted_off_the_floor_touches_nothing(eval_samples, yardstick):
    lifted = Shifted((0.0, -0.2, 0.0))
    _, rows = measure_rows(eval_samples, range(2), {"metro": lifted}, yardstick, 2)
    values = rows["metro"].values
    np.testing.assert_array_equal(values["pene_v1"], 0)
    np.testing.assert_array_equal(values["body_contact_recall_v1"], 0)
    assert np.isnan(values["body_contact_precision_v1"]).all()


def test_a_prediction_that_is_not_finite_is_marked(eval_samples, yardstick):
    row = Shifted((0.0, 0.0, 0.0), broken="A_00034_01/frame_1")
    _, rows = measure_rows(eval_samples, range(6), {"metro": row}, yardstick, 3)
    np.testing.assert_array_equal(rows["metro"].finite, [True, False, True, True, True, True])
    assert np.isnan(rows["metro"].values["pene_v1"][1])


def test_without_grids_pene_and_confe_are_absent(eval_samples, yardstick):
    without = replace(yardstick, grid=None)
    _, rows = measure_rows(eval_samples, [0], {"metro": Shifted((0.0, 0.0, 0.0))}, without, 1)
    assert "pene_v1" not in rows["metro"].values
    assert "g_mpve_v1" in rows["metro"].values


def test_a_sample_without_fit_is_marked(eval_samples, yardstick):
    fitted = {"A_00034_01/frame_0": vertices_of(eval_samples, yardstick, 0).astype(np.float32)}
    _, rows = measure_rows(eval_samples, range(2), {"dataset_gt": FittedRow(fitted)}, yardstick, 2)
    np.testing.assert_array_equal(rows["dataset_gt"].finite, [True, False])
    assert rows["dataset_gt"].values["g_mpve_v1"][0] == pytest.approx(0, abs=1e-6)


def test_networks_do_not_depend_on_the_batch(eval_samples, yardstick, sahmr_row):
    results = [
        measure_rows(eval_samples, places, {"sahmr_8": sahmr_row}, yardstick, batch_size)
        for places, batch_size in (([0, 3, 5], 3), ([0, 3, 5], 1))
    ]
    together, alone = (rows["sahmr_8"].values for _, rows in results)
    assert set(together) == set(alone)
    assert "scene_contact_recall_v1" in together
    for key, values in together.items():
        np.testing.assert_allclose(values, alone[key], atol=2e-4, err_msg=key)


def vertices_of(samples, yardstick, place):
    """Camera frame."""
    from sahmr.data.collate import collate

    return yardstick.pose(collate([samples[place]]))[0].double().numpy()
