"""What changed from run to run: speed-up, score and tokens of every case, oldest run first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, ratio, significant
from evalsuite.report.plots import Line, Scale, line_chart, linear_scale, log_scale
from evalsuite.report.saved import SavedRun, Shown
from evalsuite.report.speed import is_optimisation
from evalsuite.report.tables import Column, badge, folded, note, section, table
from evalsuite.report.verdicts import KINDS, verdict_kind

SCORES_APART = 0.02
"""The axis of scores spans at least this."""


def history_section(shown: Shown) -> Html:
    if shown.run_count < 2:
        return section(
            "history",
            "History",
            note(f"{'One' if shown.runs else 'No'} run. Give more of them to see what changed: report RUN RUN ..."),
        )
    return section(
        "history",
        "History",
        note(
            f"{shown.in_words}, oldest first, evenly spaced. "
            "The other sections show of each case the newest record of those with the most questions."
        ),
        *(_block(title, labels, shown) for title, labels in _blocks(shown)),
        _runs_table(shown.runs),
    )


def when(saved: SavedRun) -> str:
    return f"{saved.began:%Y-%m-%d %H:%M}"


def _blocks(shown: Shown) -> Iterator[tuple[str, list[str]]]:
    """Titles and labels: the strategies of every task, then the optimisations."""
    for task, cases in shown.by_task.items():
        if labels := [case.label for case in cases if not is_optimisation(case)]:
            yield task, labels
    if labels := [case.label for case in shown.cases if is_optimisation(case)]:
        yield "optimisations", labels


def _block(title: str, labels: Sequence[str], shown: Shown) -> Html:
    """Charts of what several runs hold, and a table of everything."""
    dates = [f"{saved.began:%d %b %H:%M}" for saved in shown.runs]
    charts = []
    if speeds := _lines(shown, labels, _speed):
        scale = log_scale([1.0, *_known(speeds)])
        words = [f"{significant(tick, 2)}x" for tick in scale.ticks]
        chart = line_chart(f"{title}: speed-up by run", speeds, scale, words, dates)
        charts.append(element("figure", element("figcaption", "speed-up"), chart))
    if scores := _lines(shown, labels, _score):
        scale = _score_scale(_known(scores))
        words = [f"{tick:.4g}" for tick in scale.ticks]
        chart = line_chart(f"{title}: score by run", scores, scale, words, dates)
        charts.append(element("figure", element("figcaption", "score"), chart))
    return element(
        "div",
        element("h3", title),
        element("div", *charts, class_="pair") if charts else None,
        folded("As a table", _table(title, labels, shown), open_=not charts),
    )


def _known(lines: Iterable[Line]) -> list[float]:
    return [value for line in lines for value in line.values if value is not None]


def _lines(shown: Shown, labels: Sequence[str], value: Callable[[Mapping[str, Any]], float | None]) -> list[Line]:
    """One line a case that has the value; none at all where no case has it twice."""
    lines = []
    for label in labels:
        records = shown.history[label]
        values = [value(records[index]) if index in records else None for index in range(len(shown.runs))]
        if any(v is not None for v in values):
            lines.append(Line(label=label, values=values))
    return lines if any(len(_known([line])) > 1 for line in lines) else []


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


def _table(title: str, labels: Sequence[str], shown: Shown) -> Html:
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
    return table(f"{title}: every run", columns, rows)


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
