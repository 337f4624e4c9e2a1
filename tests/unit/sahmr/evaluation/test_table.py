"""Pooling, intervals, groups, and what may be compared."""

import json

import numpy as np
import pytest

from pipelines.errors import DataInvalid, DataMissing
from pipelines.metrics.compare import compare_files
from sahmr.evaluation.report import console_text, markdown
from sahmr.evaluation.sample_errors import (
    RowErrors,
    SampleIds,
    read_sample_errors,
    write_sample_errors,
)
from sahmr.evaluation.table import Evaluation, RowDescription, evaluation_table

IDS = SampleIds(
    tuple(f"r{n // 2}/f{n}" for n in range(8)),
    tuple(f"r{n // 2}" for n in range(8)),
    ("A",) * 4 + ("B",) * 4,
    ("P", "Q") * 4,
)
PROVENANCE = {"reference": "true bodies", "bodies": "stand-in bodies", "sdf_source": "exact"}


def row(values, key="g_mpjpe_v1", finite=None, **more):
    values = {key: np.asarray(values, float), **{k: np.asarray(v, float) for k, v in more.items()}}
    return RowErrors(values, np.ones(8, bool) if finite is None else np.asarray(finite), {})


def evaluation(rows, provenance=PROVENANCE, ids=IDS):
    table = evaluation_table(ids, rows, provenance, "synthetic")
    return Evaluation(table, {name: RowDescription(name, "made up") for name in rows})


def test_means_over_images_in_the_metrics_unit():
    table = evaluation({"metro": row(np.arange(8) / 100)}).table
    assert table.cell("metro", "g_mpjpe_v1").value == pytest.approx(35.0)
    assert table.cell("metro", "g_mpjpe_v1", "scene A").value == pytest.approx(15.0)
    assert table.cell("metro", "g_mpjpe_v1", "subject Q").value == pytest.approx(40.0)
    assert table.cell("metro", "g_mpjpe_v1", "recording r3").value == pytest.approx(65.0)


def test_intervals_come_from_recordings_and_only_from_enough_of_them():
    """Samples differ within recordings only: no recording differs from another, so nothing is uncertain."""
    table = evaluation({"metro": row([0.01, 0.03] * 4)}).table
    assert table.cell("metro", "g_mpjpe_v1").interval == pytest.approx((20.0, 20.0))
    assert table.cell("metro", "g_mpjpe_v1", "scene A").interval is None
    spread = evaluation({"metro": row(np.repeat([0.01, 0.02, 0.03, 0.04], 2))}).table
    low, high = spread.cell("metro", "g_mpjpe_v1").interval
    assert 10 < low < 25 < high < 40


def test_rows_are_held_against_metro():
    table = evaluation({"sahmr_8": row([0.1] * 8), "metro": row([0.3] * 8)}).table
    assert table.methods == ("metro", "sahmr_8")
    cell = table.cell("sahmr_8", "g_mpjpe_v1")
    assert cell.ratio == pytest.approx(3)
    assert cell.ratio_interval == pytest.approx((3, 3))


def test_undefined_scores_are_left_out_and_counted():
    recall = [1.0, np.nan, 0.5, np.nan, np.nan, np.nan, np.nan, np.nan]
    table = evaluation({"metro": row([0.1] * 8, body_contact_recall_v1=recall)}).table
    cell = table.cell("metro", "body_contact_recall_v1")
    assert (cell.value, cell.count, dict(cell.skipped)) == (75.0, 2, {"undefined": 6})


def test_no_contact_anywhere_gives_no_score_and_no_failure():
    found = evaluation({"metro": row([0.1] * 8, body_contact_recall_v1=[np.nan] * 8)})
    cell = found.table.cell("metro", "body_contact_recall_v1")
    assert np.isnan(cell.value)
    assert (cell.count, cell.interval) == (0, None)
    assert "–" in markdown(found)


def test_a_prediction_that_is_not_finite_leaves_its_sample_out_of_all_rows():
    finite = np.arange(8) != 3
    values = np.where(finite, 0.1, np.nan)
    found = evaluation(
        {"sahmr_8": row(values, finite=finite), "metro": row([0.2] * 3 + [9] + [0.2] * 4)}
    )
    assert found.table.data.num_frames == 7
    assert found.table.cell("metro", "g_mpjpe_v1").value == pytest.approx(200)
    assert found.table.warnings == ("sahmr_8: 1 prediction(s) not finite, left out: r1/f3",)
    assert "r1/f3" in markdown(found)


def test_nothing_finite_and_nothing_at_all_are_refused():
    with pytest.raises(DataInvalid, match="no sample has a finite prediction"):
        evaluation({"metro": row([np.nan] * 8, finite=np.zeros(8, bool))})
    with pytest.raises(DataInvalid, match="nothing to evaluate"):
        evaluation({}, ids=SampleIds((), (), (), ()))


def test_the_report_shows_what_was_trained_and_labels_what_was_published():
    found = evaluation({"metro": row([0.3] * 8, pene_v1=[2.0] * 8), "sahmr_8": row([0.1] * 8)})
    text = markdown(found)
    assert "| sahmr_8 | made up | 100.0 [100.0, 100.0] |" in text
    assert "| *SA-HMR-432* | *paper, RICH* | *275.6* |" in text
    assert "| sahmr_432 |" not in text
    assert "| sahmr_8 | G-MPJPE | 3.00 [3.00, 3.00] | yes |" in text
    assert "## G-MPJPE by scene (mm)" in text
    console = console_text(found)
    assert "SA-HMR-432" in console
    assert "by scene" not in console


def test_equal_protocols_are_compared_and_others_refused(tmp_path):
    first = evaluation({"metro": row([0.3] * 8), "sahmr_8": row([0.2] * 8)})
    second = evaluation({"metro": row([0.3] * 8), "sahmr_8": row([0.1] * 8)})
    first.write(tmp_path / "a.json")
    second.write(tmp_path / "b.json")
    text = compare_files(tmp_path / "a.json", tmp_path / "b.json")
    assert "sahmr_8" in text
    assert "2.00" in text
    other_reference = evaluation({"metro": row([0.3] * 8)}, PROVENANCE | {"reference": "fitted bodies"})
    other_samples = evaluation(
        {"metro": row([0.3] * 8)}, ids=SampleIds(tuple("abcdefgh"), *([IDS.recording] * 3))
    )
    for other, why in ((other_reference, "reference"), (other_samples, "frames")):
        other.write(tmp_path / "c.json")
        with pytest.raises(DataInvalid, match=why):
            compare_files(tmp_path / "a.json", tmp_path / "c.json")


def test_the_file_says_what_the_numbers_mean(tmp_path):
    evaluation({"metro": row([0.3] * 8)}).write(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["schema"] == "sahmr evaluation 1"
    assert content["definitions"]["g_mpjpe_v1"]["unit"] == "mm"
    assert content["rows"]["metro"]["data"] == "made up"
    assert content["published"]["rows"]["SA-HMR-8"]["pene_v1"] == 14.9


def test_sample_errors_round_trip(tmp_path):
    rows = {
        "metro": row(np.arange(8), finite=np.arange(8) > 0),
        "sahmr_8": row([0.5] * 8, key="pene_v1"),
    }
    write_sample_errors(tmp_path / "errors.npz", IDS, rows)
    ids, again = read_sample_errors(tmp_path / "errors.npz")
    assert ids == IDS
    assert list(again) == ["metro", "sahmr_8"]
    np.testing.assert_array_equal(again["metro"].values["g_mpjpe_v1"], np.arange(8))
    np.testing.assert_array_equal(again["metro"].finite, rows["metro"].finite)
    assert set(again["sahmr_8"].values) == {"pene_v1"}


def test_sample_errors_refuse_other_files(tmp_path):
    with pytest.raises(DataMissing, match="not found"):
        read_sample_errors(tmp_path / "errors.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataInvalid, match="no errors of an evaluation"):
        read_sample_errors(tmp_path / "other.npz")
