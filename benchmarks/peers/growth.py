"""How the time for a question grows with the number of questions and of shots: it should not.

python -m benchmarks.peers.growth --model shape:qwen3-0.6b --out RECORD.json

Questions are random token ids: 57 subjects, each with a prefix of 110 tokens a shot, and 35 to 200 tokens a question.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.peers.ours import score_by
from evalsuite.capability import environment
from evalsuite.config import DTYPES, ExecutionOptions, InferenceConfig
from evalsuite.harness.table import aligned
from evalsuite.types import EncodedChoices

SUBJECTS, TOKENS_A_SHOT, QUESTION_TOKENS = 57, 110, (35, 200)
COUNTS, SHOTS = (1_000, 10_000, 100_000), (1, 5, 25)
SHOTS_OF_COUNTS, COUNT_OF_SHOTS = 5, 10_000
"""What is held still while the other grows."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.growth", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    parser.add_argument("--count", type=int, default=COUNT_OF_SHOTS, help="questions while shots grow")
    parser.add_argument("--rounds", type=int, default=2, help="of each: they tell how much a round says")
    parser.add_argument("--out", required=True)
    given = parser.parse_args(arguments)
    record: dict[str, Any] = {"results": []}
    for record in _measure(given):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print("\n".join(aligned(rows(record["results"]))))


def synthetic(count: int, *, shots: int, vocabulary: int, seed: int = 0) -> list[EncodedChoices]:
    """`count` questions of four one-letter choices, spread over the subjects."""
    rng = random.Random(seed)

    def tokens(number: int) -> tuple[int, ...]:
        return tuple(rng.choices(range(vocabulary), k=number))

    prefixes = [tokens(shots * TOKENS_A_SHOT) for _ in range(SUBJECTS)]
    letters = tuple((n,) for n in range(4))
    return [
        EncodedChoices(
            id=str(n),
            context_ids=prefixes[n % SUBJECTS] + tokens(rng.randint(*QUESTION_TOKENS)),
            continuation_ids=letters,
        )
        for n in range(count)
    ]


def _measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.loading import load

    loaded = load(InferenceConfig(model=given.model, dtype=given.dtype, device=given.device))
    vocabulary = loaded.model.config.get_text_config().vocab_size
    sizes = [(count, SHOTS_OF_COUNTS) for count in given.counts] + [(given.count, shots) for shots in given.shots]
    results: list[dict[str, Any]] = []
    with TransformersEngine(loaded, ExecutionOptions()) as engine:
        for (count, shots), _ in product(sizes, range(given.rounds)):
            result = score_by(engine, "packed", synthetic(count, shots=shots, vocabulary=vocabulary))
            counters = (result.details or {})["counters"]
            results.append(
                {
                    "questions": count,
                    "shots": shots,
                    "seconds": result.seconds,
                    "seconds_per_question": result.seconds_per_question,
                    "tokens_computed": counters["tokens_computed"],
                    "distinct_tokens": counters["distinct_tokens"],
                }
            )
            yield {"model": given.model, "dtype": given.dtype, "versions": environment(), "results": results}


def rows(results: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """A table of the results."""
    table = [("questions", "shots", "seconds", "ms a question", "tokens computed", "distinct tokens")]
    for entry in results:
        table.append(
            (
                f"{entry['questions']:,}",
                str(entry["shots"]),
                f"{entry['seconds']:.2f}",
                f"{1000 * entry['seconds_per_question']:.3f}",
                f"{entry['tokens_computed']:,}",
                f"{entry['distinct_tokens']:,}",
            )
        )
    return table


if __name__ == "__main__":
    main()
