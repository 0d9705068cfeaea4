"""What changed from run to run: speed-up, score and tokens of every case, oldest run first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, plural, ratio, significant
from evalsuite.report.plots import Line, Scale, line_chart, linear_scale, log_scale
from evalsuite.report.saved import SavedRun, Shown
from evalsuite.report.tables import Column, badge, folded, note, section, table
from evalsuite.report.verdicts import KINDS, verdict_kind

SCORES_APART = 0.02
"""The axis of scores spans at least this."""


def history_section(shown: Shown) -> Html:
    count = len(shown.runs)
    if count < 2:
        return section("history", "History", note("One run. Give more of them to see what changed: report RUN RUN ..."))
    return section(
        "history",
        "History",
        note(
            f"{plural(count, 'run')}, oldest first, evenly spaced. "
            "The other sections show the newest record of each case."
        ),
        *(_task(task, shown) for task in shown.by_task),
        _runs_table(shown.runs),
    )


def when(saved: SavedRun) -> str:
    return f"{saved.began:%Y-%m-%d %H:%M}"


def _task(task: str, shown: Shown) -> Html:
    labels = [case.label for case in shown.by_task[task]]
    dates = [f"{saved.began:%d %b %H:%M}" for saved in shown.runs]
    speeds = _lines(shown, labels, _speed)
    scores = _lines(shown, labels, _score)
    charts = []
    if speeds:
        scale = log_scale([1.0, *(value for line in speeds for value in line.values if value)])
        title = f"{task}: speed-up by run"
        words = [f"{significant(tick, 2)}x" for tick in scale.ticks]
        charts.append(
            element("figure", element("figcaption", "speed-up"), line_chart(title, speeds, scale, words, dates))
        )
    if scores:
        scale = _score_scale([value for line in scores for value in line.values if value is not None])
        words = [f"{tick:.4g}" for tick in scale.ticks]
        title = f"{task}: score by run"
        charts.append(element("figure", element("figcaption", "score"), line_chart(title, scores, scale, words, dates)))
    return element(
        "div",
        element("h3", task),
        element("div", *charts, class_="pair"),
        folded("As a table", _table(task, labels, shown)),
    )


def _lines(shown: Shown, labels: Sequence[str], value: Callable[[Mapping[str, Any]], float | None]) -> list[Line]:
    lines = []
    for label in labels:
        records = shown.history[label]
        values = [value(records[index]) if index in records else None for index in range(len(shown.runs))]
        if any(v is not None for v in values):
            lines.append(Line(label=label, values=values))
    return lines


def _speed(record: Mapping[str, Any]) -> float | None:
    """None for the reference, which is 1 by definition."""
    speed = record.get("speed_up") or {}
    return number(speed.get("ratio")) if speed.get("baseline") or speed.get("low") else None


def _score(record: Mapping[str, Any]) -> float | None:
    return number((record.get("score") or {}).get("value"))


def _score_scale(values: Sequence[float]) -> Scale:
    middle, half = (min(values) + max(values)) / 2, max(max(values) - min(values), SCORES_APART) * 0.6
    low = max(0.0, min(middle - half, 1 - 2 * half))
    return linear_scale(low, min(1.0, low + 2 * half), inset=4)


def _table(task: str, labels: Sequence[str], shown: Shown) -> Html:
    columns = [
        Column(name="case"),
        Column(name="run", kind="text"),
        Column(name="score"),
        Column(name="speed-up"),
        Column(name="tokens computed"),
        Column(name="verdict", kind="text"),
    ]
    rows = [
        _record_row(label, shown.runs[index], record)
        for label in labels
        for index, record in sorted(shown.history[label].items())
    ]
    return table(f"{task}: every run", columns, rows)


def _record_row(label: str, saved: SavedRun, record: Mapping[str, Any]) -> list[Child]:
    score, speed, kind = _score(record), _speed(record), verdict_kind(record)
    return [
        label,
        when(saved),
        "" if score is None else f"{score:.3f}",
        "" if speed is None else ratio(speed),
        f"{record['counters']['tokens_computed']:,}",
        badge(kind, KINDS[kind][1]),
    ]


def _runs_table(runs: Sequence[SavedRun]) -> Html:
    columns = [Column(name="began (UTC)"), Column(name="run", kind="text"), Column(name="cases")]
    return folded(
        "The runs", table("The runs", columns, ([when(s), s.run.name, f"{len(s.run.cases):,}"] for s in runs))
    )
