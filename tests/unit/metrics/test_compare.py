import dataclasses

import pytest

from pipelines.errors import DataInvalid
from pipelines.metrics.compare import compare, compare_files, differences_in_meaning
from pipelines.metrics.summary import MetricsTable, summarise


@pytest.fixture(scope="module")
def table(measured):
    return summarise([measured("Room_00001_01"), measured("Room_00002_01")])


def _with_provenance(table: MetricsTable, **changes: str) -> MetricsTable:
    return dataclasses.replace(table, provenance={**table.provenance, **changes})


def test_equal_definitions_give_a_table_of_differences(table, measured):
    other = summarise([measured("Room_00001_01", scale=2.0), measured("Room_00002_01", scale=2.0)])
    rows = {(row.method, row.key): row for row in compare(table, other)}
    row = rows["prox_style", "v2v_v1"]
    assert row.change == pytest.approx(60.0, abs=0.01)
    assert row.ratio == pytest.approx(0.5, abs=1e-3)
    assert rows["prox_humor", "v2v_v1"].change == 0.0


def test_two_files_are_compared_as_text(table, tmp_path):
    for name in ("a.json", "b.json"):
        table.write(tmp_path / name)
    text = compare_files(tmp_path / "a.json", tmp_path / "b.json")
    assert "v2v_v1.visible" in text
    assert max(len(line) for line in text.splitlines()[2:]) <= 120
    assert "…" not in text
    _with_provenance(table, topology="smplx_10475").write(tmp_path / "b.json")
    with pytest.raises(DataInvalid, match="model topology: smplh_6890 / smplx_10475"):
        compare_files(tmp_path / "a.json", tmp_path / "b.json")


def test_values_counts_and_code_version_may_differ(table):
    assert compare(table, dataclasses.replace(table, code="another"))


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("frames_hash", "frames"),
        ("keypoint_source", "keypoint source"),
        ("keypoints_hash", "keypoints"),
        ("topology", "model topology"),
        ("bodies", "body models"),
        ("sdf_source", "signed distance source"),
        ("sdf_hash", "signed distance values"),
        ("sdf_convention", "signed distance convention"),
        ("confidence_threshold", "confidence threshold"),
        ("joint_set", "joint set"),
        ("projection", "projection"),
    ],
)
def test_results_that_measure_another_thing_are_refused(table, field, named):
    with pytest.raises(DataInvalid, match=f"must not be compared[\\s\\S]*{named}: .* / other"):
        compare(table, _with_provenance(table, **{field: "other"}))


def test_the_refusal_lists_every_difference(table):
    other = _with_provenance(table, topology="smplx_10475", joint_set="all25")
    assert differences_in_meaning(table, other) == [
        "joint set: body25_without_1_9_12 / all25",
        "model topology: smplh_6890 / smplx_10475",
    ]


def test_other_frames_are_refused(table, measured):
    other = summarise([measured("Room_00001_01"), measured("Room_00009_01")])
    with pytest.raises(DataInvalid, match=r"recordings: .*Room_00009_01"):
        compare(table, other)


def test_another_version_of_a_definition_is_refused(table):
    groups = {
        group: {
            method: {key.replace("reproj_rms_v1", "accel_v1"): cell for key, cell in row.items()}
            for method, row in rows.items()
        }
        for group, rows in table.groups.items()
    }
    with pytest.raises(DataInvalid, match=r"definitions of prox_humor: reproj_rms_v1 \(px\)"):
        compare(table, dataclasses.replace(table, groups=groups))
