"""A run made again by its own command, and whether it gave the same answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import DataError
from evalsuite.judge.secret import HIDDEN
from evalsuite.resume.key import differences
from evalsuite.runs import SUMMARY, CaseRun, Run, read_run, why_no_answers

SHOWN = 10
SHOWN_CHARACTERS = 40
PYTEST_ENDED = (0, 1)
"""Exit codes of a pytest that ran everything: cases may fail again as they did before."""
_LEFT_OUT = ("--results", "--resume", "-n", "--numprocesses", "--dist", "--tx")
"""Options that each take a value, or may."""
_CHANGES = ("git", "code", "evalsuite", "python", "versions", "environment")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseAgain:
    """One case, then and now."""

    name: str
    questions: int
    same_answers: int
    same_numbers: int
    """Answers with the same log-probabilities, or the same text and number of tokens, to the last bit."""
    changed: tuple[tuple[str, str, str], ...]
    """(question, answer then, answer now); an answer that is not there is said to be missing."""
    depends: tuple[str, ...]
    """What changed of that which answers depend on: data, prompts, model, configuration."""


def again(run: Run, results: Path) -> Run:
    """Run the command of `run` once more; the new run, its folder in `results`.

    Raises:
        DataError: the run has no answers or does not say its command, pytest did not come to its end, or the new run
            has no answers.
    """
    if not has_answers(run):
        raise DataError(
            f"{run.path}: expected a run with answers, to compare new ones with; {why_no_answers(run)}. Nothing was "
            "run; where its cases failed, what pytest printed says why"
        )
    known = provenance_of(run)
    directory = Path(known["directory"])
    if not directory.is_dir():
        raise DataError(f"{run.path}: expected the directory that it was called in, {directory}; it is not there")
    if hidden := [argument for argument in known["command"] if HIDDEN in argument]:
        raise DataError(f"{run.path}: expected its whole command, but a secret was left out of {hidden[0]!r}")
    command = [sys.executable, "-m", "pytest", *command_again(known["command"]), "--results", str(results.resolve())]
    process = subprocess.Popen(command, cwd=directory, env=os.environ | known["environment"])
    code = process.wait()
    found = sorted(results.glob(f"*-{process.pid}/{SUMMARY}"))
    if code not in PYTEST_ENDED or not found:
        raise DataError(f"{run.path}: expected its command to run to the end, and pytest ended with code {code}")
    now = read_run(found[-1])
    if not has_answers(now):
        raise DataError(
            f"{now.path}: expected answers, to compare with those of {run.path}; {why_no_answers(now)}. What pytest "
            f"printed above says why (it ended with code {code})"
        )
    return now


def has_answers(run: Run) -> bool:
    """Whether any case has a line. Raises `DataError` for answers that cannot be read."""
    return any(True for case in run.cases.values() for _ in case.lines())


def command_again(command: Sequence[str]) -> list[str]:
    """Its arguments, but for where results go, a run that was gone on with, and workers."""
    kept: list[str] = []
    waiting = False
    for argument in command:
        is_value, waiting = waiting and not argument.startswith("-"), False
        option, _, value = argument.partition("=")
        if is_value or re.fullmatch(r"-n(\d+|auto|logical)", argument):
            continue
        if option in _LEFT_OUT:
            waiting = not value
        else:
            kept.append(argument)
    return kept


def provenance_of(run: Run) -> Mapping[str, Any]:
    """The `provenance` of its summary. Raises `DataError` for a run of before it was kept."""
    known = json.loads((run.path / SUMMARY).read_text(encoding="utf-8")).get("provenance")
    if not known:
        raise DataError(f"{run.path / SUMMARY}: expected the run's provenance; it is of an older version")
    return known  # type: ignore[no-any-return]


def changes(then: Run, now: Run) -> list[str]:
    """What is not as it was: code, versions, hardware."""
    before, after = provenance_of(then), provenance_of(now)
    return differences({name: before.get(name) for name in _CHANGES}, {name: after.get(name) for name in _CHANGES})


def compare_cases(then: Run, now: Run) -> Iterator[CaseAgain]:
    """Every case of `then` that answers questions; one that `now` lacks has no answer that is the same."""
    for name, case in then.cases.items():
        if case.answers is not None:
            yield _compare(case, now.cases.get(name))


def report_lines(cases: Sequence[CaseAgain]) -> list[str]:
    """Counts of each case, the first questions that were answered otherwise, and the sum."""
    from evalsuite.harness.table import aligned

    rows = [("case", "questions", "same answers", "same to the last bit")]
    rows += [(c.name, f"{c.questions:,}", f"{c.same_answers:,}", f"{c.same_numbers:,}") for c in cases]
    lines = aligned(rows)
    lines += [f"{case.name}: {change}" for case in cases for change in case.depends]
    changed = [(case.name, *change) for case in cases for change in case.changed]
    lines += [f"{name}: {id_}: {_short(old)} -> {_short(new)}" for name, id_, old, new in changed[:SHOWN]]
    if len(changed) > SHOWN:
        lines.append(f"... and {len(changed) - SHOWN:,} more")
    questions = sum(case.questions for case in cases)
    if not questions and not changed:
        return [*lines, "nothing compared: there is no answer in either run"]
    same = "the same answers" if not changed else f"{len(changed):,} answers differ"
    return [*lines, f"{same} ({questions:,} questions in {len(cases)} cases)"]


def _compare(then: CaseRun, now: CaseRun | None) -> CaseAgain:
    before = {line["id"]: line for line in then.lines()}
    after = {line["id"]: line for line in now.lines()} if now is not None else {}
    changed = tuple(
        (id_, line["prediction"], after[id_]["prediction"] if id_ in after else "missing")
        for id_, line in before.items()
        if id_ not in after or line["prediction"] != after[id_]["prediction"]
    ) + tuple((id_, "missing", line["prediction"]) for id_, line in after.items() if id_ not in before)
    prints = [dict(case.record["fingerprints"]) if case is not None else {} for case in (then, now)]
    return CaseAgain(
        name=then.name,
        questions=len(before),
        same_answers=len(before) - sum(id_ in before for id_, _, _ in changed),
        same_numbers=sum(id_ in after and _numbers(line) == _numbers(after[id_]) for id_, line in before.items()),
        changed=changed,
        depends=tuple(differences(*prints)),
    )


def _numbers(line: Mapping[str, Any]) -> Any:
    return line["logprobs"] if "logprobs" in line else (line["text"], line["tokens"])


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."
