"""Speed-ups on a logarithmic scale, each with the verdict on the answers that came of it."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.config import REFERENCE_STRATEGY
from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, ratio, seconds, significant
from evalsuite.report.plots import Scale, axis, legend, log_scale, mark, row_plot, whisker
from evalsuite.report.saved import Shown, ShownCase
from evalsuite.report.tables import Column, note, section, table
from evalsuite.report.verdicts import KINDS, verdict_kind


def speed_section(shown: Shown) -> Html:
    timed = [case for case in shown.cases if case.record.get("speed_up")]
    strategies = [case for case in timed if not is_optimisation(case)]
    optimisations = [case for case in timed if is_optimisation(case)]
    untimed = [case.label for case in shown.cases if not case.record.get("speed_up")]
    return section(
        "speed",
        "Speed-up",
        note(
            "Seconds per question of the baseline over the path's, rounds timed in turns; lines are 95 % intervals. ",
            "The shape is the verdict on the path's answers.",
        ),
        legend((shape, kind, words) for kind, (shape, words) in KINDS.items()),
        _table("Strategies, against one forward a choice or one prompt at a time", strategies),
        _table("Optimisations, each against the same work without it", optimisations),
        note(f"Not timed: {', '.join(untimed)}.") if untimed else None,
    )


def is_optimisation(case: ShownCase) -> bool:
    """Whether it was timed against the same strategy without something, rather than against the reference."""
    baseline = (case.record.get("speed_up") or {}).get("baseline") or {}
    return baseline.get("strategy", REFERENCE_STRATEGY) != REFERENCE_STRATEGY or (
        case.record.get("strategy") == REFERENCE_STRATEGY and bool(baseline)
    )


def _table(title: str, cases: Sequence[ShownCase]) -> Html | None:
    if not cases:
        return None
    scale = log_scale([value for case in cases for value in _values(case)])
    columns = [
        Column(name="case"),
        Column(name="times as fast", kind="plot", axis=axis(scale, [f"{significant(t, 2)}x" for t in scale.ticks])),
        Column(name="speed-up"),
        Column(name="95 %"),
        Column(name="a question"),
        Column(name="rounds"),
    ]
    return element("div", element("h3", title), table(title, columns, (_row(case, scale) for case in cases)))


def _values(case: ShownCase) -> list[float]:
    speed = case.record["speed_up"]
    return [1.0, *(value for key in ("ratio", "low", "high") if (value := number(speed.get(key))))]


def _row(case: ShownCase, scale: Scale) -> list[Child]:
    speed, kind = case.record["speed_up"], verdict_kind(case.record)
    shape, words = KINDS[kind]
    low, high = number(speed.get("low")), number(speed.get("high"))
    between = "" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"
    title = f"{case.label}: {ratio(speed['ratio'])}, {between or 'no interval'}, {words}"
    one = mark(scale.at(1), "bar", "one")
    marks = [whisker(scale.at(low), scale.at(high), kind)] if low is not None and high is not None else []
    taken = number(speed.get("path_seconds_per_question"))
    return [
        case.label,
        row_plot(title, scale, one, *marks, mark(scale.at(speed["ratio"]), shape, kind)),
        ratio(speed["ratio"]),
        between,
        "" if taken is None else seconds(taken),
        f"{speed['rounds']}",
    ]
