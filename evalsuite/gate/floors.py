"""How much faster than its baseline a case must be, at least.

The gain of a run is the median speed-up of its rounds, timed in pairs, and its bound the lower end of the bootstrap
interval on that. A floor is half the bound of the run that first set it, rounded down to two digits: so generous that
only a lost optimisation misses it, whatever else the machine does. --update-expected never raises a floor, and lowers
one only where a run missed it, and says so; to have one set anew, delete its line.

The median, since a busy machine stalls single rounds for many times their length, and half the bound rather than half
the gain, since it may have been as busy when the floor was set.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalsuite.measure.stats import CONFIDENCE, bootstrap_interval

SHARE = 0.5
"""Of the bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """The speed-up of one case in this run."""

    ratio: float
    """Median over rounds."""
    bound: float
    """Lower end of the bootstrap interval at 95 %; the ratio itself where there is no interval."""
    rounds: int
    paired: bool

    @property
    def says(self) -> str:
        if self.rounds > 1 and self.paired:
            return f"lower end of {CONFIDENCE:.0%} over {self.rounds} rounds; {self.ratio:.2f}x in the median"
        return "a single round, without an interval" if self.rounds == 1 else "rounds not timed in turns, no interval"


def gain_of(record: Mapping[str, Any]) -> Gain | None:
    """From a case's record. None for the reference, and where nothing was timed."""
    timed = record["speed_up"]
    if timed is None or "path_seconds" not in timed:
        return None
    scale = timed["path_questions"] / timed["baseline_questions"]
    pairs = zip(timed["baseline_seconds"], timed["path_seconds"], strict=True)
    logs = [math.log(scale * baseline / path) for baseline, path in pairs]
    ratio, paired = math.exp(statistics.median(logs)), timed["low"] is not None
    bound = math.exp(bootstrap_interval(logs)[0]) if paired and len(logs) > 1 else ratio
    return Gain(ratio=ratio, bound=bound, rounds=len(logs), paired=paired or len(logs) == 1)


def next_floor(before: float | None, gain: Gain | None) -> float | None:
    """The floor that --update-expected writes; see the module's text."""
    if gain is None:
        return before
    half = _two_digits_down(gain.bound * SHARE)
    if before is None:
        return half
    return before if gain.bound >= before else min(half, before)


def _two_digits_down(value: float) -> float:
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.floor(value / unit + 1e-9) * unit, 12)
