"""lm-evaluation-harness's sample logs as a side of a comparison.

The format is that of `EvaluationTracker.save_results_samples` in lm_eval 0.4.13: a file `samples_TASK_DATE.jsonl` for
each task beside `results_DATE.json`, one line for each question and filter. `arguments` holds what was asked,
`gen_args_I` for request I: `arg_0` the context, `arg_1` the continuation or the generation's settings.
`filtered_resps` holds the answers, every number as text. Each name in `metrics` is a key of the line.

`evalsuite export` writes a folder CASE/MODEL for each case of a run, and the case's name into the results file
(`configs.TASK.metadata.evalsuite_case`). Such a log's case is called so, and a folder of them is one side.

The context is there in full, so each question gets the hash that a run of ours gives the same prompt: questions are
paired across the two formats by what the model was shown.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.compare.sides import Answered, Side, SideCase
from evalsuite.errors import DataError
from evalsuite.evaluation import prompt_hash
from evalsuite.types import ChoiceRequest, GenerationRequest

NAMES = {"acc": "accuracy"}
"""The harness's metrics that have another name here."""
LOWER_IS_BETTER = frozenset({"brier_score", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "ter"})
"""Not compared, nor is what the results file calls so: an effect would have another sign than all others."""
_FILE = re.compile(r"samples_(?P<task>.+?)(_(?P<date>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Log:
    path: Path
    task: str
    date: str


def is_log(path: Path) -> bool:
    """Whether this is a sample log, or a folder with some in it, one folder down, or two, as in an export."""
    return bool(_folders(path)) if path.is_dir() else path.is_file() and _FILE.fullmatch(path.name) is not None


def read_side(path: Path) -> Side:
    """The tasks of one log, or of a folder: of several logs of a task the newest. Of an export, its cases.

    Raises:
        DataError: a line that is no sample, or a folder that holds the logs of several models or runs.
    """
    folders = _folders(path)
    sides = [_read_one(folder) for folder in folders]
    cases = [case for side in sides for case in side.cases.values()]
    names = {case.name for case in cases}
    if len(sides) > 1 and (len(names) < len(cases) or not all(case.record.get("case") for case in cases)):
        raise DataError(
            f"{path}: expected the sample logs of one model, or what evalsuite export wrote of one run; found the logs "
            f"of {len(folders)} runs; give one of {', '.join(map(str, folders))}"
        )
    notes = tuple(note for side in sides for note in side.notes)
    return Side(name=path.name, path=path, cases={case.name: case for case in cases}, notes=notes)


def _folders(path: Path) -> list[Path]:
    """The path itself where logs are in it or one folder down; else the folders in it of which that is true."""
    if not path.is_dir() or _logs(path):
        return [path]
    return [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _logs(folder)]


def _read_one(path: Path) -> Side:
    logs = _logs(path) if path.is_dir() else [_log(path)]
    if len(folders := sorted({log.path.parent for log in logs})) > 1:
        raise DataError(
            f"{path}: expected the sample logs of one model, found those of {len(folders)}; "
            f"give one of {', '.join(map(str, folders))}"
        )
    newest = {log.task: log for log in sorted(logs, key=lambda log: log.date)}
    notes = tuple(
        f"{log.path.name}: the newest of several logs of {log.task}"
        for log in newest.values()
        if sum(other.task == log.task for other in logs) > 1
    )
    cases = [case for log in newest.values() for case in _cases(log)]
    return Side(name=path.name, path=path, cases={case.name: case for case in cases}, notes=notes)


def _logs(folder: Path) -> list[_Log]:
    files = [*folder.glob("samples_*.jsonl")] or [*folder.glob("*/samples_*.jsonl")]
    return [_log(file) for file in sorted(files)]


def _log(path: Path) -> _Log:
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise DataError(
            f"{path}: expected a file named samples_TASK_DATE.jsonl, as lm-evaluation-harness names its own"
        )
    return _Log(path=path, task=match["task"], date=match["date"] or "")


def _cases(log: _Log) -> Iterator[SideCase]:
    """One case a filter: each has scores of its own."""
    by_filter: dict[str, list[Mapping[str, Any]]] = {}
    for sample in _samples(log.path):
        by_filter.setdefault(sample["filter"], []).append(sample)
    results = _results(log)
    worse = {name for name, better in results.get("higher_is_better", {}).get(log.task, {}).items() if better is False}
    record = _record(results, log.task)
    for name, samples in by_filter.items():
        metrics = [m for m in samples[0]["metrics"] if m not in LOWER_IS_BETTER | worse and _is_number(samples[0][m])]
        answered = tuple(_answered(log, sample, metrics) for sample in samples)
        yield SideCase(
            name=record.get("case") or (log.task if len(by_filter) == 1 else f"{log.task}[{name}]"),
            task=log.task,
            main_metric=NAMES.get(metrics[0], metrics[0]) if metrics else None,
            source="lm_eval",
            read=lambda answered=answered: answered,  # type: ignore[misc]
            record=record,
        )


def _samples(path: Path) -> Iterator[Mapping[str, Any]]:
    needed = {"doc_id", "target", "arguments", "filtered_resps", "filter", "metrics"}
    for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not text:
            continue
        try:
            sample = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path}:{number}: expected one JSON object a line; {error}") from error
        if not isinstance(sample, dict) or (missing := needed - sample.keys()):
            what = ", ".join(sorted(missing)) if isinstance(sample, dict) else f"a {type(sample).__name__}"
            raise DataError(f"{path}:{number}: expected a sample of lm-evaluation-harness 0.4; missing: {what}")
        yield sample


def _answered(log: _Log, sample: Mapping[str, Any], metrics: Iterable[str]) -> Answered:
    id_ = f"{log.task}/{sample['doc_id']}"
    try:
        pairs = [(item["arg_0"], item["arg_1"]) for item in sample["arguments"].values()]
        context = pairs[0][0]
        # `acc_mutual_info` scores each choice once more after an empty context.
        continuations = tuple(said for shown, said in pairs if shown == context and isinstance(said, str))
        answers = sample["filtered_resps"]
        if continuations:
            logprobs = [float(answer[0]) for answer in answers[: len(continuations)]]
            prediction = continuations[logprobs.index(max(logprobs))].strip()
            hash_ = prompt_hash(ChoiceRequest(id=id_, context=context, continuations=continuations))
        else:
            prediction = str(answers[0])
            hash_ = prompt_hash(GenerationRequest(id=id_, prompt=context, max_new_tokens=0))
        scores = {NAMES.get(name, name): float(sample[name]) for name in metrics}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{log.path}: question {sample['doc_id']}: expected arguments, filtered_resps and "
            f"metrics as lm-evaluation-harness 0.4 writes them; {type(error).__name__}: {error}"
        ) from error
    gold = _gold(str(sample["target"]), continuations)
    return Answered(id=id_, prompt_hash=hash_, prediction=prediction, gold=gold, scores=scores)


def _gold(target: str, continuations: tuple[str, ...]) -> tuple[str, ...]:
    """The target of a choice is its index in most tasks, and its text in some; several accepted answers are a list.

    The harness keeps all of them by `str`.
    """
    texts = [continuation.strip() for continuation in continuations]
    if target not in texts and target.isdecimal() and int(target) < len(texts):
        return (texts[int(target)],)
    if target.startswith("[") and not texts:
        try:
            several = ast.literal_eval(target)
        except (ValueError, SyntaxError):  # an answer that begins with a bracket
            return (target,)
        if several and all(isinstance(one, str) for one in several):
            return tuple(several)
    return (target,)


def _is_number(value: Any) -> bool:
    """Metrics over a whole corpus (BLEU, MCC) keep pairs and lists a question, of which there is no difference."""
    return isinstance(value, (int, float))


def _results(log: _Log) -> Mapping[str, Any]:
    """The results file of the same date; empty where it is not there."""
    file = log.path.with_name(f"results_{log.date}.json")
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: expected JSON as lm-evaluation-harness writes it; {error}") from error
    return document if isinstance(document, dict) else {}


def _record(results: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What the results file says in the words of our records."""
    if not results:
        return {}
    shots = results.get("n-shot", {}).get(task)
    chat = results.get("chat_template") is not None
    exported = ((results.get("configs", {}).get(task) or {}).get("metadata") or {}).get("evalsuite_case")
    return {
        "model": results.get("model_name"),
        "prompting": {"shots": shots, "chat_template": chat},
        **({"case": exported} if exported else {}),
    }
