"""Numbers as text, short enough for a phone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Z = 1.959964
"""The 97.5th percentile of the normal distribution."""
BINARY = frozenset({"accuracy", "exact_match"})
"""Metrics that are 0 or 1 for each question, so that counts give their interval."""
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def number(value: Any) -> float | None:
    """A record's number; None for what is absent or stands in words, as NaN does in JSON."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def score_interval(metric: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of a metric in [0, 1]; None where it has no standard error.

    Wilson's for what is 0 or 1 for each question, since a standard error of 0 at 120 of 120 promises too much; for the
    others, 1.96 standard errors to each side.
    """
    value, stderr, count = number(metric.get("value")), number(metric.get("stderr")), metric.get("count") or 0
    if value is None or stderr is None or count < 2:
        return None
    if metric["name"] in BINARY:
        centre = (value + Z * Z / (2 * count)) / (1 + Z * Z / count)
        half = Z / (1 + Z * Z / count) * (value * (1 - value) / count + Z * Z / (4 * count * count)) ** 0.5
        return max(0.0, centre - half), min(1.0, centre + half)
    return max(0.0, value - Z * stderr), min(1.0, value + Z * stderr)


def significant(value: float, digits: int = 3) -> str:
    """`0.00104`, `18.5`, `1,240`: so many significant digits, never an exponent of ten below a million."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:,.{digits}g}"


def si(value: float, unit: str) -> str:
    """`301 TFLOP/s`, `568 MB`: in thousands, as the units are defined."""
    factor, prefix = next(((f, p) for f, p in _PREFIXES if abs(value) >= f), (1.0, ""))
    return f"{significant(value / factor)} {prefix}{unit}"


def seconds(value: float) -> str:
    """`1.04 ms`, `2.31 s`, `12 min`."""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s")):
        if value < limit:
            return f"{significant(value * factor)} {unit}"
    return f"{significant(value / 60)} min"


def ratio(value: float) -> str:
    return f"{value:.2f}x" if value < 100 else f"{value:,.0f}x"


def share(value: float) -> str:
    """`13.9 %`; more digits for what would read 0."""
    percent = value * 100
    return f"{percent:.1f} %" if percent >= 1 or percent == 0 else f"{significant(percent, 2)} %"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
