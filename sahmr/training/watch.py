"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watch:
    """Seconds by part of a step.

    On a GPU the parts are those of the host, which runs ahead; the whole is right.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._clock = clock

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add what runs inside to a part."""
        start = self._clock()
        try:
            yield
        finally:
            self.seconds[part] += self._clock() - start

    def read_and_clear(self) -> dict[str, float]:
        """Seconds since the last reading."""
        found = dict(self.seconds)
        self.seconds.clear()
        return found
