"""Generate from the same prompts by every peer, in one run, and write what each took.

python -m benchmarks.peers.generation --model shape:qwen3-4b --workload viquad:1024:32 vietnews:512:128 --out FILE
    --padded 8 128    padded's batch sizes, each on --padded-prompts prompts
    --unbatched 8     prompts for unbatched (0: leave it out)
    --libraries generate_batch static generate
                      transformers' own ways on the same model, as benchmarks.peers.libraries sets them, the batched
                      ones on --library-prompts prompts; what one of them cannot do is in the record with its reason
    --vllm            vLLM too, in a process of its own, with random weights of the same shape
    --profile         a trace of one run of continuous: how long the device stood still while it decoded

A workload is NAME:PROMPTS:NEW TOKENS. Every answer has all its new tokens (`ignore_eos`), as vLLM's have. Those of
the same weights are compared with continuous's: `same_answers` are equal to the last token, and `same_tokens` are the
tokens before each answer's first difference. In 16 bits padded falls short too, which says how far rounding goes.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.libraries import AS_LOADED, BATCHED, LIBRARIES, Library, chosen, try_library
from benchmarks.peers.prompts import WORKLOADS, requests
from benchmarks.peers.questions import spread
from benchmarks.peers.served import generate_by_vllm
from benchmarks.peers.timing import until_all_are_known
from benchmarks.peers.traces import traced
from evalsuite.capability import environment
from evalsuite.config import ATTENTIONS, DTYPES, KV_CACHE_DTYPES, ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.generation.continuous import ROWS
from evalsuite.harness.table import aligned
from evalsuite.measure.memory import MemoryMeter
from evalsuite.types import EncodedPrompt

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.loading import LoadedModel

FEW = 16
WARM_UP = 64
"""Prompts of a library that batches by itself. All of them would take as long again as what is timed."""
CONTINUOUS = "continuous"

Answers = dict[str, tuple[int, ...]]
"""New tokens by a prompt's id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """What is asked of every peer."""

    name: str
    prompts: int
    new_tokens: int

    def __str__(self) -> str:
        return f"{self.name}:{self.prompts}:{self.new_tokens}"

    def requests(self, vocab: int, *, seed: int = 0) -> list[EncodedPrompt]:
        return requests(self.name, vocab=vocab, count=self.prompts, new_tokens=self.new_tokens, seed=seed)


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    record: dict[str, Any] = {}
    for record in _measure(given):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("\n".join(lines(record | {"results": record["results"][-1:]})), flush=True)
    print("\n".join(lines(record)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.generation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--attention", default="auto", choices=ATTENTIONS, help="of padded and unbatched")
    parser.add_argument("--workload", type=_workload, nargs="+", required=True, metavar="NAME:PROMPTS:NEW")
    parser.add_argument("--rounds", type=int, default=2, help="of continuous; the others run once")
    parser.add_argument("--rows", type=int, help="most rows of continuous at once")
    parser.add_argument("--deterministic", action="store_true", help="continuous once more, bitwise reproducible")
    parser.add_argument("--kv-cache-dtype", default="auto", choices=KV_CACHE_DTYPES)
    parser.add_argument("--memory-fraction", type=float, default=ExecutionOptions().memory_fraction)
    parser.add_argument("--padded", type=int, nargs="*", default=[8], metavar="ROWS")
    parser.add_argument("--padded-prompts", type=int, default=128)
    parser.add_argument("--unbatched", type=int, default=4, metavar="PROMPTS")
    parser.add_argument("--libraries", nargs="*", default=[], choices=LIBRARIES)
    parser.add_argument("--library-batches", type=int, nargs="+", default=[8, 128], metavar="ROWS")
    parser.add_argument("--library-prompts", type=int, default=128, help="of those with a batch size")
    parser.add_argument(
        "--library-attention",
        nargs="+",
        default=[AS_LOADED],
        choices=ATTENTIONS,
        help=f"{AS_LOADED}: the loaded model's, but generate_batch takes a flash kernel where it finds one",
    )
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", required=True)
    return parser


def _workload(text: str) -> Workload:
    name, _, counts = text.partition(":")
    try:
        prompts, new_tokens = map(int, counts.split(":"))
    except ValueError:
        prompts = new_tokens = 0
    if name not in WORKLOADS or prompts < 1 or new_tokens < 1:
        raise argparse.ArgumentTypeError(f"expected {'|'.join(WORKLOADS)}:PROMPTS:NEW TOKENS, got {text!r}")
    return Workload(name=name, prompts=prompts, new_tokens=new_tokens)


def _measure(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    from evalsuite.loading import load
    from evalsuite.measure.ceiling import measure_ceiling

    config = InferenceConfig(model=given.model, dtype=given.dtype, device=given.device, attention=given.attention)
    start = time.perf_counter()
    loaded = load(config)
    load_seconds = time.perf_counter() - start
    vocab = loaded.model.config.get_text_config().vocab_size
    record: dict[str, Any] = {
        "arguments": {name: _plain(value) for name, value in vars(given).items() if name != "out"},
        "versions": environment(),
        "load_report": loaded.report.to_dict(),
        "load_seconds": load_seconds,
        "first_token": _first_token(loaded, given, vocab),
        "ceilings": [dataclasses.asdict(measure_ceiling(loaded.device, loaded.model.dtype))],
    }
    results: list[dict[str, Any]] = []
    references: dict[str, Answers] = {str(workload): {} for workload in given.workload}

    def so_far() -> dict[str, Any]:
        return record | {"results": [entry | _ratio(entry, results) for entry in results]}

    for workload in given.workload:
        for entry in _ours(loaded, workload, given, vocab, references[str(workload)]):
            results.append(entry)
            yield so_far()
        record["ceilings"].append(dataclasses.asdict(measure_ceiling(loaded.device, loaded.model.dtype)))
    for workload in given.workload:  # after all of ours, which a library's fault on the device could end
        for library in chosen(given.libraries, given.library_batches, given.library_attention):
            results.append(_by_library(loaded, library, workload, given, vocab, references[str(workload)]))
            yield so_far()
    with tempfile.TemporaryDirectory() as folder:
        if given.vllm:
            loaded.model.config.save_pretrained(folder)
        del loaded
        gc.collect()
        results += _vllm(folder, given.workload, vocab) if given.vllm else []
    yield so_far()


def _first_token(loaded: LoadedModel, given: argparse.Namespace, vocab: int) -> dict[str, float]:
    """From the loaded model to the first answer of a process: compilation, tuning, capture; and to the next one."""
    few = requests("viquad", vocab=vocab, count=FEW, new_tokens=2, seed=1)
    seconds = []
    for _ in range(2):
        with _engine(loaded, _options(given)) as engine:
            start = time.perf_counter()
            _answer(engine, CONTINUOUS, few)
            seconds.append(time.perf_counter() - start)
    return {"first_seconds": seconds[0], "later_seconds": seconds[1]}


def _options(given: argparse.Namespace, **changes: Any) -> ExecutionOptions:
    options = ExecutionOptions(
        ignore_eos=True,
        batch_size=given.rows,
        kv_cache_dtype=given.kv_cache_dtype,
        memory_fraction=given.memory_fraction,
    )
    return dataclasses.replace(options, **changes)


def _engine(loaded: LoadedModel, options: ExecutionOptions) -> TransformersEngine:
    from evalsuite.engines.transformers import TransformersEngine

    return TransformersEngine(loaded, options)


def _ours(
    loaded: LoadedModel, workload: Workload, given: argparse.Namespace, vocab: int, reference: Answers
) -> Iterator[dict[str, Any]]:
    """Fills `reference` with continuous's answers of the first round, which all others are compared with."""
    prompts = workload.requests(vocab)
    on_cuda = loaded.device.type == "cuda"
    with _engine(loaded, _options(given)) as engine:
        _answer(engine, CONTINUOUS, workload.requests(vocab, seed=1))  # graphs and memory, on other prompts
        for number in range(given.rounds):
            entry = _timed(engine, CONTINUOUS, workload, prompts, reference)
            if given.profile and number == given.rounds - 1:
                entry["profile"] = traced(lambda: _answer(engine, CONTINUOUS, prompts), cuda=on_cuda)
            yield entry
    if given.deterministic:
        # Its batches have one size, whoever is in them: here one that the workload fills.
        rows = given.rows or min(ROWS, workload.prompts)
        with _engine(loaded, _options(given, deterministic=True, batch_size=rows)) as engine:
            _answer(engine, CONTINUOUS, workload.requests(vocab, seed=1))
            yield _timed(engine, CONTINUOUS, workload, prompts, reference, peer="continuous, deterministic")
    for batch in given.padded:
        some = spread(prompts, max(given.padded_prompts, batch))
        with _engine(loaded, _options(given, batch_size=batch, kv_cache_dtype="auto")) as engine:
            _answer(engine, "padded", some[:batch])
            yield _timed(engine, "padded", workload, some, reference, peer=f"padded, batch {batch}")
    if given.unbatched:
        with _engine(loaded, _options(given, batch_size=None, kv_cache_dtype="auto")) as engine:
            _answer(engine, "unbatched", prompts[:1])
            yield _timed(engine, "unbatched", workload, spread(prompts, given.unbatched), reference)


def _answer(engine: TransformersEngine, strategy: str, prompts: Sequence[EncodedPrompt]) -> Answers:
    return _answer_timed(engine, strategy, prompts)[0]


def _answer_timed(engine: TransformersEngine, strategy: str, prompts: Sequence[EncodedPrompt]) -> tuple[Answers, float]:
    outcomes, seconds = until_all_are_known(
        lambda: engine.generate(prompts, strategy), len(prompts), engine.synchronize
    )
    return {outcome.id: outcome.token_ids for outcome in outcomes}, seconds


def _timed(
    engine: TransformersEngine,
    strategy: str,
    workload: Workload,
    prompts: Sequence[EncodedPrompt],
    reference: Answers,
    peer: str = "",
) -> dict[str, Any]:
    meter = MemoryMeter(str(engine.loaded.device))
    meter.reset()
    engine.reset_counters()
    answers, seconds = _answer_timed(engine, strategy, prompts)
    written = sum(map(len, answers.values()))
    if written != len(prompts) * workload.new_tokens:
        raise ConfigError(f"{strategy}: expected {workload.new_tokens} tokens a prompt, got {written} in all")
    if not reference:
        reference |= answers
    return _entry(peer or strategy, workload, len(prompts), seconds, _agreement(answers, reference)) | {
        "counters": engine.counters.to_dict(),
        "flops_per_second": engine.counters.flops / seconds,
        "peak_bytes": meter.peak().bytes,
        "fallbacks": [str(fallback) for fallback in engine.fallbacks],
    }


def _by_library(
    loaded: LoadedModel,
    library: Library,
    workload: Workload,
    given: argparse.Namespace,
    vocab: int,
    reference: Answers,
) -> dict[str, Any]:
    """One entry, whatever happens: with `failed`, the reason, in the place of figures where there are none."""
    prompts, warm_up = workload.requests(vocab), workload.requests(vocab, seed=1)
    if library.name in BATCHED:
        rows = library.batch or 1
        prompts, warm_up = spread(prompts, max(given.library_prompts, rows)), spread(warm_up, rows)
    else:
        warm_up = warm_up[:WARM_UP]
    run = try_library(loaded, library, warm_up, prompts)
    if isinstance(run, str):
        return {"peer": str(library), "workload": str(workload), "prompts": len(prompts), "failed": run}
    answers = dict(zip((prompt.id for prompt in prompts), run.answers, strict=True))
    return _entry(str(library), workload, len(prompts), run.seconds, _agreement(answers, reference)) | {
        "first_seconds": run.first_seconds,
        "attention": run.attention,
        "graphs_compiled": {"warm_up": run.graphs[0], "timed": run.graphs[1]},
        "peak_bytes": run.peak_bytes,
        "fallbacks": list(run.given_up),
    }


def _agreement(answers: Answers, reference: Answers) -> dict[str, int]:
    """How many answers are the reference's, and how many tokens are before the first that is not."""
    pairs = [(tokens, reference[id_]) for id_, tokens in answers.items()]
    return {
        "same_answers": sum(tokens == expected for tokens, expected in pairs),
        "same_tokens": sum(_common_prefix(tokens, expected) for tokens, expected in pairs),
    }


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _entry(
    peer: str, workload: Workload, prompts: int, seconds: float, agreement: Mapping[str, int] | None = None
) -> dict[str, Any]:
    return {
        "peer": peer,
        "workload": str(workload),
        "prompts": prompts,
        "seconds": seconds,
        "prompts_per_second": prompts / seconds,
        "tokens_per_second": prompts * workload.new_tokens / seconds,
        **(agreement or {}),
    }


def _vllm(folder: str, workloads: Sequence[Workload], vocab: int) -> list[dict[str, Any]]:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    asked = [workload.requests(vocab) for workload in workloads]
    served = generate_by_vllm(folder, "dummy", asked)
    said = {"first_seconds": served.ready_seconds, "settings": served.settings}
    return [
        _entry(f"vLLM {served.version}, prefix caching", workload, workload.prompts, took) | said
        for workload, took in zip(workloads, served.seconds, strict=True)
    ]


def _ratio(entry: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many times as long a prompt takes as in continuous's first round; nothing for what has no figures."""
    if "failed" in entry:
        return {}
    first = next(r for r in results if (r["peer"], r["workload"]) == (CONTINUOUS, entry["workload"]))
    return {"times_continuous": first["prompts_per_second"] / float(entry["prompts_per_second"])}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Workload) else value


def lines(record: Mapping[str, Any]) -> list[str]:
    """The table, and below it who has no figures and why."""
    return aligned(rows(record)) + failures(record)


def failures(record: Mapping[str, Any]) -> list[str]:
    """Who has no figures, and why."""
    failed = [entry for entry in record["results"] if "failed" in entry]
    return [f"{entry['peer']}, {entry['workload']}: {entry['failed']}" for entry in failed]


def rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of a record."""
    table: list[tuple[str, ...]] = [
        ("workload", "peer", "prompts", "seconds", "prompts/s", "x continuous", "same answers", "peak GiB", "idle")
    ]
    for entry in record["results"]:
        idle = entry.get("profile", {}).get("idle_share")
        table.append(
            (
                entry["workload"],
                entry["peer"],
                f"{entry['prompts']:,}",
                "failed" if "failed" in entry else f"{entry['seconds']:.2f}",
                _cell(entry, "prompts_per_second", ".2f"),
                _cell(entry, "times_continuous", ".2f"),
                _cell(entry, "same_answers", ","),
                f"{entry['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in entry else "-",
                "-" if idle is None else f"{idle:.1%}",
            )
        )
    return table


def _cell(entry: Mapping[str, Any], name: str, form: str) -> str:
    return format(entry[name], form) if name in entry else "-"


if __name__ == "__main__":
    sys.exit(main())
