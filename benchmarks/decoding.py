"""Time the attention of one layer in one step of decoding by each library that has one, beside this project's kernel.

python -m benchmarks.decoding --model shape:qwen3-4b --workload viquad:1024:64 vietnews:512:64 --out RECORD.json
    --candidates ours "flash-attn 2, block table"        some of them alone

A workload is NAME:ROWS:WRITTEN, with prompts of `benchmarks.peers.prompts` after so many new tokens each, or
even:ROWS:KEYS or even:ROWS:KEYS:SHARING:SHARED, rows of one length of which so many neighbours have their first keys in
common. Each row asks one query, of a model's shape, whose weights are never made; keys and values are random.

Every candidate is laid out as it likes before the clock starts, since a layout is kept from step to step: rows of one
width, keys without gaps, pages, or one token a slot as the pool has it. Pages that rows share in whole are one page.
What it gives is compared with attention in fp32 before and after it is timed. Its time is the median over replays of a
CUDA graph with the one call in it, or of plain calls where a graph cannot be captured, which the table says; so what
the host takes to launch kernels is no part of it, as it is none of a step that is replayed. At these sizes a layer's
keys are larger than the device's cache, as the record says; before each call other memory is read through the cache
besides, so that none of them is left of the call before. Bytes are of keys and values. *needed*: each row's own,
however many rows have the same; *read once*: what our plan reads of memory, rows that share a span together.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
import importlib.util
import inspect
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.peers.prompts import WORKLOADS, requests
from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import DecodeTables, PoolLayer
from evalsuite.capability import device_reason, environment
from evalsuite.config import DTYPES
from evalsuite.errors import EvalsuiteError, first_line
from evalsuite.harness.table import aligned
from evalsuite.planning.packs import Ints
from evalsuite.planning.spans import StepPlan
from evalsuite.shapes import Shape, get_shape

EVEN = "even"
OURS = "ours"
BLOCK = 128
"""Keys of a block of FlexAttention's mask. Rows of one width are as long as the longest row, up to a multiple of it."""
PAGE = 256
"""The least that FlashAttention 2 takes."""
SCRATCH_NUMBER = 1e4
"""Stands wherever no row has a key. What reads it is wrong by much."""
TOLERANCES = {"bfloat16": 0.02, "float16": 0.005, "float32": 1e-4}
"""Of a query head's error, as a share of what it should be (both as lengths of vectors); the largest over all heads of
all rows counts. A key too few in every row gives several hundredths in the mean, and more in the largest."""
ROWS_AT_ONCE = 64
"""Of the attention in fp32 that results are compared with."""
WARM_UP_CALLS, LEAST_CALLS, MOST_CALLS, CALL_SECONDS = 3, 10, 200, 0.5
CACHES = 4
"""What is read before a call, in sizes of the device's cache. Read, since what is written would leave the cache for
the memory during the call."""


class Unavailable(EvalsuiteError):
    """A candidate that cannot run here. The message says what is missing."""


class WrongResult(EvalsuiteError):
    """A candidate that gives something else than attention."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Which rows are in the batch, and what they have seen."""

    name: str
    """Of `WORKLOADS`, or `EVEN`."""
    rows: int
    tokens: int
    """New tokens that each row has; of `EVEN`, keys that each sees."""
    sharing: int = 1
    """Neighbours that have their first `shared` keys in common, of `EVEN`."""
    shared: int = 0

    def __str__(self) -> str:
        sharing = f":{self.sharing}:{self.shared}" if self.shared else ""
        return f"{self.name}:{self.rows}:{self.tokens}{sharing}"

    def sequences(self, vocab: int) -> list[tuple[int, ...]]:
        """The tokens that each row sees. Those of its own are negative, so no other row has them."""
        own = [(-1 - row,) for row in range(self.rows)]
        if self.name == EVEN:
            return [
                (row // self.sharing,) * self.shared + own[row] * (self.tokens - self.shared)
                for row in range(self.rows)
            ]
        prompts = requests(self.name, vocab=vocab, count=self.rows, new_tokens=self.tokens, seed=0)
        return [prompt.prompt_ids + own[row] * self.tokens for row, prompt in enumerate(prompts)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One layer at one step."""

    slots: Ints
    """[rows, width]: slot of each key that a row sees, then 0. Rows share the slots of what they have in common."""
    lengths: Ints
    """[rows]: keys that each sees."""
    query: torch.Tensor
    """[rows, heads, dim]."""
    layer: PoolLayer

    @property
    def device(self) -> torch.device:
        return self.query.device

    @property
    def scale(self) -> float:
        return float(self.query.shape[-1] ** -0.5)

    @property
    def group(self) -> int:
        """Query heads of a key head."""
        return self.query.shape[1] // self.layer.keys.shape[1]

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def bytes_per_key(self) -> int:
        """Of a token's keys and values."""
        return sum(tensor[0].nbytes for tensor in (self.layer.keys, self.layer.values))

    def ints(self, numbers: Any) -> torch.Tensor:
        """int32, on the device."""
        return torch.tensor(np.asarray(numbers), dtype=torch.int32, device=self.device)

    def bounds(self, counts: Any) -> torch.Tensor:
        """[rows + 1]: 0, and the sums of `counts` so far."""
        return self.ints(np.concatenate([[0], np.cumsum(counts)]))

    def at(self, slots: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values there: [..., kv heads, dim] each."""
        where = torch.tensor(np.asarray(slots), dtype=torch.int64, device=self.device)
        return self.layer.keys[where], self.layer.values[where]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A candidate with everything laid out."""

    call: Callable[[], torch.Tensor]
    """[rows, heads, dim]."""
    keys_read: int | None = None
    """Of a head and in all, where it is planned which."""


Candidate = Callable[[Case], Prepared]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Of several calls."""

    seconds: float
    """The median."""
    fastest: float
    slowest: float
    calls: int
    not_replayed: str | None
    """Why a graph was not captured."""
    out: torch.Tensor
    """Of the last call."""


def case_of(workload: Workload, shape: Shape, *, dtype: str, device: str, seed: int = 0) -> Case:
    """Random queries, keys and values in the shape of one layer."""
    slots, lengths = slots_of(workload.sequences(shape.vocab_size))
    generator = torch.Generator(device=device).manual_seed(seed)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, shape.head_dim, generator=generator, device=device, dtype=getattr(torch, dtype))

    keys, values = (normal(int(slots.max()) + 1, shape.num_key_value_heads) for _ in range(2))
    keys[0] = values[0] = SCRATCH_NUMBER
    query = normal(workload.rows, shape.num_attention_heads)
    return Case(slots=slots, lengths=lengths, query=query, layer=PoolLayer(keys, values, None, None))


def slots_of(sequences: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Slots [rows, longest] and lengths [rows]. Neighbours share what they have in common from the first token on."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int32)
    slots = np.zeros((len(sequences), int(lengths.max())), dtype=np.int32)
    free = 1
    before: tuple[int, ...] = ()
    for row, sequence in enumerate(sequences):
        unlike = (i for i, (a, b) in enumerate(zip(before, sequence, strict=False)) if a != b)
        common = next(unlike, min(len(before), len(sequence)))
        own = len(sequence) - common
        slots[row, :common] = slots[row - 1, :common]
        slots[row, common : len(sequence)] = np.arange(free, free + own)
        free, before = free + own, sequence
    return slots, lengths


def reference(case: Case) -> torch.Tensor:
    """[rows, heads, dim] in fp32, written out."""
    rows, heads, dim = case.query.shape
    out = torch.empty(rows, heads, dim, device=case.device)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        keys, values = (numbers.float() for numbers in case.at(case.slots[part]))
        query = case.query[part].float().view(-1, heads // case.group, case.group, dim)
        seen = torch.arange(keys.shape[1], device=case.device) < case.ints(case.lengths[part])[:, None]
        scores = torch.einsum("rkgd,rtkd->rkgt", query, keys) * case.scale
        weights = scores.masked_fill(~seen[:, None, None], float("-inf")).softmax(-1)
        out[part] = torch.einsum("rkgt,rtkd->rkgd", weights, values).flatten(1, 2)
    return out


def largest_error(got: torch.Tensor, want: torch.Tensor, *, tolerance: float) -> float:
    """Over heads of rows, as of `TOLERANCES`; WrongResult where it is more than the tolerance."""
    if got.shape != want.shape:
        raise WrongResult(f"expected {tuple(want.shape)}, got {tuple(got.shape)}")
    error = float(((got.float() - want).norm(dim=-1) / want.norm(dim=-1)).nan_to_num(float("inf")).max())
    if error > tolerance:
        raise WrongResult(f"a head is {error:.3g} off what it should be, and {tolerance:g} is allowed")
    return error


# ---- ours


def _ours(case: Case, *, fixed: bool) -> Prepared:
    """The kernel of a step; `fixed` as in a deterministic run."""
    if importlib.util.find_spec("triton") is None:
        raise Unavailable("the package triton is not installed")
    from evalsuite.attention.pooled_fused import decode_workspace, fused_decode, most_cells, most_members

    rows, heads, dim = case.query.shape
    kv_heads = case.layer.keys.shape[1]
    workspace = decode_workspace(
        case.device,
        cells=most_cells(rows, case.longest, fixed=fixed),
        heads=heads,
        value_dim=dim,
        members=most_members(heads, kv_heads, fixed=fixed),
        fixed=fixed,
    )
    plan = workspace.plan(case.slots, np.arange(rows), case.lengths, kv_heads=kv_heads)
    attend = fused_decode(step_tables(case, plan), workspace)
    keys, values = case.at(case.slots[np.arange(rows), case.lengths - 1])
    fresh = keys.transpose(0, 1), values.transpose(0, 1)
    query, rule = case.query.transpose(0, 1), ScoreRule(case.scale)
    read = int((plan.items[:, 3] - plan.items[:, 2]).sum())
    return Prepared(lambda: attend(query, case.layer, fresh, rule), read)


def step_tables(case: Case, plan: StepPlan) -> DecodeTables:
    """What the kernels read: the rows in their order, and a dummy that no place has."""
    rows = len(case.slots)
    return DecodeTables(
        slots=case.ints(np.concatenate([case.slots, np.zeros_like(case.slots[:1])])),
        lengths=case.ints([*case.lengths, 1]),
        active=torch.arange(rows, device=case.device),
        items=case.ints(plan.items),
        item_counts=case.ints([0, plan.shared, len(plan.items)]),
        entries=case.ints(plan.entries),
        cells=case.ints(plan.cells),
    )


# ---- torch


def padded_slots(case: Case) -> Ints:
    """[rows, width]: one width for all."""
    return np.pad(case.slots, ((0, 0), (0, -case.longest % BLOCK)))


def static_cache(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """As transformers' StaticCache has them: [rows, kv heads, width, dim] each, contiguous."""
    keys, values = case.at(padded_slots(case))
    return keys.transpose(1, 2).contiguous(), values.transpose(1, 2).contiguous()


def _seen(case: Case, width: int) -> torch.Tensor:
    """[rows, 1, 1, width]: which are keys of the row."""
    return (torch.arange(width, device=case.device) < case.ints(case.lengths)[:, None])[:, None, None]


def _sdpa_as_transformers_calls_it(case: Case) -> Prepared:
    """With a mask, that repeats keys for every query head."""
    sdpa: Any = importlib.import_module("transformers.integrations.sdpa_attention")
    keys, values = static_cache(case)
    seen, query = _seen(case, keys.shape[2]), case.query[:, :, None]
    module = SimpleNamespace(num_key_value_groups=case.group, is_causal=True)
    return Prepared(lambda: sdpa.sdpa_attention_forward(module, query, keys, values, seen, scaling=case.scale)[0][:, 0])


def _sdpa_with_gqa(case: Case) -> Prepared:
    keys, values = static_cache(case)
    seen, query = _seen(case, keys.shape[2]), case.query[:, :, None]

    def call() -> torch.Tensor:
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=case.scale, enable_gqa=True)[
            :, :, 0
        ]

    return Prepared(call)


def _sdpa_with_grouped_queries(case: Case) -> Prepared:
    """The query heads of a key head stand where queries do, so that no key is repeated."""
    keys, values = static_cache(case)
    query = case.query.view(len(case.query), -1, case.group, case.query.shape[-1])
    seen = _seen(case, keys.shape[2]).expand(-1, -1, case.group, -1)

    def call() -> torch.Tensor:
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=case.scale).flatten(1, 2)

    return Prepared(call)


def _varlen(case: Case, *, paged: bool) -> Prepared:
    """torch's own ragged attention, a query a row."""
    from torch.nn.attention.varlen import varlen_attn

    rows = len(case.query)
    known = inspect.signature(varlen_attn).parameters
    asked: dict[str, Any] = {"scale": case.scale}
    if "enable_gqa" in known:  # where it is not, groups of heads are taken unasked
        asked["enable_gqa"] = case.group > 1
    if paged:
        if "block_table" not in known:
            raise Unavailable(f"varlen_attn of torch {torch.__version__} takes no block table")
        keys, values, table = pages(case)
        asked |= {"seqused_k": case.ints(case.lengths), "block_table": table}
        bounds = None
    else:
        keys, values = case.at(np.concatenate([row[:end] for row, end in zip(case.slots, case.lengths, strict=True)]))
        bounds = case.bounds(case.lengths)
    attend: Any = partial(varlen_attn, case.query, keys, values, case.bounds([1] * rows), bounds, 1, case.longest)
    return Prepared(lambda: attend(**asked))


def _flex(case: Case, **compile_options: Any) -> Prepared:
    """FlexAttention's kernel for few queries, over a static cache; on a CPU not compiled, as it then has no such."""
    from torch.nn.attention.flex_attention import flex_attention

    keys, values = static_cache(case)
    query, mask = case.query[:, :, None], block_mask(case, keys.shape[2])
    attend: Any = flex_attention
    asked: dict[str, Any] = {"block_mask": mask, "scale": case.scale, "enable_gqa": case.group > 1}
    if case.device.type == "cuda":
        attend = torch.compile(flex_attention, dynamic=False, fullgraph=True, **compile_options)
        asked["kernel_options"] = {"BACKEND": "TRITON_DECODE"}  # raises where that kernel cannot be had
    return Prepared(lambda: attend(query, keys, values, **asked)[:, :, 0])


def block_mask(case: Case, width: int) -> Any:
    """Blocks that a row sees in whole, which no mask is applied to, and the one that it sees in part.

    `create_block_mask` finds none in whole where there are fewer queries than a block has.
    """
    from torch.nn.attention.flex_attention import BlockMask

    lengths = case.ints(case.lengths)
    rows, columns = len(lengths), width // BLOCK
    whole = lengths // BLOCK
    every = torch.arange(columns, dtype=torch.int32, device=case.device).expand(rows, 1, 1, columns).contiguous()
    # The one in part comes first in its list; what stands behind it there is not read, and all stand there once.
    in_part = (every + whole[:, None, None, None]) % columns
    return BlockMask.from_kv_blocks(
        (lengths % BLOCK != 0).int()[:, None, None],
        in_part.int(),
        whole[:, None, None],
        every,
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=lambda row, head, query, key: key < lengths[row],
        seq_lengths=(1, width),
    )


# ---- flash-attn


def pages(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys and values [pages, PAGE, kv heads, dim], and the table [rows, most of a row], int32."""
    table = np.zeros((len(case.slots), -(-case.longest // PAGE)), dtype=np.int32)
    numbers: dict[int, int] = {}
    content: list[Ints] = []
    for row, (slots, length) in enumerate(zip(case.slots, case.lengths.tolist(), strict=True)):
        for place, start in enumerate(range(0, length, PAGE)):
            own = slots[start : min(start + PAGE, length)]
            number = numbers.setdefault(int(own[-1]), len(content))  # equal there means equal before
            if number == len(content):
                content.append(np.pad(own, (0, PAGE - len(own))))
            table[row, place] = number
    return *case.at(np.stack(content)), case.ints(table)


def _package(module: str, name: str) -> Any:
    if importlib.util.find_spec(module) is None:
        raise Unavailable(f"the package {name} is not installed")
    return importlib.import_module(module)


def _flash_2(case: Case, *, paged: bool) -> Prepared:
    flash = _package("flash_attn", "flash-attn")
    keys, values, *table = pages(case) if paged else case.at(padded_slots(case))
    asked = {"cache_seqlens": case.ints(case.lengths), "softmax_scale": case.scale}
    asked |= {"block_table": table[0]} if paged else {}
    return Prepared(lambda: flash.flash_attn_with_kvcache(case.query[:, None], keys, values, **asked)[:, 0])


def _flash_2_varlen(case: Case) -> Prepared:
    flash = _package("flash_attn", "flash-attn")
    keys, values, table = pages(case)
    bounds = case.bounds([1] * len(case.query)), case.bounds(case.lengths)
    asked = {"softmax_scale": case.scale, "block_table": table}
    return Prepared(lambda: flash.flash_attn_varlen_func(case.query, keys, values, *bounds, 1, case.longest, **asked))


def _flash_3(case: Case, *, paged: bool = False, planned: bool = False) -> Prepared:
    """`planned`: the kernel's schedule is made ahead of the call, as one serves all layers of a step."""
    flash = _package("flash_attn_interface", "flash-attn-3")
    keys, values, *table = pages(case) if paged else case.at(padded_slots(case))
    asked = {"cache_seqlens": case.ints(case.lengths), "softmax_scale": case.scale}
    asked |= {"page_table": table[0]} if paged else {}
    if planned:
        rows, heads, dim = case.query.shape
        width, kv_heads = keys.shape[1:3]
        asked["scheduler_metadata"] = flash.get_scheduler_metadata(
            rows, 1, width, heads, kv_heads, dim, asked["cache_seqlens"], qkv_dtype=case.query.dtype
        )

    def call() -> torch.Tensor:
        out: torch.Tensor = flash.flash_attn_with_kvcache(case.query[:, None], keys, values, **asked)
        return out[:, 0]

    return Prepared(call)


CANDIDATES: Mapping[str, Candidate] = {
    OURS: partial(_ours, fixed=False),
    "ours, fixed spans": partial(_ours, fixed=True),
    "sdpa, static cache, as transformers calls it": _sdpa_as_transformers_calls_it,
    "sdpa, static cache, enable_gqa": _sdpa_with_gqa,
    "sdpa, static cache, grouped queries": _sdpa_with_grouped_queries,
    "flex_attention, static cache": _flex,
    "torch varlen, packed keys": partial(_varlen, paged=False),
    "torch varlen, block table": partial(_varlen, paged=True),
    "flash-attn 2, block table": partial(_flash_2, paged=True),
    "flash-attn 2, padded cache": partial(_flash_2, paged=False),
    "flash-attn 2 varlen, block table": _flash_2_varlen,
    "flash-attn 3, page table": partial(_flash_3, paged=True),
    "flash-attn 3, padded cache": _flash_3,
    "flash-attn 3, padded cache, planned ahead": partial(_flash_3, planned=True),
    "flex_attention, static cache, autotuned": partial(_flex, mode="max-autotune-no-cudagraphs"),
}
"""Ours come first: a fault on the device ends whatever comes after it. What is compiled for longest comes last."""


# ---- the measurement


def timed(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
    """On CUDA, as the module says."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            out = call()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()  # what the calls held: a graph has its own
    graph, not_replayed = torch.cuda.CUDAGraph(), None
    try:
        with torch.cuda.graph(graph):
            out = call()
    except Exception as error:  # whatever cannot be captured is still a figure, and the table says of what
        not_replayed = _reason(error)
        torch.cuda.synchronize(device)
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    other = torch.zeros(CACHES * cache // 4, device=device)

    def seconds(calls: int) -> list[float]:
        nonlocal out
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]  # type: ignore[no-untyped-call]
        for begin, end in events:
            other.sum()
            begin.record()
            if not_replayed is None:
                graph.replay()
            else:
                out = call()
            end.record()
        torch.cuda.synchronize(device)
        return [begin.elapsed_time(end) / 1000 for begin, end in events]

    first = statistics.median(seconds(WARM_UP_CALLS))
    taken = seconds(min(MOST_CALLS, max(LEAST_CALLS, round(CALL_SECONDS / first))))
    return Timing(
        seconds=statistics.median(taken),
        fastest=min(taken),
        slowest=max(taken),
        calls=len(taken),
        not_replayed=not_replayed,
        out=out,
    )


def measure(
    make: Candidate,
    case: Case,
    want: torch.Tensor,
    *,
    tolerance: float,
    clock: Callable[[Callable[[], torch.Tensor], torch.device], Timing] = timed,
) -> dict[str, Any]:
    """The figures of a candidate; or with `failed` why there are none, or with `wrong` why there may be none."""
    try:
        _release()  # fails too on a device that an earlier candidate has brought into disorder
        with torch.no_grad():
            prepared = make(case)
            largest_error(prepared.call(), want, tolerance=tolerance)
            timing = clock(prepared.call, case.device)
            error = largest_error(timing.out, want, tolerance=tolerance)
    except WrongResult as wrong:
        return {"wrong": str(wrong)}
    except Exception as problem:  # whatever it raises is a finding about it, and not about those who come after
        return {"failed": str(problem) if isinstance(problem, Unavailable) else _reason(problem)}
    needed = int(case.lengths.sum()) * case.bytes_per_key
    read = None if prepared.keys_read is None else prepared.keys_read * case.bytes_per_key
    figures = {name: getattr(timing, name) for name in ("seconds", "fastest", "slowest", "calls", "not_replayed")}
    return figures | {
        "largest_error": error,
        "needed_bytes_per_second": needed / timing.seconds,
        "bytes_read_once": read,
        "read_once_bytes_per_second": None if read is None else read / timing.seconds,
    }


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    shape = get_shape(given.model)
    arguments = {name: value for name, value in vars(given).items() if name != "out"}
    record: dict[str, Any] = {
        "arguments": arguments | {"workload": list(map(str, given.workload))},
        "versions": environment(),
        "shape": dataclasses.asdict(shape),
        "tolerance": TOLERANCES[given.dtype],
        "cache_bytes": torch.cuda.get_device_properties(given.device).L2_cache_size,
        "workloads": {},
        "results": [],
    }
    cases = {}
    for workload in given.workload:
        case = case_of(workload, shape, dtype=given.dtype, device=given.device)
        cases[str(workload)] = case, reference(case)
        record["workloads"][str(workload)] = sizes(case)
    ours: dict[str, float] = {}
    for name in given.candidates:
        for text, (case, want) in cases.items():
            entry = measure(CANDIDATES[name], case, want, tolerance=record["tolerance"])
            if name == OURS and "seconds" in entry:
                ours[text] = entry["seconds"]
            if "seconds" in entry and text in ours:
                entry["times_ours"] = entry["seconds"] / ours[text]
            record["results"].append({"candidate": name, "workload": text} | entry)
            yield record


def sizes(case: Case) -> dict[str, int]:
    """What the rows see."""
    keys = int(case.lengths.sum())
    distinct = len(np.unique(case.slots[case.slots != 0]))
    return {
        "rows": len(case.lengths),
        "keys": keys,
        "least_keys": int(case.lengths.min()),
        "most_keys": case.longest,
        "needed_bytes": keys * case.bytes_per_key,
        "distinct_keys": distinct,
        "distinct_bytes": distinct * case.bytes_per_key,
    }


def _release() -> None:
    """Nothing of another candidate's in the device's memory or in the compiler's counts."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def lines(record: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of those that have figures, and a line for each that has none."""
    table: list[tuple[str, ...]] = [
        ("workload", "attention", "rows", "keys", "us a layer", "GB/s needed", "GB/s read once", "x ours", "by")
    ]
    for entry in (entry for entry in results if "seconds" in entry):
        of = record["workloads"][entry["workload"]]
        once = entry["read_once_bytes_per_second"]
        table.append(
            (
                entry["workload"],
                entry["candidate"],
                f"{of['rows']:,}",
                f"{of['keys']:,}",
                f"{1e6 * entry['seconds']:,.1f}",
                f"{entry['needed_bytes_per_second'] / 1e9:,.0f}",
                "-" if once is None else f"{once / 1e9:,.0f}",
                f"{entry['times_ours']:.2f}" if "times_ours" in entry else "-",
                "graph" if entry["not_replayed"] is None else "launches",
            )
        )
    notes = [
        f"{entry['candidate']}, {entry['workload']}: {entry[kind] if kind != 'wrong' else 'WRONG: ' + entry[kind]}"
        for kind in ("not_replayed", "failed", "wrong")
        for entry in results
        if entry.get(kind)
    ]
    return (aligned(table) if len(table) > 1 else []) + notes


def _workload(text: str) -> Workload:
    name, *counts = text.split(":")
    try:
        numbers = tuple(map(int, counts))
    except ValueError:
        numbers = ()
    if len(numbers) == 2 and name in (*WORKLOADS, EVEN) and min(numbers) > 0:
        return Workload(name=name, rows=numbers[0], tokens=numbers[1])
    if len(numbers) == 4 and name == EVEN and min(numbers) > 0 and numbers[3] < numbers[1]:
        return Workload(name=name, rows=numbers[0], tokens=numbers[1], sharing=numbers[2], shared=numbers[3])
    raise argparse.ArgumentTypeError(
        f"expected {'|'.join(WORKLOADS)}:ROWS:WRITTEN, {EVEN}:ROWS:KEYS or {EVEN}:ROWS:KEYS:SHARING:SHARED with fewer "
        f"shared than keys, got {text!r}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shape:qwen3-4b", help="whose shape the layer has: shape:NAME")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="cuda", help="a CUDA device")
    parser.add_argument(
        "--workload",
        type=_workload,
        nargs="+",
        default=[_workload("viquad:1024:64"), _workload("vietnews:512:64")],
        metavar="NAME:ROWS:WRITTEN",
    )
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES, metavar="NAME")
    parser.add_argument("--out", required=True, metavar="RECORD.json")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    reason = device_reason(given.device) or (None if given.device.startswith("cuda") else f"{given.device} is none")
    if reason is not None:
        raise SystemExit(f"python -m benchmarks.decoding: error: needs a CUDA device, and {reason}")
    if (index := torch.device(given.device).index) is not None:
        torch.cuda.set_device(index)
    record: dict[str, Any] = {}
    for record in _measured(given):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("\n".join(lines(record, record["results"][-1:])), flush=True)
    by_workload = sorted(record["results"], key=lambda entry: list(record["workloads"]).index(entry["workload"]))
    print("\n".join(lines(record, by_workload)))
    if wrong := [entry["candidate"] for entry in record["results"] if "wrong" in entry]:
        raise SystemExit(f"python -m benchmarks.decoding: error: not attention: {'; '.join(dict.fromkeys(wrong))}")


if __name__ == "__main__":
    main()
