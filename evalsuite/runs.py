"""Reading back what a run left on disk. No torch: reports, comparisons and gates start in a moment."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import DataError
from evalsuite.results import DEFAULT_FOLDER
from evalsuite.results import SUMMARY as SUMMARY
from evalsuite.resume.folder import FOLDER as JOURNAL

logger = logging.getLogger("evalsuite")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseRun:
    """One case of a run."""

    name: str
    record: Mapping[str, Any]
    """As `harness.record.case_record` makes it."""
    answers: Path | None
    """The JSON-lines file of its questions; None for a case that answers none."""

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """The questions as `results.question_line` writes them, in the order answered.

        A torn last line, as a killed run leaves it, is left out and logged.

        Raises:
            DataError: the file is missing, or a line but the last is no JSON object.
        """
        if self.answers is None:
            return
        try:
            texts = self.answers.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            raise DataError(f"{self.answers}: expected the answers of {self.name}; {reason}. {self._remedy}") from error
        for number, text in enumerate(texts, 1):
            if not text:
                continue
            try:
                line = _object(text)
            except ValueError as error:
                if number == len(texts):  # no newline behind it: it was being written
                    logger.warning("%s:%d: a torn last line is left out", self.answers, number)
                    return
                raise DataError(
                    f"{self.answers}:{number}: expected one JSON object a line; {error}. {self._remedy}"
                ) from error
            yield line

    @property
    def _remedy(self) -> str:
        """What to do about damaged answers."""
        run = self.answers.parent if self.answers else "RUN"
        return f"The run's journal may still hold them: give the options of the run anew, with --resume={run}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run's folder."""

    path: Path
    name: str
    cases: Mapping[str, CaseRun]
    """By name, in the order they ended."""
    session: str | None = None
    """The same for all workers of one call under `-n`, each of which has a folder; None without workers, and in runs of
    before it was kept."""


def read_run(path: Path) -> Run:
    """Read a run's folder, or the `summary.json` in it.

    Raises:
        DataError: neither is there, or it is not what a run writes.
    """
    summary = path if path.name == SUMMARY else path / SUMMARY
    try:
        document = json.loads(summary.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(_no_run(path, error)) from error
    except ValueError as error:
        raise DataError(
            f"{summary}: expected JSON as a run writes it; the file is there, but damaged: {error}. {_remedy(summary)}"
        ) from error
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, dict) or not all(isinstance(record, dict) for record in cases.values()):
        raise DataError(
            f"{summary}: expected an object with 'cases', one record a case; got something else. {_remedy(summary)}"
        )
    folder = summary.parent
    known = document.get("provenance")
    return Run(
        path=folder,
        name=str(document.get("run", folder.name)),
        cases={
            name: CaseRun(name=name, record=record, answers=_answers(folder, record)) for name, record in cases.items()
        },
        session=known.get("session") if isinstance(known, dict) else None,
    )


def latest_run(folder: Path) -> Path:
    """The newest run in a results folder: run folders are named by the time they began.

    Raises:
        DataError: there is none.
    """
    runs = sorted(path.parent for path in folder.glob(f"*/{SUMMARY}"))
    if not runs:
        raise DataError(f"{folder}: expected at least one run's folder in it, found none")
    return runs[-1]


def latest_answered_runs(folder: Path) -> tuple[list[Path], list[str]]:
    """The newest run in a results folder that has answers to questions, and why others were passed over.

    Several folders, the newest first, where workers shared the run. Passed over are newer runs without answers, workers
    of the same run without answers, and damaged runs that may be either.

    Raises:
        DataError: there is none.
    """
    found: list[Path] = []
    passed_over: list[str] = []
    session = None
    for path in sorted((summary.parent for summary in folder.glob(f"*/{SUMMARY}")), reverse=True):
        if found and session is None:
            break
        try:
            run = read_run(path)
        except DataError as error:
            passed_over.append(str(error))
            continue
        if found and run.session != session:
            continue
        if any(case.answers for case in run.cases.values()):
            found.append(path)
            session = run.session
        else:
            passed_over.append(f"{path}: {why_no_answers(run)}")
    if not found:
        reasons = "\n".join(["found none", *passed_over])
        raise DataError(f"{folder}: expected at least one run's folder with answers in it, {reasons}")
    return found, passed_over


def why_no_answers(run: Run) -> str:
    """Why no case of a run has answers that can be used, and what to do."""
    if run.cases:
        return f"its {len(run.cases)} cases answer no questions"
    if any((run.path / JOURNAL).glob("*.jsonl")):
        return f"it is not finished; to finish it, give its options anew, with --resume={run.path}"
    return "it was ended before its first answer"


def _object(text: str) -> dict[str, Any]:
    """Raises `ValueError` for what is no JSON object."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"got {type(value).__name__}")
    return value


def _no_run(path: Path, error: OSError) -> str:
    """What to do about a path at which no run can be read."""
    where = f"{DEFAULT_FOLDER}/ or in what --results named"
    if isinstance(error, FileNotFoundError) and path.is_dir():
        reason = f"there is no {SUMMARY} in this one"
        if any(path.glob(f"*/{SUMMARY}")):
            where = "it"
    elif isinstance(error, FileNotFoundError):
        reason = "there is nothing of that name"
    elif isinstance(error, NotADirectoryError):
        reason = "this is a file"
    else:
        reason = f"it cannot be read ({error.strerror or error})"
    return f"{path}: expected a run's folder, but {reason}; give one of the folders in {where}"


def _remedy(summary: Path) -> str:
    """What to do about a damaged summary."""
    run = summary.parent
    if not (run / JOURNAL).is_dir():
        return "The run has no journal that it could be made anew from: run it again"
    return f"Give the options of the run anew, with --resume={run}: it is made anew from the run's journal"


def _answers(folder: Path, record: Mapping[str, Any]) -> Path | None:
    return folder / str(record["answers"]) if record.get("answers") else None
