"""Try out on this machine that `--deterministic` keeps its word: the same bits alone and in any company.

Questions are scored by packed; with --generate, prompts are continued by continuous.

What it prints last are twelve digits over all numbers. Another process is to print the same, and so is another machine
with a GPU of this model and these versions; `--expect` holds it to that.

Exit code 0: not one request had other bits. 1: some had, or the digits are others than expected. 2: this machine cannot
promise it (CUDA can).
"""

from __future__ import annotations

import argparse

from evalsuite.config import DTYPES, ExecutionOptions, InferenceConfig
from evalsuite.determinism import NotDeterministic, why_not
from evalsuite.selftest import (
    GENERATION,
    SCORING,
    Requests,
    against,
    companies,
    compare,
    draw_prompts,
    draw_requests,
    fingerprint,
    numbers_by_id,
    summary_rows,
)

DEFAULT_MODEL = "shape:qwen3-0.6b"
MOST_TOKENS, ROOM_FOR_CHOICES = 1_500, 8
"""Of a request's context, and kept free for its choices."""
TOKENS_PER_VOCABULARY = 0.9
"""Of the vocabulary: its end often holds special tokens."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=DEFAULT_MODEL, help="as pytest's --model (default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--token-budget", type=int, default=ExecutionOptions().token_budget, help="tokens in a pack")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--alone", type=int, default=50, help="how many requests are also answered by themselves")
    parser.add_argument("--generate", type=int, metavar="TOKENS", help="generate up to so many tokens instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--expect", metavar="DIGITS", help="fail unless all numbers have the digits that another printed"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a row for each kind of company; the exit code says whether any request had other bits.

    Raises:
        NotDeterministic: the device cannot promise it. Nothing is loaded.
    """
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.harness.table import aligned
    from evalsuite.loading import load
    from evalsuite.runner import context_window

    config = InferenceConfig(model=arguments.model, dtype=arguments.dtype, device=arguments.device)
    _require_promise(config, GENERATION if arguments.generate else SCORING)
    loaded = load(config)
    options = ExecutionOptions(token_budget=arguments.token_budget, deterministic=True)
    vocabulary = int(loaded.model.config.get_text_config().vocab_size * TOKENS_PER_VOCABULARY)
    room = arguments.generate or ROOM_FOR_CHOICES
    window = min(MOST_TOKENS, (context_window(loaded.model) or MOST_TOKENS) - room)
    drawn = {"vocabulary": vocabulary, "seed": arguments.seed, "window": window}
    requests: Requests = (
        draw_prompts(arguments.requests, new_tokens=arguments.generate, **drawn)
        if arguments.generate
        else draw_requests(arguments.requests, **drawn)
    )
    asked = companies([request.id for request in requests], seed=arguments.seed, alone=arguments.alone)
    with TransformersEngine(loaded, options) as engine:
        together = numbers_by_id(engine, requests)
        found = list(compare(engine, requests, asked, together))
    smaller = ExecutionOptions(token_budget=max(arguments.token_budget // 2, 1), deterministic=True)
    with TransformersEngine(loaded, smaller) as engine:
        other_budget = against(together, engine, requests, name=f"packs of {smaller.token_budget:,} tokens")
    print("\n".join(aligned(summary_rows([*found, other_budget]))))
    differing = sum(len(comparison.differing) for comparison in found)
    compared = sum(len(comparison.company.ids) for comparison in found)
    print("(Another token budget is another shape of pack: its numbers may differ, and nothing is promised of them.)")
    print(f"{compared:,} results compared with those of all {len(requests):,} requests together: {differing:,} differ")
    digits = fingerprint(together)
    print(f"digits over all numbers: {digits}")
    if unexpected := arguments.expect not in (None, digits):
        print(f"expected {arguments.expect}: other arguments, versions or GPU, or bits that differ between processes")
    return 1 if differing or unexpected else 0


def _require_promise(config: InferenceConfig, strategy: str) -> None:
    """Raises `NotDeterministic` by the device that loading would choose: a model may take minutes to load."""
    from evalsuite.loading.ladder import resolve_device
    from evalsuite.loading.report import StepsDown

    device = resolve_device(config, StepsDown(strict=config.strict_config))
    if (reason := why_not(strategy, device)) is not None:
        raise NotDeterministic(reason)
