"""What a run leaves on disk: one JSON line per question as it is answered, and a summary.

    RESULTS/20260131-235959-nano-4711/
        test_mmlu-padded.jsonl     one line a question, in the order answered
        summary.json               one record a case, rewritten after each case, and what is needed to run it again
        journal/                   finished batches, for --resume: see evalsuite.resume.journal

Each line is handed to the system by itself and the summary replaces its predecessor in one step, so a killed run leaves
what it had. `evalsuite.resume.storage` says what power loss leaves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evalsuite.errors import ConfigError
from evalsuite.json_values import finite as finite
from evalsuite.resume.folder import Journals
from evalsuite.resume.storage import LineFile, replace_file, unwritable
from evalsuite.types import ChoiceScores, Graded, Outcome

DEFAULT_FOLDER = ".evalsuite"
SUMMARY = "summary.json"
GRADES_FOLDER = "grades"
"""In the folder of all runs: a judge's grades serve every later run."""


class ResultsRun:
    """One run's folder, made when this is made, or gone on with. No other process can work on it meanwhile.

    Raises:
        ConfigError: the folder cannot be made or written to.
        ResultsError: another process works on the run.
    """

    def __init__(
        self, folder: Path, *, label: str, about: Mapping[str, Any] | None = None, resume: Path | None = None
    ) -> None:
        """
        Args:
            folder: that of all runs.
            about: what the summary says beside its cases: `evalsuite.provenance.provenance`.
            resume: a run to go on with, in place of a new one; `about` then joins the list of those who went on.
        """
        self._cases: dict[str, Mapping[str, Any]] = {}
        self._stems: dict[str, str] = {}
        self._about: dict[str, Any] = dict(about or {})
        if resume is None:
            self.path = _make_run_folder(folder, label)
            self.journals = Journals(self.path)
        else:
            self.path = resume
            self.journals = Journals(self.path, resumed=True)
            self._take_over(about)
        if about is not None:
            self._write()

    def open_case(self, case: str) -> CaseLog:
        """The JSON-lines file of one case; a case run twice starts its file anew."""
        return CaseLog(self.path / f"{self.stem(case)}.jsonl", replacing=self.journals.resumed)

    def stem(self, case: str) -> str:
        """What a case's files are called.

        `test_x[a b]` and `test_x[a-b]` would share a name, so the second of such gets a number.
        """
        if case not in self._stems:
            taken = {stem.lower() for stem in self._stems.values()}  # some file systems know no case
            stem = file_stem(case)
            numbered = (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 2)))
            self._stems[case] = next(name for name in numbered if name.lower() not in taken)
        return self._stems[case]

    def add_case(self, case: str, record: Mapping[str, Any]) -> None:
        """Put the record of a finished case into summary.json, with the name of its answers' file if it has one."""
        answers = {"answers": f"{self._stems[case]}.jsonl"} if case in self._stems else {}
        self._cases[case] = {**record, **answers}
        self._write()

    def describe(self, **facts: Any) -> None:
        """Add to what the summary says of this process."""
        own = self._about["resumed"][-1] if self.journals.resumed else self._about.setdefault("provenance", {})
        own.update(facts)
        self._write()

    def close(self, *, finished: bool) -> None:
        """Let others have the folder. `finished`: every case that was asked for ended by itself."""
        if finished:
            self._about["finished"] = True
            self._write()
        self.journals.close()

    def _take_over(self, about: Mapping[str, Any] | None) -> None:
        before = self._summary_before() or dict(about or {})
        self._cases = before.pop("cases", {})
        self._stems = {
            name: record["answers"][: -len(".jsonl")] for name, record in self._cases.items() if record.get("answers")
        }
        resumed = [*before.pop("resumed", ()), (about or {}).get("provenance", {})]
        self._about = {name: value for name, value in before.items() if name not in ("run", "finished")}
        self._about["resumed"] = resumed

    def _summary_before(self) -> dict[str, Any] | None:
        """The summary as earlier processes left it; None where it is damaged. The journal does not need it, so the run
        goes on as if begun now, and the damaged file is kept beside the new one."""
        path = self.path / SUMMARY
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = None
        if isinstance(before, dict) and isinstance(before.get("cases", {}), dict):
            return before
        try:
            shutil.copyfile(path, path.with_name(f"{SUMMARY}.damaged"))
        except OSError as error:
            raise unwritable(path, error) from error
        return None

    def _write(self) -> None:
        summary = {"run": self.path.name, **self._about, "cases": self._cases}
        replace_file(self.path / SUMMARY, json.dumps(finite(summary), ensure_ascii=False, indent=1) + "\n")


class CaseLog:
    """Appends answered questions to a file; a context manager.

    Where it replaces the file of an earlier process, that one stays until `settle`: a process that is killed while it
    recalls answers takes none away.
    """

    def __init__(self, path: Path, *, replacing: bool = False) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part") if replacing and path.exists() else None
        target = self._part or path
        target.unlink(missing_ok=True)
        self._file = LineFile(target)

    def write(self, outcome: Outcome, graded: Graded, *, prompt_hash: str, main_metric: str) -> None:
        line = question_line(outcome, graded, prompt_hash=prompt_hash, main_metric=main_metric)
        self._file.append(json.dumps(finite(line), ensure_ascii=False, allow_nan=False))

    def settle(self) -> None:
        """From here on the file holds at least what its predecessor did: take its place."""
        if self._part is not None:
            os.replace(self._part, self.path)
            self._part = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            if self._part is not None:
                self._part.unlink(missing_ok=True)


def add_fields(path: Path, fields: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to each line of a case's file the fields given for its question; the file is replaced in one step."""
    part = path.with_name(path.name + ".part")
    try:
        with path.open(encoding="utf-8", newline="\n") as old, part.open("w", encoding="utf-8", newline="\n") as new:
            for text in old:
                line = json.loads(text)
                line |= finite(fields.get(line["id"], {}))
                new.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path, error) from error


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
    names = chain([name], (f"{name}-{number}" for number in count(2)))  # one process may begin two in a second
    try:
        run = next(path for path in (folder / each for each in names) if not path.exists())
        run.mkdir(parents=True)
        probe = run / SUMMARY
        probe.write_text('{"run": "' + run.name + '", "cases": {}}\n', encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"results folder {folder}: expected a folder that can be written to, got {error.strerror or error}; "
            "choose another with --results DIR"
        ) from error
    return run
