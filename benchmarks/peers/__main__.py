"""Score the same questions by every peer, in one run, and write what each took.

python -m benchmarks.peers --model shape:qwen3-4b --data DIR --task mmlu --shots 0 5 --out RECORD.json
    --slow 128        questions for unbatched and per_question (0: leave them out)
    --lm-eval 2000    questions for lm-evaluation-harness (0: leave it out)
    --vllm            vLLM too, which then loads the same weights from a temporary directory
    --profile         a trace of one more run of packed: where the device's time went
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.harness import score_by_lm_eval
from benchmarks.peers.ours import score_by
from benchmarks.peers.questions import Result, encoded_questions, spread
from benchmarks.peers.served import score_by_vllm
from benchmarks.peers.traces import traced
from evalsuite.capability import environment
from evalsuite.config import DTYPES, ExecutionOptions, InferenceConfig
from evalsuite.harness.table import aligned
from evalsuite.types import EncodedChoices

Sets = Mapping[int, Sequence[EncodedChoices]]
"""Shots to questions."""


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    record: dict[str, Any] = {}
    for record in _measure(given):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("\n".join(aligned(rows(record | {"results": record["results"][-1:]}))), flush=True)
    print("\n".join(aligned(rows(record))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", required=True, help="directory of released files")
    parser.add_argument("--task", default="mmlu", choices=("mmlu", "vmlu", "vnhsge"))
    parser.add_argument("--shots", type=int, nargs="+", default=[0, 5])
    parser.add_argument("--limit", type=int)
    parser.add_argument("--token-budget", type=int, default=ExecutionOptions().token_budget)
    parser.add_argument("--rounds", type=int, default=2, help="of packed; the others run once")
    parser.add_argument("--padded", type=int, help="questions for padded (default: all)")
    parser.add_argument("--slow", type=int, default=128)
    parser.add_argument("--lm-eval", type=int, default=2_000)
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", required=True)
    return parser


def _measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.loading import load
    from evalsuite.measure.ceiling import measure_ceiling

    loaded = load(InferenceConfig(model=given.model, dtype=given.dtype, device=given.device))
    record: dict[str, Any] = {
        "arguments": {name: value for name, value in vars(given).items() if name not in ("data", "out")},
        "versions": environment(),
        "ceilings": [dataclasses.asdict(measure_ceiling(loaded.device, loaded.model.dtype))],
    }
    results: list[tuple[int, Result]] = []

    def so_far() -> dict[str, Any]:
        return record | {"results": [_entry(shots, result, results) for shots, result in results]}

    with TransformersEngine(loaded, ExecutionOptions(token_budget=given.token_budget)) as engine:
        sets = {
            shots: encoded_questions(engine, given.task, given.data, shots=shots, limit=given.limit)
            for shots in given.shots
        }
        record["tokens"] = {str(shots): _size(questions) for shots, questions in sets.items()}
        for shots, questions in sets.items():
            for result in _ours(engine, questions, given):
                results.append((shots, result))
                yield so_far()
            record["ceilings"].append(dataclasses.asdict(measure_ceiling(loaded.device, loaded.model.dtype)))
    if given.lm_eval:
        for shots, questions in sets.items():
            results.append((shots, score_by_lm_eval(loaded, spread(questions, given.lm_eval))))
            yield so_far()
    with tempfile.TemporaryDirectory() as folder:
        if given.vllm:
            loaded.model.save_pretrained(folder)
        record["load_report"] = loaded.report.to_dict()
        del loaded, engine
        gc.collect()
        results += _vllm(folder, sets) if given.vllm else []
    yield so_far()


def _ours(engine: Any, questions: Sequence[EncodedChoices], given: argparse.Namespace) -> Iterator[Result]:
    cuda = engine.loaded.device.type == "cuda"
    for number in range(given.rounds):
        result = score_by(engine, "packed", questions)
        if given.profile and number == given.rounds - 1:
            trace = traced(lambda: list(engine.score(questions, "packed")), cuda=cuda)
            result = dataclasses.replace(result, details={**(result.details or {}), "profile": trace})
        yield result
    if given.padded != 0:
        yield score_by(engine, "padded", spread(questions, given.padded))
    if given.slow:
        yield score_by(engine, "per_question", spread(questions, given.slow))
        yield score_by(engine, "unbatched", spread(questions, given.slow))


def _vllm(folder: str, sets: Sets) -> list[tuple[int, Result]]:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return list(zip(sets, score_by_vllm(folder, "auto", list(sets.values())), strict=True))


def _size(questions: Sequence[EncodedChoices]) -> dict[str, int]:
    return {"questions": len(questions), "prompt_tokens": sum(len(question.context_ids) for question in questions)}


def _entry(shots: int, result: Result, results: Sequence[tuple[int, Result]]) -> dict[str, Any]:
    """A result beside the first packed one of the same shots: how many labels are the same, how much longer it took."""
    packed = next(other for other_shots, other in results if other_shots == shots and other.peer == "packed")
    entry = dataclasses.asdict(result) | {"shots": shots, "seconds_per_question": result.seconds_per_question}
    predictions = entry.pop("predictions")
    same = sum(packed.predictions[id_] == label for id_, label in predictions.items()) if predictions else None
    ratio = result.seconds_per_question / packed.seconds_per_question
    return entry | {"same_labels_as_packed": same, "times_packed": ratio}


def rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of a record."""
    ceiling = max(entry["flops_per_second"] for entry in record["ceilings"][1:] or record["ceilings"])
    table: list[tuple[str, ...]] = [
        ("peer", "shots", "questions", "seconds", "ms a question", "x packed", "same labels", "share of the ceiling")
    ]
    for entry in record["results"]:
        rate = (entry["details"] or {}).get("flops_per_second")
        same = entry["same_labels_as_packed"]
        table.append(
            (
                entry["peer"],
                str(entry["shots"]),
                f"{entry['questions']:,}",
                f"{entry['seconds']:.2f}",
                f"{1000 * entry['seconds_per_question']:.2f}",
                f"{entry['times_packed']:.2f}",
                "-" if same is None else f"{same:,} of {entry['questions']:,}",
                "-" if rate is None else f"{rate / ceiling:.1%}",
            )
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
