"""Runs as they were saved, and which of their cases the page shows.

Three forms are read: a run's folder, a results folder (all runs in it), and the JSON that pytest-benchmark writes by
`--benchmark-json` and `--benchmark-autosave`, whose `extra_info` is a case's record.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evalsuite.errors import DataError
from evalsuite.report.numbers import plural
from evalsuite.runs import SUMMARY, CaseRun, Run, read_run

_BEGAN = re.compile(r"\d{8}-\d{6}")
"""How the name of a run's folder starts: see `evalsuite.results`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedRun:
    """A run and when it began."""

    run: Run
    began: datetime
    """UTC."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What was found at the paths that were given."""

    runs: Sequence[SavedRun]
    """Oldest first, each once."""
    damaged: Sequence[str] = ()
    """Of each run that is left out, since its summary cannot be read: where it is and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownCase:
    """A case as the page shows it: its newest record of those that answered most questions."""

    label: str
    """Its name; with its model where another model ran a case of that name."""
    case: CaseRun
    saved: SavedRun

    @property
    def record(self) -> Mapping[str, Any]:
        return self.case.record

    @property
    def task(self) -> str:
        return str(self.record["task"])

    @property
    def narrowed(self) -> str:
        """`10 of 120 (--limit)` where options left questions out, else nothing."""
        answered, in_data = self.record["questions"], self.record.get("questions_in_data", self.record["questions"])
        left_out = self.record.get("left_out") or 0
        options = [*["--limit"] * (left_out > 0), *["--reference-limit"] * (answered < in_data)]
        return f"{answered:,} of {in_data + left_out:,} ({', '.join(options)})" if options else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """Everything that a page is made of."""

    runs: Sequence[SavedRun]
    """Those that evaluated a task, oldest first."""
    cases: Sequence[ShownCase]
    """By task, in the order that runs and cases came in."""
    history: Mapping[str, Mapping[int, Mapping[str, Any]]]
    """Label of a case to its records, by the index of their run in `runs`."""
    older: Sequence[str]
    """Labels of cases that a newer run has too, with fewer questions."""
    others: Sequence[str]
    """Names of cases that evaluate no task, which the page cannot show."""
    unanswered: Sequence[SavedRun] = ()
    """Runs that evaluated no task, oldest first."""
    damaged: Sequence[str] = ()
    """As `Saved.damaged`."""

    @property
    def run_count(self) -> int:
        """Of `runs`, the folders of several workers taken for one."""
        return len({one.run.session or id(one) for one in self.runs})

    @property
    def in_words(self) -> str:
        """How many runs: `3 runs`, or `2 runs in 3 folders` where workers left several."""
        folders = f" in {len(self.runs):,} folders" if self.run_count < len(self.runs) else ""
        return f"{plural(self.run_count, 'run')}{folders}"

    @property
    def by_task(self) -> Mapping[str, Sequence[ShownCase]]:
        tasks: dict[str, list[ShownCase]] = {}
        for case in self.cases:
            tasks.setdefault(case.task, []).append(case)
        return tasks


def read_saved(paths: Iterable[Path]) -> Saved:
    """The runs at these paths. One damaged run takes no other from the page.

    Raises:
        DataError: a path is none of the three forms, or not one run can be read.
    """
    runs: dict[Path, SavedRun] = {}
    damaged: dict[Path, str] = {}
    for path in (found for given in paths for found in _expanded(given)):
        try:
            saved = _read(path)
        except DataError as error:
            if not _summary(path).is_file():
                raise
            damaged.setdefault(_summary(path).resolve(), str(error))
        else:
            runs.setdefault(saved.run.path.resolve(), saved)
    if damaged and not runs:
        raise DataError("\n".join(damaged.values()))
    return Saved(runs=sorted(runs.values(), key=lambda saved: saved.began), damaged=tuple(damaged.values()))


def shown(saved: Saved) -> Shown:
    """Of every case of every model, the newest record of those with the most questions; and all of them as history.

    A short trial after a full run so takes nothing from the page.
    """
    answered = {id(one): any(map(_evaluates, one.run.cases.values())) for one in saved.runs}
    runs = [one for one in saved.runs if answered[id(one)]]
    evaluations = [
        (index, case) for index, one in enumerate(runs) for case in one.run.cases.values() if _evaluates(case)
    ]
    models = {(case.name, model_name(case.record)) for _, case in evaluations}
    of_several = {name for name, count in Counter(name for name, _ in models).items() if count > 1}
    history: dict[str, dict[int, Mapping[str, Any]]] = {}
    chosen: dict[str, ShownCase] = {}
    for index, case in evaluations:
        label = f"{case.name} · {model_name(case.record)}" if case.name in of_several else case.name
        history.setdefault(label, {})[index] = case.record
        if label not in chosen or case.record["questions"] >= chosen[label].record["questions"]:
            chosen[label] = ShownCase(label=label, case=case, saved=runs[index])
    every = [case for one in saved.runs for case in one.run.cases.values()]
    return Shown(
        runs=runs,
        cases=list(chosen.values()),
        history=history,
        older=[label for label, case in chosen.items() if case.record is not history[label][max(history[label])]],
        others=sorted({case.name for case in every if not _evaluates(case)}),
        unanswered=[one for one in saved.runs if not answered[id(one)]],
        damaged=saved.damaged,
    )


def _evaluates(case: CaseRun) -> bool:
    """Whether it answered the questions of a task."""
    return bool(case.record.get("task") and case.record.get("counters"))


def model_name(record: Mapping[str, Any]) -> str:
    """The model, and the checkpoint whose weights it had."""
    checkpoint = (record.get("config") or {}).get("checkpoint")
    return f"{record.get('model', '?')} ({checkpoint})" if checkpoint else str(record.get("model", "?"))


def _expanded(path: Path) -> list[Path]:
    """The path, or the runs in it where it is a folder of runs."""
    if not path.is_dir() or (path / SUMMARY).exists():
        return [path]
    inside = sorted(summary.parent for summary in path.glob(f"*/{SUMMARY}"))
    if not inside:
        raise DataError(f"{path}: expected a run's folder, or a folder of runs; found no {SUMMARY} in it")
    return inside


def _summary(path: Path) -> Path:
    return path if path.name == SUMMARY else path / SUMMARY


def _read(path: Path) -> SavedRun:
    if path.is_file() and path.name != SUMMARY:
        return _read_benchmark_json(path)
    run = read_run(path)
    named = _BEGAN.match(run.name)
    return SavedRun(run=run, began=_parse(named[0]) if named else _modified(run.path / SUMMARY))


def _read_benchmark_json(path: Path) -> SavedRun:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        records = {str(row["name"]): row["extra_info"] for row in document["benchmarks"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected a run's folder, or JSON that pytest-benchmark saved; {error!r}") from error
    began = datetime.fromisoformat(document["datetime"]) if "datetime" in document else _modified(path)
    cases = {name: CaseRun(name=name, record=record, answers=None) for name, record in records.items()}
    return SavedRun(run=Run(path=path, name=path.stem, cases=cases), began=began.astimezone(UTC))


def _parse(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
