"""A case's facts against those expected of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.gate.facts import COUNTERS, GROUP, IDENTITY, Answers, Facts, digest, group_digests, group_fact
from evalsuite.gate.findings import Finding
from evalsuite.gate.floors import Gain
from evalsuite.harness.table import aligned

SHOWN_ANSWERS = 10
SHOWN_CHARACTERS = 48
_NOT_COMPARED_AS_THEY_ARE = ("answers", "near_ties", "without_margin", "floor", "skipped", *IDENTITY)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRun:
    """What one case of this run did."""

    case: str
    """Node id."""
    facts: Facts
    answers: Answers
    gain: Gain | None
    """None where it was not timed, or has no baseline but itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What came of one case."""

    findings: tuple[Finding, ...]
    facts: int
    """How many were compared."""
    notes: tuple[str, ...] = ()


def compare_case(run: CaseRun, expected: Facts, answers: Mapping[str, str] | None, *, whole: bool) -> Comparison:
    """Every difference between a case and what is expected of it.

    Args:
        answers: the expected ones, where they were kept.
        whole: False where the run answered other questions than the expected one, by a limit: then work is another,
            and only answers to the same questions, the verdict and how the model was loaded are compared.
    """
    findings = list(_changed_facts(run, expected, whole=whole))
    names = sorted(_plain_names(run.facts, expected, whole=whole))
    same_questions = not any(finding.what in IDENTITY[:2] for finding in findings)
    notes: list[str] = []
    compared = len(names)
    if same_questions:
        found = _answers(run, expected, answers) if whole else _common_answers(run, expected, answers)
        findings += found
        compared += 1
    else:
        findings = [finding for finding in findings if not finding.what.startswith(COUNTERS)]
        notes.append(f"{run.case}: other questions than expected: work and answers were not compared")
    if whole and "floor" in expected:
        findings += _floor(run, expected["floor"])
        if run.gain is not None:
            compared += 1
    return Comparison(findings=tuple(findings), facts=compared, notes=tuple(notes))


def _plain_names(got: Facts, expected: Facts, *, whole: bool) -> set[str]:
    """Facts that are compared by being equal. Those that a newer evalsuite adds are missing on one side, and differ."""
    names = {*got, *expected} - set(_NOT_COMPARED_AS_THEY_ARE) - {"questions"}
    names = {name for name in names if not name.startswith(GROUP)}
    if not whole:
        return {name for name in names if not name.startswith(COUNTERS)}
    return names | {"questions", *IDENTITY}


def _changed_facts(run: CaseRun, expected: Facts, *, whole: bool) -> Iterator[Finding]:
    for name in sorted(_plain_names(run.facts, expected, whole=whole)):
        before, now = expected.get(name), run.facts.get(name)
        if before != now:
            yield Finding(
                case=run.case,
                what=name,
                expected=shown(before),
                got=shown(now),
                note=_note(name, before, now),
            )


def _note(name: str, before: Any, now: Any) -> str:
    if name.startswith(COUNTERS) and before is not None and now is not None:
        change = f" by {abs(now - before) / before:.2%}" if before else ""
        return f"{'more' if now > before else 'less'}{change}"
    return {
        "data": "the questions themselves changed",
        "prompts": "the questions are shown otherwise",
        "weights": "another model, or other weights",
        "loaded": "not loaded as expected",
        "steps_down": "a step down that was not expected" if now else "a step down is no longer taken",
    }.get(name, "")


def _answers(run: CaseRun, expected: Facts, answers: Mapping[str, str] | None) -> list[Finding]:
    """By digest first; near ties of the expected run are left out of both."""
    left_out = set(expected.get("near_ties", ()))
    now = {id_: answer for id_, answer in all_answers(run).items() if id_ not in left_out}
    if digest(now) == expected.get("answers"):
        return []
    return [
        Finding(
            case=run.case,
            what="answers",
            expected=shown(expected.get("answers")),
            got=digest(now),
            note=_how_many(now, answers),
            details=_changed_answers(run, now, answers) if answers is not None else _changed_groups(run, now, expected),
        )
    ]


def _common_answers(run: CaseRun, expected: Facts, answers: Mapping[str, str] | None) -> list[Finding]:
    left_out = set(expected.get("near_ties", ()))
    now = {id_: answer for id_, answer in all_answers(run).items() if id_ not in left_out}
    common = {} if answers is None else {id_: answer for id_, answer in answers.items() if id_ in now}
    if not common:
        why = "the answers' file does not hold them" if answers is None else "no question in common"
        return [Finding(case=run.case, what="answers", expected="some to compare", got="none", note=why)]
    now = {id_: now[id_] for id_ in common}
    if now == common:
        return []
    return [
        Finding(
            case=run.case,
            what="answers",
            expected=digest(common),
            got=digest(now),
            note=_how_many(now, common),
            details=_changed_answers(run, now, common),
        )
    ]


def all_answers(run: CaseRun) -> Mapping[str, str]:
    """Near ties of this run included: only those that were expected are excused."""
    return {**run.answers.by_id, **run.answers.close}


def _changed_answers(run: CaseRun, now: Mapping[str, str], before: Mapping[str, str]) -> tuple[str, ...]:
    changed = sorted(id_ for id_ in {*now, *before} if now.get(id_) != before.get(id_))
    rows = [("question", "expected", "got", "")]
    for id_ in changed[:SHOWN_ANSWERS]:
        margin = run.answers.near_ties.get(id_)
        tie = "" if margin is None else f"a near tie now (margin {margin:.2g}), and not when this was expected"
        rows.append((id_, _quoted(before.get(id_)), _quoted(now.get(id_)), tie))
    more = len(changed) - SHOWN_ANSWERS
    return (*aligned(rows), *([f"... and {more} more"] if more > 0 else []))


def _changed_groups(run: CaseRun, now: Mapping[str, str], expected: Facts) -> tuple[str, ...]:
    before = {name: value for name, value in expected.items() if name.startswith(GROUP)}
    digests = {group_fact(group): value for group, value in group_digests(now, run.answers.groups).items()}
    changed = sorted(name.removeprefix(GROUP) for name in before if digests.get(name) != before[name])
    lines = ["which ones is not known: the file of expected answers does not hold them"]
    return (*lines, *([f"groups with changed answers: {', '.join(changed)}"] if changed else []))


def _how_many(now: Mapping[str, str], before: Mapping[str, str] | None) -> str:
    if before is None:
        return "answers changed"
    changed = sum(now.get(id_) != before.get(id_) for id_ in {*now, *before})
    return f"{changed} of {len(before)} answers changed"


def _floor(run: CaseRun, floor: float) -> list[Finding]:
    gain = run.gain
    if gain is None or gain.bound >= floor:
        return []
    return [
        Finding(
            case=run.case, what="speed-up", expected=f"{floor:g}x at least", got=f"{gain.bound:.2f}x", note=gain.says
        )
    ]


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _quoted(answer: str | None) -> str:
    if answer is None:
        return "no answer"
    text = repr(answer)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
