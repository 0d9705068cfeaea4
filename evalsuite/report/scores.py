"""Scores with their intervals: every case of a task, then the subjects of the case that answered most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, score_interval
from evalsuite.report.plots import axis, linear_scale, mark, row_plot, whisker
from evalsuite.report.saved import Shown, ShownCase
from evalsuite.report.tables import Column, folded, note, section, table

OVERALL = "overall"
OPEN_GROUPS = 12
"""More groups than this start folded."""
SCALE = linear_scale(0, 1, inset=2)


def scores_section(shown: Shown) -> Html:
    return section(
        "scores",
        "Scores",
        note(
            "Lines are 95 % intervals: Wilson's for accuracy and exact match, 1.96 standard errors otherwise. "
            "Slow strategies answer a sample, so their scores are those of fewer questions."
        ),
        note("Where the questions are some of more, the option beside them left the others out.")
        if any(case.narrowed for case in shown.cases)
        else None,
        *(_task(task, cases) for task, cases in shown.by_task.items()),
    )


def _task(task: str, cases: Sequence[ShownCase]) -> Html:
    scored = [case for case in cases if case.record.get("score")]
    if not scored:
        return element("div", element("h3", task), note("Not scored: random weights, or no published answers."))
    name = scored[0].record["score"]["name"]
    most = max(scored, key=lambda case: case.record["questions"])
    return element(
        "div",
        element("h3", task),
        table(f"{task}: {name}", _columns(name, "case"), (_case_row(case) for case in scored)),
        _groups(task, name, most),
        _all_metrics(task, scored),
    )


def _groups(task: str, name: str, case: ShownCase) -> Html | None:
    """The groups of one case, the lowest first."""
    groups = [m for m in case.record["metrics"] if m["name"] == name and m["group"] != OVERALL]
    if len(groups) < 2:
        return None
    rows = (_row(metric["group"], metric) for metric in sorted(groups, key=lambda m: (_value(m), m["group"])))
    title = f"{task}: {name} by group, of {case.label}, the lowest first"
    of = f"{case.label}, {case.narrowed}" if case.narrowed else case.label
    return folded(
        f"By group, of {of}: {len(groups)} groups",
        table(title, _columns(name, "group"), rows),
        open_=len(groups) <= OPEN_GROUPS,
    )


def _all_metrics(task: str, cases: Sequence[ShownCase]) -> Html | None:
    names = list(dict.fromkeys(m["name"] for c in cases for m in c.record["metrics"] if m["group"] == OVERALL))
    if len(names) < 2:
        return None
    columns = [Column(name="case"), *(Column(name=name) for name in names)]
    return folded("All metrics", table(f"{task}: all metrics", columns, (_metric_row(case, names) for case in cases)))


def _metric_row(case: ShownCase, names: Iterable[str]) -> list[Child]:
    found = {m["name"]: m for m in case.record["metrics"] if m["group"] == OVERALL}
    return [case.label, *(_words(found[name]) if name in found else "" for name in names)]


def _columns(name: str, what: str) -> list[Column]:
    return [
        Column(name=what),
        Column(name=name, kind="plot", axis=axis(SCALE, [f"{tick:g}" for tick in SCALE.ticks])),
        Column(name="mean"),
        Column(name="95 %"),
        Column(name="questions"),
    ]


def _case_row(case: ShownCase) -> list[Child]:
    """The case's main score; among its questions, those that options left out are told."""
    score: Mapping[str, Any] = case.record["score"]
    row = _row(case.label, score)
    if case.narrowed:
        unscored = score["count"] != case.record["questions"]
        row[-1] = f"{score['count']:,} scored, {case.narrowed}" if unscored else case.narrowed
    return row


def _row(label: str, metric: Mapping[str, Any]) -> list[Child]:
    interval = score_interval(metric)
    between = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    words = f"{label}: {_words(metric)}" + (f", 95 % {between}" if between else "")
    marks = [] if interval is None else [whisker(SCALE.at(interval[0]), SCALE.at(interval[1]), "score")]
    plot = row_plot(words, SCALE, *marks, mark(SCALE.at(_value(metric)), "circle", "score"))
    return [label, plot, _words(metric), between, f"{metric['count']:,}"]


def _value(metric: Mapping[str, Any]) -> float:
    return number(metric["value"]) or 0.0


def _words(metric: Mapping[str, Any]) -> str:
    value = number(metric["value"])
    return str(metric["value"]) if value is None else f"{value:.3f}"
