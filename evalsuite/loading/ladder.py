"""The ladder: from what a configuration asks to what this machine can run, one recorded step at a time."""

from __future__ import annotations

from collections.abc import Iterator

from evalsuite import capability
from evalsuite.config import ATTENTIONS, InferenceConfig
from evalsuite.loading.report import StepsDown

RUNGS = tuple(name for name in ATTENTIONS if name != "auto")
"""Best first: flash_attention_3, flash_attention_2, flex_attention, sdpa, eager."""

FLEX_IS_NOT_AUTOMATIC = (
    "with padded batches flex_attention compiles a kernel and a mask for every new batch shape, "
    "so sdpa is the faster of the two; ask for it by name to use it"
)


def resolve_device(config: InferenceConfig, steps: StepsDown) -> str:
    """A torch device string that exists here: `cuda:0`, `mps`, `cpu`. ConfigError for a string that is no device."""
    if config.device == "auto":
        return _with_index(capability.best_device())
    reason = capability.device_reason(config.device)
    if reason is None:
        return _with_index(config.device)
    device = capability.best_device()
    steps.take("device", asked=config.device, got=device, reason=reason)
    return _with_index(device)


def resolve_dtype(config: InferenceConfig, device: str, steps: StepsDown) -> str:
    """The dtype asked for, or float32 where `device` does not compute in it natively."""
    reason = capability.dtype_reason(config.dtype, device)
    if reason is None:
        return config.dtype
    steps.take("dtype", asked=config.dtype, got="float32", reason=reason)
    return "float32"


def attention_rungs(asked: str, device: str, dtype: str, *, head_dim: int) -> Iterator[tuple[str, str | None]]:
    """From the rung asked for downwards: (name, None) where the machine can run it, else (name, the reason).

    `auto` starts at the top. flex_attention is passed over unless it was asked for by name: every strategy that pads
    hands it a new mask for each batch, and transformers then compiles for each new shape, which costs more than it
    saves.
    """
    start = 0 if asked == "auto" else RUNGS.index(asked)
    for name in RUNGS[start:]:
        reason = capability.attention_reason(name, device, dtype, head_dim=head_dim)
        if reason is None and name == "flex_attention" and asked != name:
            reason = FLEX_IS_NOT_AUTOMATIC
        yield name, reason


def _with_index(device: str) -> str:
    """`cuda` names no device until an index is chosen; reports should say which."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{torch.cuda.current_device()}"
