"""A run's folder as a side of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalsuite.compare.sides import Answered, Side, SideCase
from evalsuite.errors import DataError
from evalsuite.runs import CaseRun, read_run, why_no_answers

JUDGE = "judge"


def read_side(path: Path) -> Side:
    """The cases of a run that answer questions. Raises `DataError`."""
    run = read_run(path)
    cases = {name: _side_case(case) for name, case in run.cases.items() if case.answers is not None}
    if not cases:
        raise DataError(f"{path}: expected a run with answered questions; {why_no_answers(run)}")
    return Side(name=run.name, path=run.path, cases=cases)


def _side_case(case: CaseRun) -> SideCase:
    def read() -> tuple[Answered, ...]:
        return tuple(_answered(case))

    return SideCase(
        name=case.name,
        task=str(case.record.get("task", case.name)),
        main_metric=(case.record.get("score") or {}).get("name"),
        source="evalsuite",
        read=read,
        record=case.record,
    )


def _answered(case: CaseRun) -> Iterator[Answered]:
    for number, line in enumerate(case.lines(), 1):
        try:
            scores = dict(line["scores"])
            if line.get(JUDGE) is not None:
                scores[JUDGE] = line[JUDGE]
            yield Answered(
                id=line["id"],
                prompt_hash=line["prompt_hash"],
                prediction=line["prediction"],
                gold=None if line["gold"] is None else tuple(line["gold"]),
                scores={name: float(value) for name, value in scores.items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{case.answers}:{number}: expected a question's line with id, prompt_hash, prediction, gold and "
                f"scores; {type(error).__name__}: {error}"
            ) from error
