"""What the closing table says of the judge. Records in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def mean(score: Mapping[str, Any] | None) -> str:
    """A mean with its standard error: `0.857 ± 0.031`."""
    if score is None:
        return "n/a"
    spread = "" if score["stderr"] is None else f" ± {score['stderr']:.3f}"
    return f"{score['value']:.3f}{spread}"


def judge_cell(record: Mapping[str, Any]) -> str:
    """The judge's mean, and how many grades are missing; a dash where no judge was asked."""
    judge = record.get("judge")
    if not judge or "skipped" in judge:
        return "-"
    return mean(judge["score"]) + (f", {judge['missing']:,} missing" if judge["missing"] else "")


def judge_notes(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Who judged by which words, what is missing and why, and what no judge was asked about."""
    asked = [(record, record["judge"]) for record in records if record.get("judge")]
    graded = [(record, judge) for record, judge in asked if "skipped" not in judge]
    for record, judge in graded:
        prompt = judge["prompt"]
        yield f"{record['task']}: judged by {judge['name']}, prompt {prompt['version']} ({prompt['hash']})"
    for record, judge in graded:
        if judge["missing"]:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in judge["reasons"].items())
            every = judge["graded"] + judge["missing"]
            yield f"{record['case']}: {judge['missing']:,} of {every:,} grades missing: {reasons}"
    for record, judge in asked:
        if "skipped" in judge:
            yield f"{record['task']}: no judge asked: {judge['skipped']}"
    if asked and not graded:
        yield "--judge had nothing to grade: it grades the answers of viquad and vietnews"
