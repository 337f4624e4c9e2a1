from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.metrics.evaluate import RecordingMetrics
from pipelines.metrics.frames import FrameSelection
from pipelines.metrics.tally import Tally
from pipelines.report.measures import DEPTH_MAX_CM, REPROJECTION_PX, V2V_MM, FrameMeasures
from pipelines.report.settings import WorstSettings
from pipelines.report.worst import (
    frame_scores,
    rank_recordings,
    worst_frames,
    worst_stretch,
)


def metrics(name: str, **values: float) -> RecordingMetrics:
    """One frame's worth of sums, internal units."""
    tallies = {key: Tally(key, value, 1) for key, value in values.items()}
    frames = FrameSelection(("f",), 1, 1, {"refined": 1})
    return RecordingMetrics(name, "Room", "walk", frames, {"refined": tallies}, {}, (), "code")


def test_worst_frames_are_apart_and_worst_first(thirty_frames: FrameMeasures) -> None:
    chosen = worst_frames(thirty_frames, "refined", WorstSettings(frames=3, apart_s=0.5))
    assert chosen[0] == 15
    assert len(chosen) == 3
    assert all(abs(a - b) >= 5 for a in chosen for b in chosen if a != b)


def test_frames_without_a_body_are_never_shown() -> None:
    empty = np.full(4, np.nan)
    measures = FrameMeasures(
        "R",
        ("a", "b", "c", "d"),
        np.arange(4.0),
        {"m": {V2V_MM: empty}},
        {},
        np.zeros(4, int),
        np.zeros(4, int),
    )
    assert worst_frames(measures, "m", WorstSettings()) == []
    assert worst_stretch(measures, "m", 1.0) is None


def test_the_worst_stretch_names_what_was_different(thirty_frames: FrameMeasures) -> None:
    stretch = worst_stretch(thirty_frames, "refined", 1.0)
    assert stretch is not None
    assert (stretch.first, stretch.last) == (12, 21)
    assert stretch.text.startswith("51.0 mm V2V (most: 60.0 in frame 15)")
    assert "60 % of the body joints hidden (23 in the whole recording)" in stretch.text


def test_without_truth_frames_are_judged_by_image_and_depth(thirty_frames: FrameMeasures) -> None:
    row = {k: v for k, v in thirty_frames.methods["refined"].items() if k != V2V_MM}
    row[REPROJECTION_PX] = np.where(np.arange(30) == 7, 9.0, 3.0)
    row[DEPTH_MAX_CM] = np.zeros(30)
    scores = frame_scores(replace(thirty_frames, methods={"refined": row}), "refined")
    assert int(scores.argmax()) == 7
    assert scores[7] == pytest.approx(1.5)


def test_recordings_are_ranked_by_v2v_with_their_reasons(thirty_frames: FrameMeasures) -> None:
    runs = {
        "a": metrics("a", v2v_v1=0.020, pene_v1=0.1, reproj_pooled_v1=3.0),
        "b": metrics("b", v2v_v1=0.050, pene_v1=0.4, reproj_pooled_v1=3.1),
        "c": metrics("c", v2v_v1=0.021, pene_v1=0.1, reproj_pooled_v1=2.9),
    }
    verdicts = rank_recordings(runs, dict.fromkeys(runs, thirty_frames), "refined", 1.25, 1.0)
    assert [v.recording for v in verdicts] == ["b", "c", "a"]
    assert [v.rank for v in verdicts] == [1, 2, 3]
    assert [r.key for r in verdicts[0].reasons] == ["pene_v1", "v2v_v1"]
    assert verdicts[0].reasons[0].times == pytest.approx(4.0)
    assert verdicts[0].reasons[1].value == "50.00 mm"
    assert verdicts[1].reasons == ()


def test_what_made_a_recording_hard_is_told_beside_the_others(thirty_frames: FrameMeasures) -> None:
    hidden = {"seen": 0.0, "usual": 10.0, "behind": 36.0}
    measures = {
        name: replace(thirty_frames, conditions={"hidden_percent": np.full(30, percent)})
        for name, percent in hidden.items()
    }
    runs = {name: metrics(name, v2v_v1=0.02) for name in hidden}
    verdicts = rank_recordings(runs, measures, "refined", 1.25, 1.0)
    assert {v.recording: v.harder for v in verdicts} == {
        "seen": (),
        "usual": (),
        "behind": ("36 % of the body joints hidden (10 in the median recording)",),
    }


def test_without_truth_recordings_are_ranked_by_three_figures(thirty_frames: FrameMeasures) -> None:
    runs = {
        "calm": metrics("calm", pene_v1=0.1, reproj_pooled_v1=3.0, scan_distance_v1=0.02),
        "deep": metrics("deep", pene_v1=0.9, reproj_pooled_v1=3.0, scan_distance_v1=0.02),
    }
    verdicts = rank_recordings(runs, dict.fromkeys(runs, thirty_frames), "refined", 1.25, 1.0)
    assert verdicts[0].recording == "deep"


def test_a_recording_without_figures_comes_last(thirty_frames: FrameMeasures) -> None:
    runs = {"none": metrics("none"), "some": metrics("some", v2v_v1=0.02)}
    verdicts = rank_recordings(runs, dict.fromkeys(runs, thirty_frames), "refined", 1.25, 1.0)
    assert [v.recording for v in verdicts] == ["some", "none"]
