"""Several ways of doing one thing, timed in turns, so that a slow spell of the machine slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evalsuite.capability import environment
from evalsuite.measure.timing import CLOCK, ROUNDS

UNFINISHED = "unfinished"
Way = Callable[[int], float]
"""Round number -> the seconds that it took."""


def in_turns(
    benchmark: Any,
    ways: Mapping[str, Way],
    *,
    counts: Mapping[str, float],
    rounds: int = ROUNDS,
    keep: Callable[[], None] = lambda: None,
) -> Mapping[str, list[float]]:
    """Run every way once a round, in the order of `ways`, and keep the seconds of each in `extra_info`.

    pytest-benchmark's own figures are those of the last way; the others run in its `setup`. Until the last round is
    over, `extra_info` says under `UNFINISHED` how many are.

    Args:
        counts: how many questions (or repetitions) each way does in a round.
        keep: called whenever one way has been run, with its seconds in `extra_info`: a run may be broken off.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    *others, last = ways
    wanted = rounds_of(benchmark, rounds)
    benchmark.extra_info.update({"seconds": seconds, "counts": dict(counts), "versions": environment()})

    def say_how_far() -> None:
        done = min(map(len, seconds.values()))
        benchmark.extra_info[UNFINISHED] = f"{done} of {wanted} rounds"
        if done == wanted:
            del benchmark.extra_info[UNFINISHED]

    def take(name: str) -> None:
        seconds[name].append(ways[name](len(seconds[name])))
        say_how_far()
        keep()

    say_how_far()

    def take_others() -> None:
        for name in others:
            take(name)

    benchmark.pedantic(lambda: take(last), setup=take_others, rounds=wanted)
    return seconds


def rounds_of(benchmark: Any, rounds: int) -> int:
    """One where timing is off."""
    return rounds if benchmark.enabled else 1


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call by the clock that waits for the device."""
    start = CLOCK()
    run()
    return CLOCK() - start
