from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import write_npz
from pipelines.errors import DataInvalid
from pipelines.metrics.settings import MetricSettings
from pipelines.records import BodyTrack, SceneScan, SequenceObservations
from pipelines.report.measures import (
    CONTACT_PERCENT,
    DEPTH_MAX_CM,
    DEPTH_MEAN_CM,
    INSIDE_PERCENT,
    REPROJECTION_PX,
    STEP_MM,
    V2V_MM,
    FrameMeasures,
    measure_frames,
    read_measures,
    write_measures,
)


@pytest.fixture
def measures(track: BodyTrack, observations: SequenceObservations, scene: SceneScan) -> FrameMeasures:
    truth = replace(track, vertices_camera=track.vertices_camera + np.float32(0.004))
    window_id = np.array([0, 0, 1, 1, 2, 2])
    return measure_frames(
        {"refined": track}, observations, scene, None, truth, window_id, MetricSettings(), 0.02
    )


def test_every_figure_by_hand(measures: FrameMeasures) -> None:
    row = {name: values[0] for name, values in measures.methods["refined"].items()}
    assert row[DEPTH_MAX_CM] == pytest.approx(6.0, abs=1e-4)
    assert row[DEPTH_MEAN_CM] == pytest.approx((10 * 3 + 6) / 11, abs=1e-4)
    assert row[INSIDE_PERCENT] == pytest.approx(100 * 11 / 6890)
    assert row[CONTACT_PERCENT] == pytest.approx(100 * 20 / 6890)
    assert row[REPROJECTION_PX] == pytest.approx(5.0)
    assert row[V2V_MM] == pytest.approx(4 * np.sqrt(3), rel=1e-4)


def test_frames_without_a_valid_body_are_nan_and_not_zero(measures: FrameMeasures) -> None:
    assert all(np.isnan(values[5]) for values in measures.methods["refined"].values())


def test_steps_do_not_cross_segments(measures: FrameMeasures) -> None:
    steps = measures.methods["refined"][STEP_MM]
    np.testing.assert_allclose(steps[1:4], 2.0, rtol=1e-4)
    assert np.isnan(steps[[0, 4, 5]]).all()


def test_a_new_window_is_a_seam_only_inside_a_segment(measures: FrameMeasures) -> None:
    assert np.flatnonzero(measures.seams).tolist() == [2]


def test_time_starts_with_the_recording(measures: FrameMeasures) -> None:
    np.testing.assert_allclose(measures.time_s, np.arange(6) / 30, atol=1e-9)


def test_a_frame_without_penetration_has_no_mean_depth(
    track: BodyTrack, observations: SequenceObservations, scene: SceneScan
) -> None:
    lifted = replace(track, vertices_camera=track.vertices_camera + np.array([0, 0, 1], np.float32))
    options = MetricSettings()
    windows = np.zeros(6, dtype=np.int64)
    found = measure_frames({"m": lifted}, observations, scene, None, None, windows, options, 0.02)
    assert np.isnan(found.methods["m"][DEPTH_MEAN_CM]).all()
    assert found.methods["m"][DEPTH_MAX_CM][0] == 0
    assert V2V_MM not in found.methods["m"]


def test_detections_without_confidence_do_not_count(
    track: BodyTrack, observations: SequenceObservations, scene: SceneScan
) -> None:
    unsure = replace(observations, keypoints_confidence=np.full((6, 118), 0.75))
    windows = np.zeros(6, dtype=np.int64)
    found = measure_frames({"m": track}, unsure, scene, None, None, windows, MetricSettings(), 0.02)
    assert np.isnan(found.methods["m"][REPROJECTION_PX]).all()
    assert (found.conditions["confident_keypoints"] == 0).all()


def test_files_give_the_same_figures_back(measures: FrameMeasures, tmp_path: Path) -> None:
    back = read_measures(write_measures(tmp_path / "measures.npz", measures))
    assert back.frame_names == measures.frame_names
    for name, values in measures.methods["refined"].items():
        np.testing.assert_allclose(back.methods["refined"][name], values, rtol=1e-6)
    np.testing.assert_array_equal(back.seams, measures.seams)


def test_another_file_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"a": np.zeros(1)})
    with pytest.raises(DataInvalid, match="not a file of frame measures"):
        read_measures(tmp_path / "x.npz")
