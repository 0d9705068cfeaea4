"""How long a task's texts take to be tokenised: text by text, and with what they share tokenised once.

python -m benchmarks.tokenising --data DIR --task mmlu --shots 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from evalsuite.encoding import encode_choices
from evalsuite.shape_tokenizer import shape_tokenizer
from evalsuite.tasks import get_task
from evalsuite.tasks.base import DataSource
from evalsuite.tasks.prompting import Prompting
from evalsuite.types import ChoiceRequest, EncodedChoices


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tokenising", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", required=True, help="directory of released files")
    parser.add_argument("--task", default="mmlu", choices=("mmlu", "vmlu", "vnhsge"))
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--tokenizer", help="a local directory or a hub's name (default: that of shape: models)")
    given = parser.parse_args(arguments)
    tokenizer = shape_tokenizer()
    if given.tokenizer:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(given.tokenizer)
    task = get_task(given.task)
    data = task.read(DataSource(kind="directory", path=given.data), shots=given.shots)
    prompting = Prompting(shots=given.shots, tokenizer=tokenizer, model_name="")
    requests = [request for request in task.requests(data, prompting) if isinstance(request, ChoiceRequest)]
    together, seconds = _timed(tokenizer, [requests])
    print(f"{len(requests):,} questions: {seconds:.1f} s with what texts share tokenised once", flush=True)
    apart, seconds = _timed(tokenizer, [[request] for request in requests])
    print(f"{len(requests):,} questions: {seconds:.1f} s question by question")
    differ = sum(a != b for a, b in zip(together, apart, strict=True))
    print(f"{differ:,} of them have other ids")
    if differ:
        raise SystemExit(1)


def _timed(tokenizer: object, batches: Sequence[Sequence[ChoiceRequest]]) -> tuple[list[EncodedChoices], float]:
    start = time.perf_counter()
    encoded = [each for batch in batches for each in encode_choices(tokenizer, batch, window=None)]  # type: ignore[arg-type]
    return encoded, time.perf_counter() - start


if __name__ == "__main__":
    main()
