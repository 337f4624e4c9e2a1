from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.datasets.frames import find_segments, list_frames
from pipelines.datasets.layout import ProxLayout
from pipelines.errors import DataInvalid, DataMissing

INTERVAL = 1 / 30


def segments(times_s: list[float] | np.ndarray, clips: list[int] | None = None) -> list[int]:
    times = np.asarray(times_s, dtype=np.float64)
    clip = np.ones(len(times), np.int64) if clips is None else np.array(clips)
    return find_segments(clip, times, 1.5 * INTERVAL, INTERVAL).tolist()


def test_the_uneven_start_of_real_recordings_is_one_segment():
    assert segments([0.029, 0.050, 0.075, 0.099, 0.124, 0.148, 0.181, 0.214]) == [0] * 8


def test_one_missing_frame_cuts():
    assert segments([0.0, 0.033, 0.067, 0.133, 0.167]) == [0, 0, 0, 1, 1]


def test_a_missing_frame_at_either_end_cuts():
    assert segments([0.0, 0.067, 0.1]) == [0, 1, 1]
    assert segments([0.0, 0.033, 0.1]) == [0, 0, 1]


def test_a_late_or_early_stamp_does_not_cut():
    """The frame came in time; only its stamp is 25 ms off."""
    regular = np.arange(6) * INTERVAL
    for shift in (0.025, -0.025):
        times = regular.copy()
        times[3] += shift
        assert segments(times) == [0] * 6


def test_a_missing_frame_during_the_quick_start_cuts():
    assert segments([0.029, 0.050, 0.075, 0.148, 0.172]) == [0, 0, 0, 1, 1]


def test_a_clip_change_cuts_although_time_starts_again():
    assert segments([0.03, 0.06, 0.03, 0.06], [1, 1, 4, 4]) == [0, 0, 1, 1]


def test_time_that_stands_still_or_runs_back_cuts():
    assert segments([0.0, 0.033, 0.033, 0.067]) == [0, 0, 1, 1]
    assert segments([0.0, 0.033, 0.020, 0.053]) == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [0, 1])
def test_few_frames(count):
    assert segments([0.1] * count) == [0] * count


@given(st.lists(st.floats(-0.006, 0.006), min_size=2, max_size=60))
def test_jitter_never_cuts(jitter):
    assert set(segments(np.arange(len(jitter)) * INTERVAL + jitter)) == {0}


@given(st.lists(st.floats(-0.003, 0.003), min_size=6, max_size=40), st.data())
def test_a_hole_of_several_frames_always_cuts_there_and_only_there(jitter, data):
    times = np.arange(len(jitter)) * INTERVAL + jitter
    hole = data.draw(st.integers(1, len(jitter) - 1))
    times[hole:] += data.draw(st.integers(1, 30)) * INTERVAL
    assert segments(times) == [0] * hole + [1] * (len(jitter) - hole)


def touch(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def read(base, recording="Room_00001_01", rate=30.0):
    return list_frames(ProxLayout(base), recording, frame_rate_hz=rate, gap_intervals=1.5)


def test_frames_are_the_union_sorted_by_the_whole_name(tmp_path):
    one, two = "s001_frame_00002__00.00.00.050", "s001_frame_00003__00.00.00.075"
    three = "s004_frame_00001__00.00.00.029"
    recording = tmp_path / "recordings" / "Room_00001_01"
    touch(recording / "Color", [f"{three}.jpg", f"{one}.jpg"])
    touch(recording / "Depth", [f"{two}.png", ".hidden.png", "notes.txt", f"{one}.jpg"])
    touch(tmp_path / "keypoints" / "Room_00001_01", [f"{one}_keypoints.json"])
    table = read(tmp_path)
    assert table.names == (one, two, three)
    assert table.clip.tolist() == [1, 1, 4]
    assert table.index.tolist() == [2, 3, 1]
    assert table.present["color"].tolist() == [True, False, True]
    assert table.present["depth"].tolist() == [False, True, False]
    assert table.present["keypoints"].tolist() == [True, False, False]
    assert table.segment_id.tolist() == [0, 0, 1]
    assert table.unrecognised == ("Depth/notes.txt", f"Depth/{one}.jpg")


def test_a_recording_without_frames_is_missing(tmp_path):
    with pytest.raises(DataMissing, match="Room_00001_01: no frames"):
        read(tmp_path)


def test_a_wrong_frame_rate_is_told(tmp_path):
    names = [f"s001_frame_{i + 1:05d}__00.00.{i // 5:02d}.{200 * (i % 5):03d}.png" for i in range(20)]
    touch(tmp_path / "recordings" / "Room_00001_01" / "Depth", names)
    with pytest.raises(DataInvalid, match=r"median step of 200 ms[\s\S]*frame_rate_hz"):
        read(tmp_path)
    assert set(read(tmp_path, rate=5.0).segment_id.tolist()) == {0}
