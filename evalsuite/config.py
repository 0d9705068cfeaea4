"""How a model is loaded and how requests are executed: two frozen configurations and their validation."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from evalsuite.errors import ConfigError

DTYPES = ("bfloat16", "float16", "float32")
ATTENTIONS = ("auto", "flash_attention_3", "flash_attention_2", "flex_attention", "sdpa", "eager")
"""`auto` takes the first of the rest that the machine can really run."""

SCORING_STRATEGIES = ("unbatched", "per_question", "padded", "packed")
GENERATION_STRATEGIES = ("unbatched", "padded", "continuous")
REFERENCE_STRATEGY = "unbatched"
KV_CACHE_DTYPES = ("auto", "int8", "fp8")
QUANTISING_STRATEGIES = ("continuous",)
"""Generation strategies whose cache may be of another dtype than the model."""

NANO_MODEL = "nano"
SHAPE_PREFIX = "shape:"


@dataclass(frozen=True, kw_only=True, slots=True)
class InferenceConfig:
    """Which model, loaded how. Hashable: the model pool is keyed by it."""

    model: str = NANO_MODEL
    """`nano` (embedded), a hub name, a local directory, or `shape:qwen3-4b` (random weights)."""
    checkpoint: str | None = None
    """Local directory whose weights replace the model's; tokenizer from there if it holds one."""
    dtype: str = "bfloat16"
    attention: str = "auto"
    torch_compile: bool = False
    low_cpu_mem_usage: bool = True
    """Accepted for older configurations; transformers 5 always loads so and ignores the flag."""
    device: str = "auto"
    """`auto` (cuda, then mps, then cpu), or any torch device string."""
    strict_config: bool = False
    """An explicit request that cannot be met is an error instead of a recorded step down."""
    seed: int = 0
    """Seeds the random weights of `shape:` models."""

    def __post_init__(self) -> None:
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("attention", self.attention, ATTENTIONS)
        if not self.model:
            raise ConfigError("model: expected a name or a directory, got an empty string")

    @property
    def accuracy_is_meaningful(self) -> bool:
        """False for random weights: their speed is real, their answers are not."""
        return not self.model.startswith(SHAPE_PREFIX)

    def replace(self, **changes: object) -> InferenceConfig:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def fingerprint(self) -> str:
        """Twelve hex digits that change when any field does."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionOptions:
    """How a strategy cuts requests into batches, and how it chooses tokens."""

    batch_size: int | None = None
    """Most rows in one forward; None leaves it to `token_budget` alone."""
    token_budget: int = 16_384
    """Most tokens, padding included, in one forward (for generation: prompts plus tokens to come)."""
    kv_cache: bool = True
    """Off recomputes the whole sequence for each new token."""
    deterministic: bool = False
    """A request's numbers are bitwise the same whatever it is answered beside. A strategy that cannot promise that is
    an error, and so is a step down that would break it."""
    ignore_eos: bool = False
    """Go on past the end of sequence, as serving engines do under this name: every answer has `max_new_tokens` tokens,
    unless a stop string ends it."""
    temperature: float = 0.0
    """0 takes the likeliest token. Above it tokens are drawn, from logits divided by it, after `top_k` and `top_p`."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together reach this share; of no effect at temperature 0."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens; None for all. Of no effect at temperature 0."""
    sampling_seed: int = 0
    """With a request's id, all that its draws depend on."""
    memory_fraction: float = 0.9
    """Of a GPU's memory, what weights, activations and the keys and values of `continuous` may take together."""
    kv_cache_dtype: str = "auto"
    """Of the keys and values that `continuous` keeps: `auto` (the model's), `int8` or `fp8`, each with scales."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {self.batch_size}")
        if self.token_budget < 1:
            raise ConfigError(f"token_budget: expected at least 1, got {self.token_budget}")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature: expected a number of at least 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: expected a share above 0, at most 1, got {self.top_p}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k: expected at least 1, got {self.top_k}")
        if not 0 < self.memory_fraction <= 1:
            raise ConfigError(f"memory_fraction: expected a share above 0, at most 1, got {self.memory_fraction}")
        _one_of("kv_cache_dtype", self.kv_cache_dtype, KV_CACHE_DTYPES)

    def greedy(self) -> ExecutionOptions:
        """The same batches, but the likeliest tokens, ended by the model, and a cache in its dtype: for a judge."""
        default = ExecutionOptions()
        return dataclasses.replace(
            self,
            ignore_eos=default.ignore_eos,
            temperature=default.temperature,
            top_p=default.top_p,
            top_k=default.top_k,
            sampling_seed=default.sampling_seed,
            kv_cache_dtype=default.kv_cache_dtype,
        )


def why_not_cached_as(dtype: str, strategy: str) -> str | None:
    """Why a generation strategy cannot keep its keys and values in a dtype of `KV_CACHE_DTYPES`; None if it can."""
    if dtype == "auto" or strategy in QUANTISING_STRATEGIES:
        return None
    return f"{strategy} keeps keys and values in the model's dtype; only {', '.join(QUANTISING_STRATEGIES)} can"


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{field}: expected one of {', '.join(allowed)}; got {value!r}")
