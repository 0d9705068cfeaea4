"""Which case is compared with which, and which of their questions: the same question, shown in the same words."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalsuite.compare.opening import find_case
from evalsuite.compare.sides import Answered, Side, SideCase
from evalsuite.errors import DataError

IN_A, IN_B = " is in A only", " is in B only"
"""What is said behind the name of a case without a partner."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CasePair:
    """A case of A and the case of B that it is compared with."""

    a: SideCase
    b: SideCase

    @property
    def name(self) -> str:
        return self.a.name if self.a.name == self.b.name else f"{self.a.name} / {self.b.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionPairs:
    """The questions that both answered, and why others were left out."""

    pairs: tuple[tuple[Answered, Answered], ...]
    left_out: Mapping[str, int]
    """Reason to number of questions."""
    a_questions: int
    """All that A answered."""
    b_questions: int
    shown_alike: int
    """Those that both were shown in the same words, whatever their published answers."""


def pair_cases(a: Side, b: Side) -> tuple[list[CasePair], list[str]]:
    """The pairs, and what has no partner, in words.

    Cases named by the caller are paired; else those of one name; else, where a task has one case left on each side,
    these two. A run of ours and a sample log are paired by what was asked, since their names differ; but where the
    logs are an export of ours, its cases have their names, and those of one name are paired.

    Raises:
        DataError: a case that was named has no partner, or several.
    """
    if a.only is not None and b.only is not None:
        return [CasePair(a=a.cases[a.only], b=b.cases[b.only])], []
    if a.only is not None or b.only is not None:
        return [_with_partner(a, b)], []
    if _sources(a) != _sources(b) and not a.cases.keys() & b.cases.keys():
        return _by_prompts(a, b)
    pairs = [CasePair(a=case, b=b.cases[name]) for name, case in a.cases.items() if name in b.cases]
    rest_a = [case for name, case in a.cases.items() if name not in b.cases]
    rest_b = [case for name, case in b.cases.items() if name not in a.cases]
    for case in list(rest_a):
        partners = [other for other in rest_b if other.task == case.task]
        if len(partners) == 1 and sum(other.task == case.task for other in rest_a) == 1:
            pairs.append(CasePair(a=case, b=partners[0]))
            rest_a.remove(case)
            rest_b.remove(partners[0])
    alone = [f"{case.name}{where}" for where, rest in ((IN_A, rest_a), (IN_B, rest_b)) for case in rest]
    return pairs, alone


def _sources(side: Side) -> set[str]:
    return {case.source for case in side.cases.values()}


def _with_partner(a: Side, b: Side) -> CasePair:
    """One side's case was named: its namesake, or the one case of the same task."""
    named, other = (a, b) if a.only is not None else (b, a)
    assert named.only is not None
    case = named.cases[named.only]
    if case.name in other.cases:
        partner = find_case(other, case.name)
    elif _sources(a) != _sources(b):
        partner = _pooled(case, other) if case.source == "evalsuite" else _only_case(case, other)
    else:
        partner = _only_case(case, other)
    return CasePair(a=case, b=partner) if named is a else CasePair(a=partner, b=case)


def _only_case(case: SideCase, side: Side) -> SideCase:
    partners = [other for other in side.cases.values() if other.task == case.task or len(side.cases) == 1]
    if len(partners) != 1:
        raise DataError(
            f"{side.name}: expected one case to compare {case.name} with, found {len(partners)}; "
            f"name it behind the path, as in {side.path}:CASE; its cases: {', '.join(side.cases)}"
        )
    return partners[0]


def _by_prompts(a: Side, b: Side) -> tuple[list[CasePair], list[str]]:
    """Each case of our run against those of the harness's logs that asked the same."""
    ours, logs = (a, b) if "evalsuite" in _sources(a) else (b, a)
    pairs = []
    for case in ours.cases.values():
        pooled = _pooled(case, logs)
        pairs.append(CasePair(a=case, b=pooled) if ours is a else CasePair(a=pooled, b=case))
    return pairs, []


def _pooled(case: SideCase, logs: Side) -> SideCase:
    """The logs that share a prompt with `case`, as one case: the harness has one a subject. All, where none does."""
    asked = {answered.prompt_hash for answered in case.read()}
    sharing = [log for log in logs.cases.values() if any(q.prompt_hash in asked for q in log.read())]
    # Of a task logged once a filter, the first: the same answers read in other ways are no other questions.
    chosen = list({log.task: log for log in reversed(sharing or list(logs.cases.values()))}.values())[::-1]
    first = chosen[0]
    name = first.name if len(chosen) == 1 else f"{first.name} and {len(chosen) - 1} more"
    questions = tuple(question for log in chosen for question in log.read())
    return dataclasses.replace(first, name=name, task=case.task, read=lambda: questions)


def pair_questions(pair: CasePair, *, other_prompts: bool = False) -> QuestionPairs:
    """Match by id; across formats, where ids differ, by prompt.

    Args:
        other_prompts: compare a question also where the two were shown it in other words.

    Raises:
        DataError: a side answers a question twice, or there is no question left to compare.
    """
    a, b = pair.a.read(), pair.b.read()
    one_format = pair.a.source == pair.b.source
    keyed_a: Mapping[object, Answered] = _by_id(pair.a, a) if one_format else _by_prompt(a)
    keyed_b: Mapping[object, Answered] = _by_id(pair.b, b) if one_format else _by_prompt(b)
    left_out: Counter[str] = Counter()
    shown_alike = 0
    pairs = []
    for key, one in keyed_a.items():
        if (other := keyed_b.get(key)) is None:
            left_out["in A only"] += 1
            continue
        shown_alike += one.prompt_hash == other.prompt_hash
        if one.prompt_hash != other.prompt_hash and not other_prompts:
            left_out["shown in other words"] += 1
        elif _golds_differ(one, other, one_format=one_format):
            left_out["another published answer"] += 1
        else:
            pairs.append((one, other))
    if only_b := len(keyed_b.keys() - keyed_a.keys()):
        left_out["in B only"] = only_b
    return QuestionPairs(
        pairs=tuple(pairs),
        left_out=dict(left_out),
        a_questions=len(keyed_a),
        b_questions=len(keyed_b),
        shown_alike=shown_alike,
    )


def _by_id(case: SideCase, questions: Sequence[Answered]) -> Mapping[object, Answered]:
    keyed: Mapping[object, Answered] = {question.id: question for question in questions}
    if len(keyed) != len(questions):
        twice = next(id_ for id_, count in Counter(question.id for question in questions).items() if count > 1)
        raise DataError(f"{case.name}: expected one answer a question, got several for {twice!r}")
    return keyed


def _by_prompt(questions: Sequence[Answered]) -> Mapping[object, Answered]:
    """Keyed by prompt, and by number among equal ones: a set may ask the same twice."""
    return dict(_numbered(questions))


def _numbered(questions: Sequence[Answered]) -> Iterator[tuple[tuple[str, int], Answered]]:
    seen: Counter[str] = Counter()
    for question in questions:
        yield (question.prompt_hash, seen[question.prompt_hash]), question
        seen[question.prompt_hash] += 1


def _golds_differ(one: Answered, other: Answered, *, one_format: bool) -> bool:
    """The harness keeps one of several accepted answers, so across formats one in common will do."""
    if one.gold is None or other.gold is None or one_format:
        return one.gold != other.gold
    return not set(one.gold) & set(other.gold)
