"""A comparison as text, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from evalsuite.compare.comparing import ComparedCase, Comparison, MetricRow
from evalsuite.compare.pairing import IN_A, IN_B
from evalsuite.compare.speed import Speed
from evalsuite.errors import some
from evalsuite.harness.table import aligned
from evalsuite.results import finite

HEADERS = ("case", "metric", "questions", "A", "B", "B - A (95 %)", "p", "p (Holm)", "won", "lost", "")
OVER_BASELINE = (
    "B over A of speed-ups: how much faster than the baseline B was, over how much faster A was, each timed in turns "
    "with it. What slowed a path and its baseline alike cancels out there, but not in the seconds beside it"
)
SPEED_HEADERS = ("case", "A, s/question", "B, s/question", "B over A (95 %)", "")
CHANGE_HEADERS = ("case", "question", "A", "B", "published", "")
SHOWN_CHANGES = 10
SHOWN_CHARACTERS = 40
SHOWN_CASES = 5
"""Names in a list of cases."""

Rows = list[tuple[str, ...]]


def text_lines(comparison: Comparison, *, every_change: bool = False) -> list[str]:
    """What the terminal shows."""
    lines = [f"A: {comparison.a}", f"B: {comparison.b}"]
    for _, rows in _tables(comparison, every_change):
        lines += ["", *aligned(rows)]
    notes = list(_notes(comparison, every_change))
    return [*lines, "", *notes] if notes else lines


def markdown(comparison: Comparison, *, every_change: bool = False) -> str:
    """The same as a page for a pull request."""
    parts = [f"**A** {_code(comparison.a)}, **B** {_code(comparison.b)}"]
    for title, rows in _tables(comparison, every_change):
        head, *body = [[_escaped(cell) for cell in row] for row in rows]
        lines = [" | ".join(row) for row in (head, ["---"] * len(head), *body)]
        parts.append(f"### {title}\n\n" + "\n".join(f"| {line} |" for line in lines))
    parts.append("\n".join(f"- {_escaped(note)}" for note in _notes(comparison, every_change)))
    return "\n\n".join(part for part in parts if part) + "\n"


def to_json(comparison: Comparison) -> dict[str, Any]:
    """All fields, every change included, and what `--fail-if-worse` would say."""
    document = dataclasses.asdict(comparison) | {"worse": comparison.worse}
    for case, compared in zip(document["cases"], comparison.cases, strict=True):
        for row, metric in zip(case["rows"], compared.rows, strict=True):
            row |= {"significant": metric.significant, "worse": metric.worse}
    plain: dict[str, Any] = finite(document)
    return plain


def _tables(comparison: Comparison, every_change: bool) -> Iterator[tuple[str, Rows]]:
    """(title, rows with their headers), of what there is to show."""
    scores = [row for case in comparison.cases for row in _score_rows(case)]
    if scores:
        yield "Scores", [HEADERS, *scores]
    changes = [row for case in comparison.cases for row in _change_rows(case, every_change)]
    if changes:
        yield "Changed answers", [CHANGE_HEADERS, *changes]
    speeds = [_speed_row(case.name, case.speed) for case in comparison.cases if case.speed and case.speed.both_timed]
    if speeds:
        yield "Speed", [SPEED_HEADERS, *speeds]


def _score_rows(case: ComparedCase) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(case.rows):
        # Of several metrics, the task's own says which answers were won and lost.
        counts = (f"{case.count('won'):,}", f"{case.count('lost'):,}") if number == 0 else ("", "")
        yield (
            case.name,
            row.metric,
            f"{row.questions:,}",
            f"{row.a:.3f}",
            f"{row.b:.3f}",
            f"{row.effect.value:+.3f} [{row.effect.low:+.3f}, {row.effect.high:+.3f}]",
            _p(row.effect.p),
            _p(row.p_holm),
            *counts,
            _said(row),
        )


def _said(row: MetricRow) -> str:
    verdict = ("B worse" if row.worse else "B better") if row.significant else "within chance"
    return f"{verdict}, {row.missing:,} missing" if row.missing else verdict


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 0 else "< 1e-300"


def _change_rows(case: ComparedCase, every: bool) -> Iterator[tuple[str, ...]]:
    """The lost ones first: what someone looks for."""
    ordered = sorted(case.changes, key=lambda change: ("lost", "won", "even").index(change.outcome))
    for change in ordered if every else ordered[:SHOWN_CHANGES]:
        gold = " | ".join(change.gold) if change.gold is not None else None
        yield (
            case.name,
            change.id,
            _shortened(change.a, every),
            _shortened(change.b, every),
            "none" if gold is None else _shortened(gold, every),
            {"won": "won", "lost": "LOST", "even": ""}[change.outcome],
        )


def _shortened(text: str, whole: bool) -> str:
    shown = repr(text)
    return shown if whole or len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."


def _speed_row(name: str, speed: Speed) -> tuple[str, ...]:
    ratio = "-"
    if speed.ratio is not None:
        interval = "" if speed.low is None else f" [{speed.low:.2f}, {speed.high:.2f}]"
        ratio = f"{speed.ratio:.2f}x{interval}"
    return name, _seconds(speed.a_seconds), _seconds(speed.b_seconds), ratio, speed.note


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2g}"


def _notes(comparison: Comparison, every_change: bool) -> Iterator[str]:
    for case in comparison.cases:
        if case.refused:
            yield f"{case.name}: NOT COMPARED: {case.refused}"
    noted: dict[str, list[str]] = {}
    for case in comparison.cases:
        for note in case.notes:
            noted.setdefault(note, []).append(case.name)
    for note, names in noted.items():
        every = len(names) == len(comparison.cases) > 1
        yield f"{'every case' if every else ', '.join(names)}: {note}"
    half_timed: dict[str, list[str]] = {}
    for case in comparison.cases:
        if case.speed and case.speed.timed and not case.speed.both_timed:
            half_timed.setdefault(case.speed.note, []).append(case.name)
    yield from (f"no speed, {note}: {_listed(names, every_change)}" for note, names in half_timed.items())
    for side, said in (("A", IN_A), ("B", IN_B)):
        if names := [text.removesuffix(said) for text in comparison.alone if text.endswith(said)]:
            yield f"not compared, in {side} only ({len(names):,}): {_listed(names, every_change)}"
    yield from comparison.notes
    hidden = sum(max(0, len(case.changes) - SHOWN_CHANGES) for case in comparison.cases)
    if hidden and not every_change:
        yield f"{hidden:,} more questions were answered otherwise: --all shows them"
    methods = dict.fromkeys(row.effect.method for case in comparison.cases for row in case.rows)
    if methods:
        yield f"p and interval: {'; '.join(methods)}"
    if any(case.speed and case.speed.over_baseline for case in comparison.cases):
        yield OVER_BASELINE


def _listed(names: Sequence[str], whole: bool) -> str:
    hint = "" if whole or len(names) <= SHOWN_CASES else " (--all shows them)"
    return some(names, len(names) if whole else SHOWN_CASES) + hint


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"


def _escaped(text: str) -> str:
    """Text of data and models is neither a cell's end nor markup. The p column holds `<` of our own, escaped alike."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(character, entity)
    return text.replace("[", "\\[").replace("*", "\\*").replace("_", "\\_").replace("\n", " ")
