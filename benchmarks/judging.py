"""What grading answers by a local judge takes, beside answering: by one model, the same questions, one process.

python -m benchmarks.judging --model shape:qwen3-4b --data DIR [--task viquad] [--judge MODEL] [--limit N] [--out FILE]

Encoding is within both times, loading and a first call on a few questions are not. A model with random weights answers
and grades at nearly full length; its replies are no numbers, which changes nothing about what they take.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.capability import environment
from evalsuite.config import DTYPES, ExecutionOptions, InferenceConfig
from evalsuite.evaluation import answer, grade, prepare
from evalsuite.harness.judging import questions_to_grade
from evalsuite.harness.table import aligned
from evalsuite.interface.data import data_source
from evalsuite.judge.grading import AskingJudge
from evalsuite.judge.local import STRATEGY, LocalModel
from evalsuite.judge.prompts import PROMPTS
from evalsuite.pool import ModelPool
from evalsuite.tasks import get_task
from evalsuite.tasks.base import limit_examples
from evalsuite.tasks.prompting import Prompting

FEW = 16


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--judge", metavar="MODEL", help="default: the same model")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", default="sample", help="directory of released files (default: %(default)s)")
    parser.add_argument("--task", default="viquad", choices=sorted(PROMPTS))
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    record = _measure(given)
    if given.out is not None:
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(aligned(rows(record))))


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    from evalsuite.engines.transformers import TransformersEngine

    pool, options = ModelPool(), ExecutionOptions()
    config = InferenceConfig(model=given.model, dtype=given.dtype, device=given.device)
    judging = InferenceConfig(model=given.judge or given.model, dtype=given.dtype, device=given.device)
    task = get_task(given.task)
    data = limit_examples(task.read(data_source(given.data)), given.limit, seed=0)
    with TransformersEngine(pool.get(config), options) as engine:
        prompting = Prompting(tokenizer=engine.loaded.tokenizer, model_name=given.model)
        few = prepare(task, limit_examples(data, FEW, seed=0), engine, prompting)
        answer(engine, few, STRATEGY)
        engine.reset_counters()
        start = time.perf_counter()
        questions = prepare(task, data, engine, prompting)
        outcomes = answer(engine, questions, STRATEGY)
        answering = time.perf_counter() - start
        counters = engine.counters.to_dict()
    to_grade = list(questions_to_grade(questions, (grade(questions, outcome) for outcome in outcomes.values())))
    judge = AskingJudge(LocalModel(judging, pool, options), grades=None)
    # What is asked in the warm-up is kept, so it is about other answers.
    judge.grade([dataclasses.replace(question, answer=f"({question.answer})") for question in to_grade[:FEW]])
    start = time.perf_counter()
    grades = judge.grade(to_grade)
    grading = time.perf_counter() - start
    return {
        "arguments": {name: value for name, value in vars(given).items() if name not in ("data", "out")},
        "versions": environment(),
        "questions": len(to_grade),
        "missing": sum(grade.value is None for grade in grades.values()),
        "reused": sum(grade.reused for grade in grades.values()),
        "seconds": {"answering": answering, "grading": grading},
        "counters": {"answering": counters},
    }


def rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of the seconds."""
    seconds, questions = record["seconds"], record["questions"]
    table = [("", "questions", "seconds", "ms a question", "x answering")]
    for name, taken in seconds.items():
        share = taken / seconds["answering"]
        table.append((name, f"{questions:,}", f"{taken:.2f}", f"{1000 * taken / questions:.2f}", f"{share:.2f}"))
    return table


if __name__ == "__main__":
    main()
