"""The clock that benchmarks are timed by, and how much of the work is timed.

The clock synchronises the device before it is read, and can be paused while answers are graded and written, so that
a round measures inference and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

ROUNDS = 3
QUICK_ROUNDS = 5
GATED_ROUNDS = 15
"""Instead of those, where a bound on the speed-up is to be compared with a floor."""
QUICK_SECONDS = 1.0
"""A path that takes less than this is timed `QUICK_ROUNDS` times."""
SLOW_SECONDS = 60.0
"""A path that takes longer than this is timed once."""
BASELINE_SECONDS = 0.4
"""About how long the baseline takes in each round at least; its timing subset is cut to that."""
BASELINE_SHARE = 0.1
"""Of the path's own time in a round, where that is more: a slow path deserves more than a glance at its baseline."""
MIN_TIMING_QUESTIONS = 16


def _nothing() -> None:
    pass


class Clock:
    """Seconds spent outside `paused()`, read after the device has caught up."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._synchronize: Callable[[], None] = _nothing
        self._paused_seconds = 0.0

    def __call__(self) -> float:
        self._synchronize()
        return self._now() - self._paused_seconds

    @contextmanager
    def following(self, synchronize: Callable[[], None]) -> Iterator[None]:
        """Within, every reading first waits for the device by `synchronize`."""
        before, self._synchronize = self._synchronize, synchronize
        try:
            yield
        finally:
            self._synchronize = before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent within does not count. The device is drained first, so no work hides here."""
        self._synchronize()
        start = self._now()
        try:
            yield
        finally:
            self._paused_seconds += self._now() - start

    def advance(self, seconds: float) -> None:
        """Move on by seconds that were measured before: of work that is recalled instead of done again."""
        self._paused_seconds -= seconds


CLOCK = Clock()


def seconds() -> float:
    """pytest-benchmark's timer for every case: a module-level function, since it is named in the saved JSON."""
    return CLOCK()


def rounds_for(expected_seconds: float, *, quick_rounds: int = QUICK_ROUNDS) -> int:
    """More rounds for a quick path, one for a slow one."""
    if expected_seconds <= QUICK_SECONDS:
        return quick_rounds
    return ROUNDS if expected_seconds <= SLOW_SECONDS else 1


def timing_question_count(seconds_per_question: float, *, path_seconds: float = 0.0) -> int:
    """How many questions the baseline answers in each round, beside a path that takes `path_seconds` for its own."""
    seconds = max(BASELINE_SECONDS, BASELINE_SHARE * path_seconds)
    return max(round(seconds / max(seconds_per_question, 1e-9)), MIN_TIMING_QUESTIONS)


def timing_subset(lengths: Mapping[str, int], count: int) -> list[str]:
    """`count` ids spread evenly over the lengths (in tokens), so that their mean cost is that of all.

    Sorted by length, cut into `count` equal slices, the middle of each slice taken: systematic sampling.
    """
    ordered = sorted(lengths, key=lambda question: (lengths[question], question))
    if count >= len(ordered):
        return ordered
    return [ordered[(2 * index + 1) * len(ordered) // (2 * count)] for index in range(count)]
