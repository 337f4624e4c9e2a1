from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.synthetic.tracks import KeyTrack, smooth_lower_envelope, sway


def test_a_track_without_keys_keeps_its_start() -> None:
    values = KeyTrack((1.0, 2.0)).evaluate(5, 30.0, 0.1)
    np.testing.assert_array_equal(values, np.tile([1.0, 2.0], (5, 1)))


def test_a_move_waits_then_arrives() -> None:
    track = KeyTrack((0.0,))
    track.key(0.0, [0.0])
    track.move(1.0, 2.0, [4.0])
    values = track.evaluate(91, 30.0, 0.0)[:, 0]
    assert values[:31].max() < 1e-9
    np.testing.assert_allclose(values[60:], 4.0)


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=8))
def test_curves_never_leave_the_range_of_their_keys(values: list[float]) -> None:
    track = KeyTrack((0.0,))
    for number, value in enumerate(values):
        track.key(0.4 * number, [value])
    curve = track.evaluate(120, 30.0, 0.1)
    assert curve.min() >= min(values) - 1e-9
    assert curve.max() <= max(values) + 1e-9


def test_a_key_before_later_ones_takes_their_place() -> None:
    track = KeyTrack((0.0,))
    track.key(0.0, [0.0])
    track.key(2.0, [5.0])
    track.key(1.0, [3.0])
    assert track.times_s == [0.0, 1.0]
    assert track.last[0] == 3.0


def test_the_lower_envelope_stays_below() -> None:
    values = np.random.default_rng(0).normal(size=200)
    envelope = smooth_lower_envelope(values, 6, 3.0)
    assert (envelope <= values + 1e-12).all()


def test_sway_has_unit_spread_and_is_slow() -> None:
    noise = sway(np.random.default_rng(1), 3000, 4, 30.0)
    assert 0.7 < noise.std() < 1.3
    assert np.abs(np.diff(noise, axis=0)).max() < 0.6
