"""The claims of the older guide, one by one: its words, what each promises in numbers, and where that is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.claims.records import Record
from benchmarks.claims.verdicts import Bounds, Figure

MMLU_QUESTIONS = 14_042
"""MMLU's test split."""
VIQUAD_QUESTIONS = 3_814
"""The validation split of taidng/UIT-ViQuAD2.0 on the hub; its test split has no answers."""
BATCHED_IDS = {"viquad": "passages", "vietnews": "articles"}
"""Of `test_batched_generation`: not by the tasks' names, which `-k` selects evaluations by."""
ABOUT_TWICE = Bounds(at_least=1.8, expected_most=2.2)
"""The guide says "about 2x" and "half": within a tenth, or more."""

FLASH = Bounds(at_least=2, expected_most=4)
COMPILED = Bounds(at_least=1.1, expected_most=1.3)
FOUR_CHOICES = Bounds(at_least=3, expected_most=4)
BATCHED = Bounds(at_least=2, expected_most=8)
CACHED = Bounds(at_least=1.2, expected_most=1.5)

OPTIMISATIONS, CLAIMS = "benchmarks/test_optimisations.py", "benchmarks/test_claims.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One number of a claim."""

    what: str
    """Names it within the claim: `MMLU`, `batch 8`."""
    measure: Callable[[Record], Figure]
    bounds: Bounds | None = None
    """None for a figure that is shown beside the claim and promised nowhere."""
    note: Callable[[Record], str] = lambda record: ""
    """What else has to be said of the figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A sentence of the guide."""

    words: str
    parts: tuple[Part, ...]
    tests: str
    """What measures it: pytest's arguments."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Machine -> why it was not kept there, or not wholly."""
    not_on: Mapping[str, str] = field(default_factory=dict)
    """Machine -> why it is not measured there."""


def _case(name: str) -> Callable[[Record], Figure]:
    """The speed-up of an evaluation's case."""
    return lambda record: record.ratio(name)


def _turns(name: str, path: str, baseline: str) -> Callable[[Record], Figure]:
    """The speed-up of one way over another that took turns with it."""
    return lambda record: record.ratio(name, path=path, baseline=baseline)


def _warm_up(name: str) -> Callable[[Record], Figure]:
    return lambda record: Figure(value=record.case(name)["one_off_seconds"], unit=" s")


def _cost(name: str, per: str, *, of: str, over: str) -> Callable[[Record], Figure]:
    """One byte count of a load over another."""

    def measure(record: Record) -> Figure:
        costs = record.case("test_loading")["costs"]
        return Figure(value=costs[name][of] / costs[per][over])

    return measure


def _case_minutes(name: str, side: str, questions: int) -> Callable[[Record], Figure]:
    """Minutes for all questions, from an evaluation's seconds per question; `side`: baseline or path."""

    def measure(record: Record) -> Figure:
        per_question = record.case(name)["speed_up"][f"{side}_seconds_per_question"]
        return Figure(value=questions * per_question / 60, unit=" min")

    return measure


def _turn_minutes(name: str, way: str, questions: int) -> Callable[[Record], Figure]:
    def measure(record: Record) -> Figure:
        case = record.case(name)
        taken = case["seconds"][way]
        return Figure(value=questions * sum(taken) / len(taken) / case["counts"][way] / 60, unit=" min")

    return measure


def _gigabytes(name: str, of: str) -> Callable[[Record], Figure]:
    return lambda record: Figure(value=(record.case(name)[of]) / 1e9, unit=" GB")


def _batches(task: str, sizes: tuple[int, ...]) -> tuple[Part, ...]:
    name = f"test_batched_generation[{BATCHED_IDS[task]}]"
    return tuple(
        Part(
            what=f"batch {rows}",
            measure=_turns(name, f"batch {rows}", "one by one"),
            bounds=BATCHED,
            note=_unfaithful(name, f"batch {rows}"),
        )
        for rows in sizes
    )


def _unfaithful(name: str, way: str) -> Callable[[Record], str]:
    """The verdict on the answers of a way, where it is not faithful, or that a run was broken off before it."""

    def note(record: Record) -> str:
        if (verdicts := record.case(name).get("verdicts")) is None:
            return " (not judged)"
        summary = verdicts[way]
        return "" if summary.startswith("faithful") else f" ({summary})"

    return note


_ATTENTION = [f"test_attention_alone[{length}]" for length in (128, 512, 2048)]
_HOURS = {"cpu": "not measured: the claim is of a real model on a GPU"}

CATALOGUE = (
    Claim(
        words="bf16 is about 2x faster than fp32",
        parts=(Part(what="MMLU", measure=_case("test_dtype[bfloat16]"), bounds=ABOUT_TWICE),),
        tests=f"{OPTIMISATIONS} -k bfloat16",
    ),
    Claim(
        words="bf16 takes half the memory of fp32",
        parts=(
            Part(
                what="less by",
                measure=_cost("as loaded, float32", "as loaded, bfloat16", of="held_bytes", over="held_bytes"),
                bounds=ABOUT_TWICE,
            ),
        ),
        tests=f"{CLAIMS} -k loading",
    ),
    Claim(
        words="FlashAttention makes attention 2-4x faster",
        parts=(
            *(
                Part(what=f"{n} tokens", measure=_turns(name, "sdpa flash", "eager"), bounds=FLASH)
                for n, name in zip((128, 512, 2048), _ATTENTION, strict=True)
            ),
            Part(what="the whole model on MMLU", measure=_case("test_attention[sdpa]")),
        ),
        tests=f"{OPTIMISATIONS} {CLAIMS} -k attention",
        reasons={
            "cpu": "short rows fit into the CPU's caches, where the scores that a flash kernel never writes cost little"
        },
    ),
    Claim(
        words="torch.compile gains 10-30 % after warm-up",
        parts=(
            Part(what="MMLU", measure=_case("test_compile[on]"), bounds=COMPILED),
            Part(what="warm-up", measure=_warm_up("test_compile[on]")),
        ),
        tests=f"{OPTIMISATIONS} -k compile",
    ),
    Claim(
        words="loading takes little CPU memory (`low_cpu_mem_usage`)",
        parts=(
            Part(
                what="peak over the weights",
                measure=_cost("as loaded, bfloat16", "as loaded, bfloat16", of="peak_host_bytes", over="held_bytes"),
                bounds=Bounds(at_most=1.1),
            ),
            Part(
                what="without it",
                measure=_cost("built first, bfloat16", "as loaded, bfloat16", of="peak_host_bytes", over="held_bytes"),
            ),
        ),
        tests=f"{CLAIMS} -k loading",
    ),
    Claim(
        words="loading is 2x faster with it",
        parts=(
            Part(
                what="",
                measure=_turns("test_loading", "as loaded, bfloat16", "built first, bfloat16"),
                bounds=Bounds(at_least=2),
            ),
        ),
        tests=f"{CLAIMS} -k loading",
        reasons={
            "h200": "3.4 GB of weights that the system's cache holds take 0.58 to 0.65 s to the GPU, and 0.74 to 0.98 "
            "s if a whole model is built first and a whole state dict copied over: what is saved is that copy within "
            "host memory, less than half of the time in every round"
        },
    ),
    Claim(
        words="the four choices of a question in one forward are 3-4x faster",
        parts=tuple(
            Part(what=task.upper(), measure=_case(f"test_{task}[per_question]"), bounds=FOUR_CHOICES)
            for task in ("mmlu", "vmlu", "vnhsge")
        ),
        tests="benchmarks/test_mmlu.py benchmarks/test_vmlu.py benchmarks/test_vnhsge.py -k per_question",
        reasons={"cpu": "the same tokens are computed either way: what is saved is the fixed cost of three forwards"},
    ),
    Claim(
        words="batched ViQuAD is 2-8x faster at batch 8, and at 16-32",
        parts=_batches("viquad", (8, 16, 32)),
        tests=f"{CLAIMS} -k batched_generation",
    ),
    Claim(
        words="batched VietNews is 2-8x faster at batch 4, and at 8-16",
        parts=_batches("vietnews", (4, 8, 16)),
        tests=f"{CLAIMS} -k batched_generation",
        reasons={
            "h200": "batches of 8 and of 16 keep it; at batch 4 three rounds are too uneven to say. They took 10.1, "
            "8.2 and 4.1 s, and one article alone, another one each time, 9.6, 4.9 and 7.1 s: faster in each of them, "
            "by 2.4x at least, but an interval over three such rounds reaches below 2x"
        },
    ),
    Claim(
        words="the KV cache gains 20-50 %",
        parts=tuple(
            Part(
                what=f"batch {rows}",
                measure=_turns(f"test_kv_cache_at_batch[{rows}]", "with", "without"),
                bounds=CACHED,
            )
            for rows in (1, 8)
        ),
        tests=f"{CLAIMS} -k kv_cache",
        reasons={
            "h200": "alone, a whole row of 346 to 410 tokens takes a forward 44 ms, and one token beside its cache 51 "
            "to 55 ms: both wait for one launch of kernels after the other, and a cache launches more of them; at "
            "batch 8 it is 90 ms against 43 to 62 ms, and a first round of twice as much",
            "cpu": "a row of a hundred tokens is recomputed almost as fast as it is looked up",
        },
    ),
    Claim(
        words="MMLU falls from 2-3 h to 30-45 min",
        parts=(
            Part(
                what="one forward a choice",
                measure=_case_minutes("test_mmlu[per_question]", "baseline", MMLU_QUESTIONS),
                bounds=Bounds(at_least=120, at_most=180),
            ),
            Part(
                what="four choices in one forward",
                measure=_case_minutes("test_mmlu[per_question]", "path", MMLU_QUESTIONS),
                bounds=Bounds(at_most=45),
            ),
            Part(
                what="padded",
                measure=_case_minutes("test_mmlu[padded]", "path", MMLU_QUESTIONS),
                bounds=Bounds(at_most=45),
            ),
        ),
        tests="benchmarks/test_mmlu.py",
        not_on=_HOURS,
        reasons={"h200": "the plain way takes no 2 hours there; the guide does not name its GPU"},
    ),
    Claim(
        words="ViQuAD falls from 1-2 h to 15-30 min",
        parts=(
            Part(
                what="one by one",
                measure=_turn_minutes("test_batched_generation[passages]", "one by one", VIQUAD_QUESTIONS),
                bounds=Bounds(at_least=60, at_most=120),
            ),
            *(
                Part(
                    what=f"batch {rows}",
                    measure=_turn_minutes("test_batched_generation[passages]", f"batch {rows}", VIQUAD_QUESTIONS),
                    bounds=Bounds(at_most=30),
                )
                for rows in (8, 32)
            ),
        ),
        tests=f"{CLAIMS} -k batched_generation",
        not_on=_HOURS,
        reasons={
            "h200": "64 tokens are generated for each of 3,814 questions, since random weights do not stop sooner, one "
            "launch of kernels after the other: the plain way takes longer than the guide says, the batched way less"
        },
    ),
    Claim(
        words="a 4B model runs in 16 GB",
        parts=(
            Part(what="weights", measure=_gigabytes("test_memory[qwen3-4b]", "weights_bytes")),
            Part(
                what="peak",
                measure=_gigabytes("test_memory[qwen3-4b]", "peak_bytes"),
                bounds=Bounds(at_most=16),
            ),
        ),
        tests=f"{CLAIMS} -k memory",
        not_on={"cpu": "8.04 GB of weights by arithmetic; what it takes at work is measured on a GPU"},
    ),
    Claim(
        words="a 32B model runs in 40 GB",
        parts=(
            Part(
                what="weights in bf16",
                measure=_gigabytes("test_memory[qwen3-32b]", "weights_bytes"),
                bounds=Bounds(at_most=40),
            ),
        ),
        tests=f"{CLAIMS} -k memory",
        reasons=dict.fromkeys(
            ("h200", "cpu"),
            "32.8 billion parameters of two bytes are 65.5 GB before the first token; it takes an 80 GB GPU",
        ),
    ),
)
