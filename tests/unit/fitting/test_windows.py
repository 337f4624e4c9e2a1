"""Cutting recordings into windows and stitching them: every frame exactly accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.fitting.settings import WindowSettings
from pipelines.fitting.windows import Window, WindowFit, cut_windows, stitch_windows, window_shares
from pipelines.records import SmplhParameters

DEFAULT = WindowSettings()


def _cut(num_frames: int, settings: WindowSettings = DEFAULT) -> tuple[Window, ...]:
    return cut_windows(np.zeros(num_frames, dtype=np.int64), settings)


def test_humor_rule_for_ninety_frames() -> None:
    assert _cut(90) == (Window(0, 60, 0), Window(30, 60, 30))


def test_surplus_that_does_not_divide_goes_to_the_first_overlaps() -> None:
    assert [w.overlap for w in _cut(111)] == [0, 35, 34]


@pytest.mark.parametrize("num_frames", [1, 2, 59, 60])
def test_short_segment_is_one_short_window(num_frames: int) -> None:
    assert _cut(num_frames) == (Window(0, num_frames, 0),)


@given(st.lists(st.integers(1, 190), min_size=1, max_size=4))
def test_every_frame_lies_in_a_window_and_none_crosses_a_segment(sizes: list[int]) -> None:
    segments = np.repeat(np.arange(len(sizes)), sizes)
    windows = cut_windows(segments, DEFAULT)
    covered = np.zeros(len(segments), dtype=int)
    for before, window in zip((None, *windows), windows, strict=False):
        assert len(set(segments[window.frames])) == 1
        assert window.length <= DEFAULT.length
        covered[window.frames] += 1
        if window.overlap:
            assert before is not None
            assert before.start + before.length - window.start == window.overlap >= DEFAULT.overlap
        else:
            assert before is None or before.start + before.length == window.start
    assert (covered > 0).all()


def test_trimmed_frames_lie_in_no_window() -> None:
    windows = _cut(100, WindowSettings(trim_frames=30))
    assert windows == (Window(30, 40, 0),)


def test_overlap_larger_than_half_a_window_is_refused() -> None:
    with pytest.raises(ValidationError, match="overlap 40 exceeds half of the window length 60"):
        WindowSettings(overlap=40)


@pytest.mark.parametrize("stitch", ["earlier_wins", "cross_fade"])
@given(num_frames=st.integers(1, 300))
def test_shares_of_every_frame_add_to_one(stitch: str, num_frames: int) -> None:
    windows = _cut(num_frames)
    total = np.zeros(num_frames)
    for window, share in zip(windows, window_shares(windows, num_frames, stitch), strict=True):
        assert (share >= 0).all()
        total[window.frames] += share
    np.testing.assert_allclose(total, 1, atol=1e-3)


def _fit(length: int, x: float, turn: float) -> WindowFit:
    orient = np.zeros((length, 3))
    orient[:, 2] = turn
    transl = np.full((length, 3), x)
    parameters = SmplhParameters(np.full((length, 10), x), orient, np.zeros((length, 63)), transl)
    return WindowFit(parameters, np.full((length, 22), 0.5))


def test_earlier_window_wins() -> None:
    windows = (Window(0, 10, 0), Window(6, 10, 4))
    stitched = stitch_windows(windows, [_fit(10, 1.0, 0), _fit(10, 2.0, 1)], 16, "earlier_wins")
    np.testing.assert_allclose(stitched.parameters.transl[:, 0], [1.0] * 10 + [2.0] * 6, atol=1e-5)
    assert stitched.window_id.tolist() == [0] * 10 + [1] * 6


def test_cross_fade_turns_and_moves_evenly() -> None:
    windows = (Window(0, 10, 0), Window(6, 10, 4))
    stitched = stitch_windows(windows, [_fit(10, 0.0, 0), _fit(10, 1.0, 1)], 16, "cross_fade")
    shares = np.array([0.2, 0.4, 0.6, 0.8])
    expected = shares / (shares + (1 - shares))
    np.testing.assert_allclose(stitched.parameters.transl[6:10, 0], expected, atol=1e-3)
    np.testing.assert_allclose(stitched.parameters.global_orient[6:10, 2], expected, atol=2e-3)
    assert stitched.contacts is not None
    np.testing.assert_allclose(stitched.contacts, 0.5, atol=1e-3)


def test_failed_window_gives_way_to_its_neighbour() -> None:
    windows = (Window(0, 10, 0), Window(6, 10, 4))
    fits = [_fit(10, 1.0, 0), _fit(10, 5.0, 0)]
    stitched = stitch_windows(windows, fits, 16, "cross_fade", usable=[True, False])
    np.testing.assert_allclose(stitched.parameters.transl[:10, 0], 1, atol=1e-5)
    assert stitched.window_id[9] == 0


def test_rotations_blend_the_short_way_over_the_half_turn() -> None:
    windows = (Window(0, 4, 0), Window(2, 4, 2))
    fits = [_fit(4, 0.0, np.pi - 0.1), _fit(4, 0.0, -np.pi + 0.1)]
    stitched = stitch_windows(windows, fits, 6, "cross_fade")
    assert (np.abs(stitched.parameters.global_orient[:, 2]) > np.pi - 0.11).all()
