"""Verdicts: whether a path gave the reference's answers, and each question on which it did not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, plural, significant
from evalsuite.report.saved import Shown, ShownCase
from evalsuite.report.tables import Column, badge, folded, note, section, table

KINDS = {
    "reference": ("bar", "the reference"),
    "faithful": ("circle", "faithful"),
    "unfaithful": ("cross", "not faithful"),
    "unjudged": ("diamond", "not judged"),
}
"""What a verdict is, to the shape of `plots.SHAPES` that stands for it, and its words."""
OPEN_FLIPS = 12
"""More of them start folded."""


def verdict_kind(record: Mapping[str, Any]) -> str:
    """One of `KINDS`."""
    verdict = record.get("verdict") or {}
    if verdict.get("faithful") is None:
        return "unjudged"
    if verdict.get("summary") == "reference":
        return "reference"
    return "faithful" if verdict["faithful"] else "unfaithful"


def flips(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What rounding does not explain first, then by margin, the widest first."""
    found = list((record.get("verdict") or {}).get("flips") or ())
    return sorted(found, key=lambda flip: (flip["excused"], -(number(flip["margin"]) or 0.0)))


def verdicts_section(shown: Shown) -> Html:
    columns = [
        Column(name="case"),
        Column(name="verdict", kind="text"),
        Column(name="compared"),
        Column(name="flips"),
        Column(name="noise, nats"),
        Column(name="99 % within, nats"),
        Column(name="float32 answers otherwise"),
    ]
    return section(
        "verdicts",
        "Verdicts",
        note(
            "A path is faithful when it gives the reference's answers, except flips whose margin in fp32 is below the "
            "noise: the 99.9th percentile of the reference's own difference between the run's dtype and fp32. "
            "“99 % within” is how far its log-probabilities are from the reference's: "
            "over twice the noise, it is not faithful."
        ),
        table("Verdict of every case", columns, map(_row, shown.cases)),
        *(_flips(case) for case in shown.cases if flips(case.record)),
    )


def _row(case: ShownCase) -> list[Child]:
    verdict, kind = case.record.get("verdict") or {}, verdict_kind(case.record)
    words = KINDS[kind][1]
    reason = verdict.get("reason") or (verdict.get("summary") if kind == "unjudged" else "")
    compared = verdict.get("compared")
    return [
        case.label,
        [badge(kind, words), f" {reason}" if reason else None],
        "" if compared is None else f"{compared:,} of {verdict['total']:,}",
        "" if compared is None else _count(flips(case.record)),
        _nats(verdict.get("noise")),
        _nats(verdict.get("path_difference")),
        _optional(verdict.get("reference_flips")),
    ]


def _count(found: list[Mapping[str, Any]]) -> str:
    excused = sum(flip["excused"] for flip in found)
    return f"{len(found):,}" + (f", {excused:,} below noise" if excused else "")


def _flips(case: ShownCase) -> Html:
    found = flips(case.record)
    columns = [
        Column(name="question"),
        Column(name="reference", kind="text"),
        Column(name="path", kind="text"),
        Column(name="margin, nats"),
        Column(name="", kind="text"),
    ]
    title = f"{case.label}: {plural(len(found), 'flip')}"
    return folded(
        title,
        table(title, columns, _flip_rows(found, linked=case.case.answers is not None)),
        open_=len(found) <= OPEN_FLIPS,
    )


def _flip_rows(found: Iterable[Mapping[str, Any]], *, linked: bool) -> Iterable[list[Child]]:
    for flip in found:
        yield [
            element("a", flip["id"], href="#questions", data_find=flip["id"]) if linked else flip["id"],
            flip["reference"],
            flip["path"],
            "none: rounding cannot do this" if flip["margin"] is None else _nats(flip["margin"]),
            badge("excused", "below noise") if flip["excused"] else badge("unfaithful", "changed"),
        ]


def _nats(value: Any) -> str:
    known = number(value)
    return ("" if value is None else str(value)) if known is None else significant(known, 2)


def _optional(value: Any) -> str:
    return "" if value is None else f"{value:,}"
