"""How a model is loaded and how requests are executed: two frozen configurations and their validation."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from evalsuite.errors import ConfigError

DTYPES = ("bfloat16", "float16", "float32")
ATTENTIONS = ("auto", "flash_attention_3", "flash_attention_2", "flex_attention", "sdpa", "eager")
"""`auto` takes the first of the rest that the machine can really run."""

SCORING_STRATEGIES = ("unbatched", "per_question", "padded", "packed")
GENERATION_STRATEGIES = ("unbatched", "padded")
REFERENCE_STRATEGY = "unbatched"

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
    """How a strategy cuts requests into batches."""

    batch_size: int | None = None
    """Most rows in one forward; None leaves it to `token_budget` alone."""
    token_budget: int = 16_384
    """Most tokens, padding included, in one forward (for generation: prompts plus tokens to come)."""
    kv_cache: bool = True
    """Off recomputes the whole sequence for each new token."""
    deterministic: bool = False
    """A request's numbers are bitwise the same whatever it is answered beside. A strategy that cannot promise that is
    an error, and so is a step down that would break it."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {self.batch_size}")
        if self.token_budget < 1:
            raise ConfigError(f"token_budget: expected at least 1, got {self.token_budget}")


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{field}: expected one of {', '.join(allowed)}; got {value!r}")
