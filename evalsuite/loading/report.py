"""What came of loading: the model with its tokenizer, and the report of what was really enabled."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.types import Fallback

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("evalsuite")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadReport:
    """Asked, got, and why they differ. `asked` and `got` have the same keys."""

    asked: Mapping[str, str]
    """device, dtype, attention, torch_compile, low_cpu_mem_usage: as the configuration says."""
    got: Mapping[str, str]
    """The same keys: what runs."""
    fallbacks: tuple[Fallback, ...]
    """Every step down, in the order taken, those within `auto` included."""
    notes: tuple[str, ...] = ()
    """Facts that are no step down: an ignored flag, a padding token that stands in for an absent one."""
    load_seconds: float
    """0 for a model that the caller loaded, and so is the peak."""
    peak_memory_bytes: int
    """CUDA: the most that torch had allocated on the device while loading. Else: the process's peak resident size."""
    parameters: int
    """Distinct parameters; tied ones count once."""
    model_fingerprint: str
    """Twelve hex digits over architecture, weights and tokenizer: see `evalsuite.loading.fingerprint`. Empty for
    a model that the caller loaded, whose files are not known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, ready for JSON."""
        record = dataclasses.asdict(self)
        record["fallbacks"] = [dataclasses.asdict(fallback) for fallback in self.fallbacks]
        record["notes"] = list(self.notes)
        record["asked"], record["got"] = dict(self.asked), dict(self.got)
        return record


@dataclass(kw_only=True, slots=True, weakref_slot=True, eq=False)
class LoadedModel:
    """A causal LM ready to run: on its device, in eval mode, no gradients. Only `drop_compile` changes it."""

    model: Any
    """A transformers model for causal language modelling."""
    tokenizer: Any
    """A fast tokenizer; its padding side is whatever its files say, so never rely on it."""
    path: str
    """The directory that the weights came from; the model's name for `shape:` models."""
    config: InferenceConfig
    report: LoadReport
    eos_token_ids: tuple[int, ...]
    """Every id that ends a text: those of the generation config, else the tokenizer's."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = next(self.model.parameters()).device
        return device


@dataclass(kw_only=True, slots=True)
class StepsDown:
    """Collects the steps down of one load, and refuses them where the configuration is strict."""

    strict: bool
    quiet: bool = False
    """For a question that loads nothing: collect, do not log."""
    taken: list[Fallback] = field(default_factory=list)

    def take(self, what: str, *, asked: str, got: str, reason: str, explicit: bool = True) -> None:
        """Record one step, and log it once a process. `explicit`: the user named `asked`, rather than `auto`.

        Raises:
            ConfigError: the request was explicit and the configuration is strict.
        """
        if explicit and self.strict:
            instead = "Leave out --compile" if what == "torch_compile" else f"Ask for --{what} {got}"
            raise ConfigError(f"{what}: {asked} cannot be had: {reason}. {instead}, or leave out --strict-config")
        self.taken.append(Fallback(what=what, asked=asked, got=got, reason=reason))
        if not self.quiet:
            log_once(logging.WARNING if explicit else logging.INFO, f"{what}: {asked} -> {got}: {reason}")


@cache
def log_once(level: int, message: str) -> None:
    """Log to `evalsuite`, the first time that this process has this message."""
    logger.log(level, message)
