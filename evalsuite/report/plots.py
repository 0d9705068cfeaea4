"""Plots as SVG that is as wide as its place: x is in percent, y in pixels, so that text keeps its size on a phone.

A plot has a `title` that says in words what it shows. Colours are classes, so that `page.css` suits them to the colour
scheme; what colours tell apart, shapes or words tell apart too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from evalsuite.report.html import Html, element

ROW_PX = 20
MIDDLE_PX = ROW_PX // 2
MOST_TICKS = 6
SHAPES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "square": "M-4-4H4V4H-4z",
    "diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0z",
    "triangle": "M0-5L5 4H-5z",
    "cross": "M-4-4L4 4M4-4L-4 4",
    "bar": "M0-7V7",
}
SERIES = ("circle", "square", "diamond", "triangle", "cross")
"""The shapes of lines in one chart; their colours are the classes `series-0` to `series-4`. See `series_look`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """An axis. `at` gives percent of its length, within `inset` of either end."""

    low: float
    high: float
    log: bool = False
    inset: float = 0.0
    ticks: tuple[float, ...] = ()

    def at(self, value: float) -> float:
        """Values beyond an end are put there."""
        position = _log(value) if self.log else value
        low, high = (_log(self.low), _log(self.high)) if self.log else (self.low, self.high)
        part = min(max((position - low) / (high - low), 0.0), 1.0)
        return self.inset + part * (100 - 2 * self.inset)


def linear_scale(low: float, high: float, *, inset: float = 0.0) -> Scale:
    """From `low` to `high`, with round ticks."""
    high = high if high > low else low + 1
    rough = (high - low) / (MOST_TICKS - 1)
    step = next(s for s in (m * 10.0 ** math.floor(math.log10(rough)) for m in (1, 2, 5, 10)) if s >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    ticks = tuple((first + index) * step for index in range(count))
    return Scale(low=low, high=high, inset=inset, ticks=ticks)


def log_scale(values: Iterable[float], *, inset: float = 3.0) -> Scale:
    """Around positive values, with ticks at 1, 2, 5, 10, ... or, over many decades, at powers of ten."""
    positive = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = min(positive) / 1.1, max(positive) * 1.1
    decades = range(math.floor(_log(low)), math.ceil(_log(high)) + 1)
    fine = [m * 10.0**d for d in decades for m in (1, 2, 5) if low <= m * 10.0**d <= high]
    coarse = [10.0**d for d in decades if low <= 10.0**d <= high]
    ticks = fine if len(fine) <= MOST_TICKS else coarse
    every = math.ceil(len(ticks) / MOST_TICKS) or 1
    return Scale(low=low, high=high, log=True, inset=inset, ticks=tuple(ticks[::every]))


def row_plot(title: str, scale: Scale, *marks: Html) -> Html:
    """One row's plot: its marks over a track with the scale's ticks."""
    lines = [
        element("line", x1=percent(scale.at(t)), x2=percent(scale.at(t)), y1=2, y2=ROW_PX - 2, class_="grid")
        for t in scale.ticks
    ]
    track = element("rect", x=0, y=2, width="100%", height=ROW_PX - 4, class_="track")
    return _svg(title, ROW_PX, track, *lines, *marks)


def axis(scale: Scale, labels: Sequence[str]) -> Html:
    """The words of a scale's ticks, for the head of a column of `row_plot`. Hidden from screen readers."""
    words = []
    for tick, label in zip(scale.ticks, labels, strict=True):
        x = scale.at(tick)
        anchor = "start" if x < 1 else "end" if x > 99 else "middle"
        words.append(element("text", label, x=percent(x), y=12, text_anchor=anchor, class_="tick"))
    return element("svg", *words, width="100%", height=16, aria_hidden="true", class_="plot")


def mark(x: float, shape: str, kind: str, y: int = MIDDLE_PX) -> Html:
    """A shape of `SHAPES` at x percent; `kind` is its class."""
    return element("svg", element("path", d=SHAPES[shape], class_=f"mark {kind}"), x=percent(x), y=y)


def whisker(low: float, high: float, kind: str) -> Html:
    return element("line", x1=percent(low), x2=percent(high), y1=MIDDLE_PX, y2=MIDDLE_PX, class_=f"whisker {kind}")


def bar(start: float, end: float, kind: str) -> Html:
    return element(
        "rect", x=percent(start), width=percent(max(end - start, 0)), y=3, height=ROW_PX - 6, class_=f"bar {kind}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A series over runs."""

    label: str
    values: Sequence[float | None]
    """One a run; None where the run has none."""


def line_chart(
    title: str, lines: Sequence[Line], scale: Scale, tick_labels: Sequence[str], dates: Sequence[str]
) -> Html:
    """Series over runs, evenly spaced, with a legend."""
    height, top, bottom, left = 190, 14, 166, 7.0
    places = [left + 2 + (91 - left) * (i / (len(dates) - 1) if len(dates) > 1 else 0.5) for i in range(len(dates))]

    def y(value: float) -> int:
        return round(bottom - scale.at(value) / 100 * (bottom - top))

    parts = []
    for tick, label in zip(scale.ticks, tick_labels, strict=True):
        parts.append(element("line", x1="0", x2="100%", y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", label, x=0, y=y(tick) - 3, class_="tick"))
    for number, line in enumerate(lines):
        parts += _series(number, places, [None if value is None else y(value) for value in line.values])
    for index in sorted({0, len(dates) - 1}):
        anchor: Literal["start", "end"] = "start" if index == 0 else "end"
        parts.append(
            element("text", dates[index], x=percent(places[index]), y=height - 4, text_anchor=anchor, class_="tick")
        )
    looks = [(*series_look(number), line.label) for number, line in enumerate(lines)]
    return element("div", _svg(title, height, *parts), legend(looks))


def series_look(number: int) -> tuple[str, str]:
    """The shape and the class of a chart's line: 25 pairs, all different."""
    count = len(SERIES)
    return SERIES[(number + number // count) % count], f"series-{number % count}"


def legend(entries: Iterable[tuple[str, str, str]]) -> Html:
    """(shape, class, words): what marks mean."""
    return element(
        "ul",
        *(
            element(
                "li",
                element("svg", mark(50, shape, kind, 7), width=14, height=14, aria_hidden="true", class_="plot"),
                words,
            )
            for shape, kind, words in entries
        ),
        class_="legend",
    )


def percent(value: float) -> str:
    return f"{value:.2f}%"


def _series(number: int, places: Sequence[float], heights: Sequence[int | None]) -> list[Html]:
    shape, kind = series_look(number)
    points = list(zip(places, heights, strict=True))
    lines = [
        element("line", x1=percent(x), y1=y, x2=percent(next_x), y2=next_y, class_=f"line {kind}")
        for (x, y), (next_x, next_y) in pairwise(points)
        if y is not None and next_y is not None
    ]
    return lines + [mark(x, shape, kind, y) for x, y in points if y is not None]


def _svg(title: str, height: int, *parts: Html) -> Html:
    return element("svg", element("title", title), *parts, width="100%", height=height, role="img", class_="plot")


def _log(value: float) -> float:
    return math.log10(max(value, 1e-300))
