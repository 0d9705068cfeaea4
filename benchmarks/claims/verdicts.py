"""From a measured figure and the bounds that were promised to a verdict. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["kept", "refuted", "partly kept", "open"]
"""`open`: the interval holds the bound, so that the measurement decides neither way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """What was measured."""

    value: float
    low: float | None = None
    """Lower end of its 95 % interval; None where it has no spread: a size, a count, a single round."""
    high: float | None = None
    unit: str = "x"

    @property
    def ends(self) -> tuple[float, float]:
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    def __str__(self) -> str:
        text = _number(self.value) + self.unit
        return text if self.low is None or self.high is None else f"{text} [{_number(self.low)}, {_number(self.high)}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What was promised: at least, at most, or both."""

    at_least: float | None = None
    at_most: float | None = None
    expected_most: float | None = None
    """The upper end of a promised gain: more than that is no breach."""

    def exceeded_by(self, figure: Figure) -> bool:
        """Whether the gain is more than was promised, by its whole interval."""
        return self.expected_most is not None and figure.ends[0] > self.expected_most

    def judge(self, figure: Figure) -> Verdict:
        """Kept if the whole interval is within the bounds, refuted if it lies outside one of them."""
        low, high = figure.ends
        if (self.at_least is not None and high < self.at_least) or (self.at_most is not None and low > self.at_most):
            return "refuted"
        within = (self.at_least is None or low >= self.at_least) and (self.at_most is None or high <= self.at_most)
        return "kept" if within else "open"


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim of several parts: refuted if one is and none is kept."""
    distinct = set(verdicts)
    if not distinct:
        raise ValueError("expected at least one part with bounds")
    if len(distinct) == 1:
        return distinct.pop()
    return "partly kept" if "kept" in distinct else "refuted"


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"
