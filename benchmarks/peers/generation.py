"""Generate from the same prompts by every peer, in one run, and write what each took.

python -m benchmarks.peers.generation --model shape:qwen3-4b --workload viquad:1024:32 vietnews:512:128 --out FILE
    --padded 8 128    padded's batch sizes, each on --padded-prompts prompts
    --unbatched 8     prompts for unbatched (0: leave it out)
    --vllm            vLLM too, in a process of its own, with random weights of the same shape
    --profile         a trace of one run of continuous: how long the device stood still while it decoded

A workload is NAME:PROMPTS:NEW TOKENS. Every answer has all its new tokens (`ignore_eos`), as vLLM's have.
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

from benchmarks.peers.prompts import WORKLOADS, requests
from benchmarks.peers.served import generate_by_vllm
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
CONTINUOUS = "continuous"


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
        print("\n".join(aligned(rows(record | {"results": record["results"][-1:]}))), flush=True)
    print("\n".join(aligned(rows(record))))


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

    def so_far() -> dict[str, Any]:
        return record | {"results": [entry | {"times_continuous": _ratio(entry, results)} for entry in results]}

    for workload in given.workload:
        for entry in _ours(loaded, workload, given, vocab):
            results.append(entry)
            yield so_far()
        record["ceilings"].append(dataclasses.asdict(measure_ceiling(loaded.device, loaded.model.dtype)))
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


def _ours(loaded: LoadedModel, workload: Workload, given: argparse.Namespace, vocab: int) -> Iterator[dict[str, Any]]:
    prompts = workload.requests(vocab)
    on_cuda = loaded.device.type == "cuda"
    with _engine(loaded, _options(given)) as engine:
        _answer(engine, CONTINUOUS, workload.requests(vocab, seed=1))  # graphs and memory, on other prompts
        for number in range(given.rounds):
            entry = _timed(engine, CONTINUOUS, workload, prompts)
            if given.profile and number == given.rounds - 1:
                entry["profile"] = traced(lambda: _answer(engine, CONTINUOUS, prompts), cuda=on_cuda)
            yield entry
    if given.deterministic:
        # Its batches have one size, whoever is in them: here one that the workload fills.
        rows = given.rows or min(ROWS, workload.prompts)
        with _engine(loaded, _options(given, deterministic=True, batch_size=rows)) as engine:
            _answer(engine, CONTINUOUS, workload.requests(vocab, seed=1))
            yield _timed(engine, CONTINUOUS, workload, prompts, peer="continuous, deterministic")
    for batch in given.padded:
        some = prompts[: max(given.padded_prompts, batch)]
        with _engine(loaded, _options(given, batch_size=batch, kv_cache_dtype="auto")) as engine:
            _answer(engine, "padded", some[:batch])
            yield _timed(engine, "padded", workload, some, peer=f"padded, batch {batch}")
    if given.unbatched:
        with _engine(loaded, _options(given, batch_size=None, kv_cache_dtype="auto")) as engine:
            _answer(engine, "unbatched", prompts[:1])
            yield _timed(engine, "unbatched", workload, prompts[: given.unbatched])


def _answer(engine: TransformersEngine, strategy: str, prompts: Sequence[EncodedPrompt]) -> int:
    written = sum(len(outcome.token_ids) for outcome in engine.generate(prompts, strategy))
    engine.synchronize()
    return written


def _timed(
    engine: TransformersEngine, strategy: str, workload: Workload, prompts: Sequence[EncodedPrompt], peer: str = ""
) -> dict[str, Any]:
    meter = MemoryMeter(str(engine.loaded.device))
    meter.reset()
    engine.reset_counters()
    start = time.perf_counter()
    written = _answer(engine, strategy, prompts)
    seconds = time.perf_counter() - start
    if written != len(prompts) * workload.new_tokens:
        raise ConfigError(f"{strategy}: expected {workload.new_tokens} tokens a prompt, got {written} in all")
    return _entry(peer or strategy, workload, len(prompts), seconds) | {
        "counters": engine.counters.to_dict(),
        "flops_per_second": engine.counters.flops / seconds,
        "peak_bytes": meter.peak().bytes,
        "fallbacks": [str(fallback) for fallback in engine.fallbacks],
    }


def _entry(peer: str, workload: Workload, prompts: int, seconds: float) -> dict[str, Any]:
    return {
        "peer": peer,
        "workload": str(workload),
        "prompts": prompts,
        "seconds": seconds,
        "prompts_per_second": prompts / seconds,
        "tokens_per_second": prompts * workload.new_tokens / seconds,
    }


def _vllm(folder: str, workloads: Sequence[Workload], vocab: int) -> list[dict[str, Any]]:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    asked = [workload.requests(vocab) for workload in workloads]
    version, ready, seconds = generate_by_vllm(folder, "dummy", asked)
    return [
        _entry(f"vLLM {version}, prefix caching", workload, workload.prompts, took) | {"first_seconds": ready}
        for workload, took in zip(workloads, seconds, strict=True)
    ]


def _ratio(entry: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> float:
    """How many times as long a prompt takes as with continuous at its best."""
    rates = [r["prompts_per_second"] for r in results if (r["peer"], r["workload"]) == (CONTINUOUS, entry["workload"])]
    return max(rates) / float(entry["prompts_per_second"])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Workload) else value


def rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table of a record."""
    table = [("workload", "peer", "prompts", "seconds", "prompts/s", "x continuous", "peak GiB", "idle")]
    for entry in record["results"]:
        idle = entry.get("profile", {}).get("idle_share")
        table.append(
            (
                entry["workload"],
                entry["peer"],
                f"{entry['prompts']:,}",
                f"{entry['seconds']:.2f}",
                f"{entry['prompts_per_second']:.2f}",
                f"{entry['times_continuous']:.2f}",
                f"{entry['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in entry else "-",
                "-" if idle is None else f"{idle:.1%}",
            )
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
