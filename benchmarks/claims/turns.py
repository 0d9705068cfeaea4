"""Several ways of doing one thing, timed in turns, so that a slow spell of the machine slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalsuite.capability import environment
from evalsuite.measure.timing import CLOCK, ROUNDS

Way = Callable[[int], float]
"""Round number -> the seconds that it took."""


def in_turns(
    benchmark: Any, ways: Mapping[str, Way], *, counts: Mapping[str, int], rounds: int = ROUNDS
) -> Mapping[str, list[float]]:
    """Run every way once a round, in the order of `ways`, and keep the seconds of each in `extra_info`.

    pytest-benchmark's own figures are those of the last way; the others run in its `setup`.

    Args:
        counts: how many questions (or repetitions) each way does in a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    *others, last = ways

    def take(name: str) -> None:
        seconds[name].append(ways[name](len(seconds[name])))

    def take_others() -> None:
        for name in others:
            take(name)

    benchmark.pedantic(lambda: take(last), setup=take_others, rounds=rounds_of(benchmark, rounds))
    benchmark.extra_info.update({"seconds": seconds, "counts": dict(counts), "versions": environment()})
    return seconds


def rounds_of(benchmark: Any, rounds: int) -> int:
    """One where timing is off."""
    return rounds if benchmark.enabled else 1


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call by the clock that waits for the device."""
    start = CLOCK()
    run()
    return CLOCK() - start
