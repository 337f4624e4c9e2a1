"""How long the rest takes, from how long the first part took."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Remaining:
    """Units of about equal length, counted as they end.

    Args:
        total: number of units.
        clock: seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = monotonic) -> None:
        self.total, self.done = total, 0
        self._clock = clock
        self._started = clock()

    def one_more(self) -> str:
        """Count a unit; returns e.g. `3 of 10, about 12 min left`."""
        self.done += 1
        return self.text()

    def text(self) -> str:
        """How far it is."""
        left = self.total - self.done
        if self.done == 0 or left <= 0:
            return f"{self.done} of {self.total}"
        seconds = (self._clock() - self._started) / self.done * left
        return f"{self.done} of {self.total}, about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
