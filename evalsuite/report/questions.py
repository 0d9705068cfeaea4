"""The questions of a page, packed for `page.js`: JSON, compressed, in base64, so that no text can be markup.

Answers that are alike are kept once with the cases that gave them, and what the prompts of a group begin with alike
(instructions, shots) once a group. The form:

    {"cases": [label], "tasks": [name], "groups": [name], "openings": [text],
     "questions": [[task, group, id, opening, prompt, continuations, gold, answers, flips]]}
    answers: [[cases], prediction, score, {metric: value}, logprobs, text, [judge, problem, reply]]
    flips:   [case, reference, path, margin, excused]

Numbers for task, group, opening and case are indices; -1 for an opening or null for a prompt: there is none.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalsuite.errors import DataError
from evalsuite.prompts import read_prompts
from evalsuite.report.saved import Shown, ShownCase

SHORTEST_OPENING = 40
"""Characters. What is shared by less is not worth a name."""
COMPRESSION = 3
LOGPROB_DIGITS = 3


@dataclass(kw_only=True, slots=True)
class Question:
    """A question with what every case answered to it."""

    task: str
    group: str
    id: str
    prompt: str | None
    continuations: Sequence[str] = ()
    gold: Sequence[str] | None
    answers: dict[tuple[Any, ...], tuple[list[int], list[Any]]] = field(default_factory=dict)
    """What tells answers apart, to the cases that gave one and the answer."""
    flips: list[list[Any]] = field(default_factory=list)


def read_questions(shown: Shown, *, with_prompts: bool = True) -> list[Question]:
    """The questions of every shown case that left its answers on disk. One is another if its prompt is another.

    Raises:
        DataError: a file of answers or prompts is missing or is not what a run writes.
    """
    questions: dict[tuple[str, str, str], Question] = {}
    prompts: dict[tuple[str, str], Mapping[str, Mapping[str, Any]]] = {}
    for number, case in enumerate(shown.cases):
        of_run = (str(case.saved.run.path), case.task)
        if with_prompts and of_run not in prompts:
            prompts[of_run] = _prompts(case)
        _add_case(questions, number, case, prompts.get(of_run, {}))
    return list(questions.values())


def pack(shown: Shown, questions: Sequence[Question]) -> str:
    """The text that `page.js` unpacks."""
    tasks = list(dict.fromkeys(question.task for question in questions))
    groups = list(dict.fromkeys(question.group for question in questions))
    task_numbers, group_numbers = _numbered(tasks), _numbered(groups)
    openings = _openings(questions)
    opening_numbers = _numbered(dict.fromkeys(opening for opening in openings.values() if opening))
    rows = []
    for question in questions:
        opening = openings.get((question.task, question.group), "") if question.prompt is not None else ""
        rows.append(
            [
                task_numbers[question.task],
                group_numbers[question.group],
                question.id,
                opening_numbers.get(opening, -1),
                None if question.prompt is None else question.prompt[len(opening) :],
                question.continuations,
                question.gold,
                [[cases, *answer] for cases, answer in question.answers.values()],
                question.flips,
            ]
        )
    document = {
        "cases": [case.label for case in shown.cases],
        "tasks": tasks,
        "groups": groups,
        "openings": list(opening_numbers),
        "questions": rows,
    }
    text = json.dumps(document, separators=(",", ":"))  # in ASCII: a lone surrogate has no UTF-8
    return base64.b64encode(gzip.compress(text.encode(), COMPRESSION, mtime=0)).decode()


def _add_case(
    questions: dict[tuple[str, str, str], Question],
    number: int,
    case: ShownCase,
    prompts: Mapping[str, Mapping[str, Any]],
) -> None:
    flips = {flip["id"]: flip for flip in (case.record.get("verdict") or {}).get("flips") or ()}
    for line in case.case.lines():
        key = case.task, line["id"], line["prompt_hash"]
        if key not in questions:
            prompt = prompts.get(line["prompt_hash"], {})
            questions[key] = Question(
                task=case.task,
                group=line["group"],
                id=line["id"],
                prompt=prompt.get("prompt"),
                continuations=prompt.get("continuations", ()),
                gold=line["gold"],
            )
        question = questions[key]
        alike = _alike(line)
        if alike not in question.answers:
            question.answers[alike] = [], _answer(line)
        question.answers[alike][0].append(number)
        if flip := flips.get(line["id"]):
            margin, excused = flip["margin"], flip["excused"]
            question.flips.append([number, flip["reference"], flip["path"], margin, excused])


def _prompts(case: ShownCase) -> Mapping[str, Mapping[str, Any]]:
    """Those of the case's task, by hash; none where the case left no answers on disk."""
    if not case.case.answers:
        return {}
    run = case.saved.run.path
    try:
        return read_prompts(run, case.task)
    except DataError as error:
        raise DataError(
            f"{error}. --without-prompts makes the page without them; to have them written anew, delete the file and "
            f"give the options of the run anew, with --resume={run}"
        ) from error


def _alike(line: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells answers apart. Log-probabilities do not: they differ in their last digits."""
    judged = line.get("judge"), line.get("judge_problem"), line.get("judge_reply")
    return (line["prediction"], line.get("text"), line["score"], *line["scores"].items(), *judged)


def _answer(line: Mapping[str, Any]) -> list[Any]:
    logprobs = line.get("logprobs")
    text = line.get("text")
    return [
        line["prediction"],
        line["score"],
        line["scores"],
        logprobs and [round(p, LOGPROB_DIGITS) if isinstance(p, float) else p for p in logprobs],
        text if text is not None and text.strip() != line["prediction"] else None,
        [line["judge"], line.get("judge_problem"), line.get("judge_reply")] if "judge" in line else None,
    ]


def _openings(questions: Iterable[Question]) -> dict[tuple[str, str], str]:
    """What the prompts of a task's group begin with alike, in whole lines; nothing for a single prompt."""
    prompts: dict[tuple[str, str], list[str]] = {}
    for question in questions:
        if question.prompt is not None:
            prompts.setdefault((question.task, question.group), []).append(question.prompt)
    shared = {key: _common(texts) for key, texts in prompts.items()}
    lines = {key: text[: text.rfind("\n") + 1] for key, text in shared.items()}
    return {key: text if len(text) >= SHORTEST_OPENING else "" for key, text in lines.items()}


def _common(texts: Sequence[str]) -> str:
    """What all begin with; nothing for a single one. The first and the last in order differ first."""
    first, last = min(texts), max(texts)
    pairs = zip(first, last, strict=False)
    length = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(last)))
    return first[:length] if len(texts) > 1 else ""


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
