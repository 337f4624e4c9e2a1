import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from pipelines.errors import DataInvalid, DataMissing
from pipelines.metrics.bootstrap import draw_recordings, interval, resampled_values
from pipelines.metrics.definitions import DEFINITIONS
from pipelines.metrics.evaluate import RecordingMetrics, evaluate_recording
from pipelines.metrics.settings import MetricSettings
from pipelines.metrics.summary import family_group, read_table, summarise
from pipelines.metrics.tables import format_value, markdown, print_table, write_markdown
from pipelines.metrics.tally import Tally, pool


@pytest.fixture(scope="module")
def table(measured):
    recordings = [
        measured("Room_00001_01", "walk_01"),
        measured("Room_00002_01", "sit", scale=2.0),
        measured("Room_00003_01", "sit", scale=3.0),
    ]
    return summarise(recordings, preset="first-run")


def test_a_shifted_body_has_the_errors_of_its_shift(measured):
    metrics = measured()
    style, humor = metrics.methods["prox_style"], metrics.methods["prox_humor"]
    assert style["v2v_v1"].value == pytest.approx(60.0, abs=0.01)
    assert humor["v2v_v1"].value == pytest.approx(20.0, abs=0.01)
    assert humor["accel_error_v1"].value == pytest.approx(0.0, abs=0.01)
    assert humor["skate_slide_v1"].value == pytest.approx(10.0, abs=0.01)
    assert humor["seam_jump_v1"].value == pytest.approx(1.0, abs=1e-4)
    assert math.isnan(style["seam_jump_v1"].value)
    # Detections lie 5 px from the true joints; depth 3 m and f 1000: 20 mm are 6.67 px.
    assert metrics.methods["truth"]["reproj_pooled_v1"].value == pytest.approx(5.0, abs=1e-3)
    assert humor["reproj_truth_v1"].value == pytest.approx(20 / 3, rel=0.02)


def test_vertices_below_the_floor_are_measured_in_the_world(measured):
    metrics = measured()
    # The floor is 1 m below the camera; the cloud ends 5 mm above it, so 20 mm down sinks its bottom.
    assert metrics.methods["truth"]["pen_fraction_v1"].value == 0.0
    assert math.isnan(metrics.methods["truth"]["pen_pooled_v1"].value)
    humor, style = metrics.methods["prox_humor"], metrics.methods["prox_style"]
    assert 0.5 < humor["pen_pooled_v1"].value < 1.0  # uniform to 1.5 cm: mean 0.75 cm
    assert 2.5 < style["pen_pooled_v1"].value < 3.0  # uniform to 5.5 cm: mean 2.75 cm


def test_measuring_in_pieces_changes_nothing(measured, monkeypatch):
    whole = measured()
    monkeypatch.setattr("pipelines.metrics.evaluate._FRAMES_AT_ONCE", 5)
    pieces = measured.__wrapped__()
    for key, tally in whole.methods["prox_style"].items():
        assert pieces.methods["prox_style"][key].count == tally.count
        assert pieces.methods["prox_style"][key].value == pytest.approx(tally.value, nan_ok=True)


def test_recording_metrics_survive_json(measured, tmp_path):
    metrics = measured()
    metrics.write(tmp_path / "metrics.json")
    again = RecordingMetrics.from_json(json.loads((tmp_path / "metrics.json").read_text()))
    assert again == metrics


def test_the_same_input_gives_the_same_bytes(measured, tmp_path):
    measure_again = measured.__wrapped__  # past the cache
    for name in ("a", "b"):
        rooms = [measure_again(room) for room in ("Room_00001_01", "Room_00002_01", "Room_00003_01")]
        rooms[0].write(tmp_path / name)
        summarise(rooms).write(tmp_path / f"{name}.table")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a.table").read_bytes() == (tmp_path / "b.table").read_bytes()


def test_pooling_adds_sums_and_reasons():
    pooled = pool([Tally("pen_pooled_v1", 0.02, 1, {"a": 1}), Tally("pen_pooled_v1", 0.12, 3, {"a": 2})])
    assert pooled.value == pytest.approx(3.5)
    assert pooled.skipped == {"a": 3}
    rms = pool([Tally("reproj_rms_v1", 25.0, 1), Tally("reproj_rms_v1", 144.0, 1)])
    assert rms.value == pytest.approx(9.1924, abs=1e-4)
    jump = pool([Tally("seam_jump_v1", 6.0, 2, {}, 3.0, 3), Tally("seam_jump_v1", 0.0, 0, {}, 3.0, 3)])
    assert jump.value == pytest.approx(3.0)


def test_ratio_is_baseline_over_method(table):
    cell = table.cell("prox_humor", "v2v_v1")
    assert table.baseline == "prox_style"
    assert cell.value == pytest.approx(20.0, abs=0.01)
    assert cell.ratio == pytest.approx((60 + 120 + 180) / 3 / 20, abs=0.01)
    assert table.cell("prox_style", "v2v_v1").ratio == pytest.approx(1.0)


def test_intervals_resample_recordings(table):
    low, high = table.cell("prox_style", "v2v_v1").interval
    assert low == pytest.approx(60.0, abs=0.01)
    assert high == pytest.approx(180.0, abs=0.01)
    low, high = table.cell("prox_humor", "v2v_v1").interval
    assert high - low == pytest.approx(0.0, abs=0.01)


def test_two_recordings_are_too_few_for_an_interval(measured):
    cell = summarise([measured("a"), measured("b")]).cell("prox_humor", "v2v_v1")
    assert cell.interval is None
    assert cell.ratio_interval is None


def test_bootstrap_is_deterministic_and_pairs_its_draws():
    draws = draw_recordings(4, 500, seed=1)
    np.testing.assert_array_equal(draws, draw_recordings(4, 500, seed=1))
    tallies = [Tally("v2v_v1", total, 10) for total in (0.1, 0.2, 0.3, 0.4)]
    half = [Tally("v2v_v1", t.total / 2, 10) for t in tallies]
    ratio = resampled_values(tallies, draws) / resampled_values(half, draws)
    assert interval(ratio) == pytest.approx((2.0, 2.0))
    assert interval(np.array([np.nan])) is None


def test_recordings_are_grouped_by_motion_family(table):
    assert table.group_recordings["walks"] == ("Room_00001_01",)
    assert table.group_recordings["procedural"] == ("Room_00002_01", "Room_00003_01")
    assert table.cell("prox_style", "v2v_v1", "walks").value == pytest.approx(60.0, abs=0.01)
    assert table.cell("prox_style", "v2v_v1", "procedural").value == pytest.approx(150.0, abs=0.01)
    assert [family_group(name) for name in ("walk_07", "cmu_35", "sit_down")] == [
        "walks",
        "walks",
        "procedural",
    ]


def test_the_result_file_carries_everything_section_9_asks_for(table, tmp_path):
    table.write(tmp_path / "metrics.json")
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert set(record["provenance"]) >= {
        "frames_hash",
        "keypoint_source",
        "topology",
        "sdf_source",
        "sdf_convention",
        "confidence_threshold",
        "joint_set",
        "projection",
    }
    assert record["code"]
    cell = record["groups"]["all"]["prox_humor"]["pen_pooled_v1"]
    assert set(cell) >= {"definition", "value", "unit", "count", "skipped"}
    for key in record["groups"]["all"]["prox_humor"]:
        assert record["definitions"][key.partition(".")[0]]["unit"]
    assert record["published"]["pen_pooled_v1"]["ratio"] == 2.33


def test_table_survives_json(table, tmp_path):
    table.write(tmp_path / "metrics.json")
    again = read_table(tmp_path / "metrics.json")
    assert markdown(again) == markdown(table)
    assert again.to_json().keys() == table.to_json().keys()
    assert math.isnan(again.cell("prox_style", "seam_jump_v1").value)


def test_reading_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataMissing, match="make pseudo-gt"):
        read_table(tmp_path / "absent.json")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(DataInvalid, match="not a metrics table"):
        read_table(tmp_path / "other.json")


def test_console_table_fits_120_columns_and_says_what_data_it_is(table):
    stream = io.StringIO()
    print_table(table, Console(file=stream, width=120), full=True)
    text = stream.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 120
    assert (
        "synthetic data, preset first-run: 3 recordings, 36 frames common to all methods; not named"
        in text
    )
    assert "…" not in text
    for title in ("PROX-style fit", "PROX+HuMoR", "truth (noise floor)"):
        assert title in text
    assert "published: PROX (RGBD)" in text
    assert "3.15 ÷ 2.33" in text
    assert "10.89 ÷ 1.78" in text
    assert "36 of 36 frames with the person seen are valid (100.0 %" in text


def test_markdown_names_definitions_and_counts(table, tmp_path):
    write_markdown(tmp_path / "metrics.md", table)
    text = (tmp_path / "metrics.md").read_text()
    assert "| PROX+HuMoR | " in text
    assert "`v2v_v1.visible` n 18;" in text
    assert "`seam_jump_v1` n 0/66;" in text


def test_values_are_printed_with_sensible_digits():
    printed = [format_value(v) for v in (math.nan, 0.0, 0.01234, 3.14159, 123.456, 12345.6)]
    assert printed == ["–", "0", "0.012", "3.14", "123.5", "12346"]


def test_a_recording_that_lacks_a_method_is_left_out_for_all_and_named(measured):
    whole, broken = measured("a"), measured("b")
    lacking = RecordingMetrics.from_json(broken.to_json())
    methods = {name: row for name, row in lacking.methods.items() if name != "prox_humor"}
    broken = RecordingMetrics.from_json(
        broken.to_json() | {"methods": {m: broken.to_json()["methods"][m] for m in methods}}
    )
    table = summarise([whole, broken])
    assert table.data.recordings == ("a",)
    assert table.data.left_out == {"b": "no fit of prox_humor"}


def test_of_two_baselines_the_commoner_is_the_row(measured):
    released = measured("c").to_json()
    released["methods"]["proxd"] = released["methods"].pop("prox_style")
    table = summarise([measured("a"), measured("b"), RecordingMetrics.from_json(released)])
    assert table.baseline == "prox_style"
    assert "proxd" not in table.methods
    assert table.data.left_out == {"c": "no fit of prox_style"}


def test_nothing_to_summarise_is_an_error():
    with pytest.raises(DataInvalid, match="no recording has frames"):
        summarise([])


def test_recordings_measured_with_other_options_are_not_pooled(measured):
    with pytest.raises(DataInvalid, match=r"different options \(confidence_threshold\)"):
        summarise([measured("a"), measured("b", confidence_threshold=0.5)])


def test_truth_without_its_track_is_refused(recording):
    with pytest.raises(ValueError, match="truth_track and anatomy"):
        evaluate_recording(
            {}, {}, recording.observations, recording.scene, recording.truth, None, MetricSettings()
        )


def test_without_truth_the_table_has_no_truth_columns(recording, shifted):
    track = shifted(recording.truth_track, "prox_style", (0.0, 0.02, 0.0))
    metrics = evaluate_recording(
        {"prox_style": track}, {}, recording.observations, recording.scene, None, None, MetricSettings()
    )
    table = summarise([metrics])
    assert table.data.kind == "real"
    assert table.methods == ("prox_style",)
    assert table.cell("prox_style", "v2v_v1") is None
    assert table.cell("prox_style", "pen_pooled_v1").value > 0
    print_table(table, Console(file=io.StringIO(), width=120))


def test_every_key_has_a_definition_with_a_version(table):
    assert all(key == definition.id for key, definition in DEFINITIONS.items())
    assert all(key.endswith("_v1") for key in DEFINITIONS)


def test_too_few_valid_frames_are_warned_of(recording, shifted):
    track = shifted(recording.truth_track, "prox_style", (0.0, 0.0, 0.0))
    track.valid[:1] = False
    metrics = evaluate_recording(
        {"prox_style": track}, {}, recording.observations, recording.scene, None, None, MetricSettings()
    )
    assert metrics.warnings == (
        "prox_style: only 91.7 % of the 12 frames with the person seen are valid (demanded: 98 %)",
    )
