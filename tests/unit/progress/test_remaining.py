from __future__ import annotations

import pytest

from pipelines.progress.remaining import Remaining, duration


def test_the_rest_takes_as_long_per_unit_as_the_beginning() -> None:
    clock = iter([0.0, 60.0, 120.0, 150.0])
    remaining = Remaining(4, lambda: next(clock))
    assert remaining.text() == "0 of 4"
    assert remaining.one_more() == "1 of 4, about 3 min left"
    assert remaining.one_more() == "2 of 4, about 2 min left"
    assert remaining.one_more() == "3 of 4, about 50 s left"
    assert remaining.one_more() == "4 of 4"


@pytest.mark.parametrize(("seconds", "text"), [(5.0, "5 s"), (600.0, "10 min"), (7260.0, "2 h 01 min")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
