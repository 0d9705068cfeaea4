"""What a run leaves on disk: one JSON line per question as it is answered, and a summary.

    RESULTS/20260131-235959-nano-4711/
        test_mmlu-padded.jsonl     one line a question, in the order answered
        summary.json               one record a case, rewritten after each case

Lines are flushed one by one and the summary replaces its predecessor in one step, so a killed run leaves what it had.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from evalsuite.errors import ConfigError
from evalsuite.types import ChoiceScores, Graded, Outcome

DEFAULT_FOLDER = ".evalsuite"
GRADES_FOLDER = "grades"
"""In the folder of all runs: a judge's grades serve every later run."""


class ResultsRun:
    """One run's folder, made when this is made.

    Raises:
        ConfigError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, *, label: str) -> None:
        self.path = _make_run_folder(folder, label)
        self._cases: dict[str, Mapping[str, Any]] = {}
        self._stems: dict[str, str] = {}

    def open_case(self, case: str) -> CaseLog:
        """The JSON-lines file of one case; a case run twice starts its file anew.

        `test_x[a b]` and `test_x[a-b]` would share a name, so the second of such gets a number.
        """
        if case not in self._stems:
            taken = {stem.lower() for stem in self._stems.values()}  # some file systems know no case
            stem = file_stem(case)
            numbered = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
            self._stems[case] = next(name for name in numbered if name.lower() not in taken)
        return CaseLog(self.path / f"{self._stems[case]}.jsonl")

    def add_case(self, case: str, record: Mapping[str, Any]) -> None:
        """Put the record of a finished case into summary.json, with the name of its answers' file if it has one."""
        answers = {"answers": f"{self._stems[case]}.jsonl"} if case in self._stems else {}
        self._cases[case] = {**record, **answers}
        summary = {"run": self.path.name, "cases": self._cases}
        part = self.path / "summary.json.part"
        part.write_text(json.dumps(finite(summary), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(part, self.path / "summary.json")


class CaseLog:
    """Appends answered questions to a file; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = path.open("w", encoding="utf-8")

    def write(self, outcome: Outcome, graded: Graded, *, prompt_hash: str, main_metric: str) -> None:
        line = question_line(outcome, graded, prompt_hash=prompt_hash, main_metric=main_metric)
        self._file.write(json.dumps(finite(line), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def add_fields(path: Path, fields: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to each line of a case's file the fields given for its question; the file is replaced in one step."""
    part = path.with_name(path.name + ".part")
    with path.open(encoding="utf-8", newline="\n") as old, part.open("w", encoding="utf-8", newline="\n") as new:
        for text in old:
            line = json.loads(text)
            new.write(json.dumps(line | finite(fields.get(line["id"], {})), ensure_ascii=False, allow_nan=False) + "\n")
    os.replace(part, path)


def question_line(outcome: Outcome, graded: Graded, *, prompt_hash: str, main_metric: str) -> dict[str, Any]:
    """The fields of one line. `score` is None where the split has no published answers."""
    if isinstance(outcome, ChoiceScores):
        said: dict[str, Any] = {"logprobs": list(outcome.logprobs)}
    else:
        said = {"text": outcome.text, "tokens": len(outcome.token_ids), "finish_reason": outcome.finish_reason}
    return {
        "id": graded.id,
        "group": graded.group,
        "prompt_hash": prompt_hash,
        **said,
        "prediction": graded.prediction,
        "gold": None if graded.gold is None else list(graded.gold),
        "score": graded.scores.get(main_metric),
        "scores": dict(graded.scores),
    }


def finite(value: Any) -> Any:
    """The same value with NaN and infinities as the strings "nan", "inf", "-inf": JSON has no numbers for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def case_names(tests: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What the cases of a run are called, by test id: by the test's own name, or its whole id where two share that.

    Args:
        tests: (id, name): `("benchmarks/test_mmlu.py::test_mmlu[padded]", "test_mmlu[padded]")`.
    """
    uses = Counter(name for _, name in tests)
    return {test_id: name if uses[name] == 1 else test_id for test_id, name in tests}


def file_stem(case: str) -> str:
    """`test_mmlu[padded]` as a file name: `test_mmlu-padded`."""
    return re.sub(r"[^\w.]+", "-", case).strip("-")


def _make_run_folder(folder: Path, label: str) -> Path:
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{file_stem(label)}-{os.getpid()}"
    run = folder / name
    try:
        run.mkdir(parents=True)
        probe = run / "summary.json"
        probe.write_text('{"run": "' + name + '", "cases": {}}\n', encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"results folder {folder}: expected a folder that can be written to, got {error.strerror or error}; "
            "choose another with --results DIR"
        ) from error
    return run
