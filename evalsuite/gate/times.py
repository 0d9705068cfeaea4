"""Times of two revisions, run in turns, against each other. Numbers in, findings out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalsuite.gate.findings import Finding, GateResult
from evalsuite.measure.stats import CONFIDENCE, bootstrap_interval

PAIRS = 7
THRESHOLD = 0.95
"""Red where the upper end of the interval on head's speed, base's being 1, is below this."""

Seconds = Mapping[str, float]
"""Case (node id) to the seconds of its fastest round in one run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedOfHead:
    """One case: base's seconds over head's, pair by pair. Below 1, head is slower."""

    case: str
    base_seconds: float
    """Median over runs."""
    head_seconds: float
    ratio: float
    """Median."""
    low: float
    high: float
    """Percentile bootstrap at 95 % over pairs."""

    @property
    def says(self) -> str:
        return f"{self.ratio:.3f} [{self.low:.3f}, {self.high:.3f}]"


def speeds_of_head(base: Sequence[Seconds], head: Sequence[Seconds]) -> list[SpeedOfHead]:
    """Every case that all runs timed, sorted. `base[i]` and `head[i]` ran one after the other."""
    shared = set.intersection(*(set(run) for run in (*base, *head)))
    return [_speed(case, [run[case] for run in base], [run[case] for run in head]) for case in sorted(shared)]


def _speed(case: str, base: Sequence[float], head: Sequence[float]) -> SpeedOfHead:
    logs = [math.log(before / now) for before, now in zip(base, head, strict=True)]
    low, high = bootstrap_interval(logs)
    return SpeedOfHead(
        case=case,
        base_seconds=statistics.median(base),
        head_seconds=statistics.median(head),
        ratio=math.exp(statistics.median(logs)),
        low=math.exp(low),
        high=math.exp(high),
    )


def judge_times(
    base: Sequence[Seconds], head: Sequence[Seconds], *, threshold: float, against: str
) -> tuple[GateResult, list[SpeedOfHead]]:
    """Red for each case that is slower beyond the threshold; what only one side timed is listed."""
    result = GateResult(against=against)
    speeds = speeds_of_head(base, head)
    for speed in speeds:
        result.compared.append(speed.case)
        result.facts += len(base)
        if speed.high < threshold:
            result.findings.append(
                Finding(
                    case=speed.case,
                    what="time",
                    expected=f"{threshold:g} of base's speed at least",
                    got=speed.says,
                    note=f"slower by {1 / speed.ratio - 1:.0%}",
                )
            )
    for case in sorted({case for run in (*base, *head) for case in run} - set(result.compared)):
        sides = [name for name, runs in (("base", base), ("head", head)) if any(case in run for run in runs)]
        result.not_compared[case] = f"timed by {sides[0]} alone" if len(sides) == 1 else "not timed in every run"
    result.notes.append(
        f"head's speed, base's being 1: median of {len(base)} pairs with a bootstrap interval at "
        f"{CONFIDENCE:.0%}; red where its upper end is below {threshold:g}"
    )
    return result, speeds
