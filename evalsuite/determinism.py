"""Which strategies give a request the same bits whatever it is answered beside, and what that rests on.

`unbatched` and `per_question` run a request by itself, so they do on any machine. `packed` does on CUDA: packs have one
shape, so matrix products run one kernel, in which a row's result does not depend on its place; attention visits a
branch's keys in blocks of its own positions (`attention/fused.py`); as many positions are projected in every pack; and
which variant of a compiled kernel runs does not depend on timing (`loading/compiler.py`).
`continuous` does likewise: its steps have one number of places, and attention merges spans at fixed positions of a row
(`attention/pooled_fused/steps.py`).
Rotary embeddings that depend on the longest sequence of a forward are refused beyond the length up to which they do not
(`apart`).
It holds for one GPU model, one torch and Triton release and one token budget. `evalsuite selftest` tries it out.
"""

from __future__ import annotations

from typing import Any

from evalsuite.errors import EvalsuiteError

ALONE = frozenset({"unbatched", "per_question"})
BY_FIXED_SHAPES = frozenset({"packed", "continuous"})


class NotDeterministic(EvalsuiteError):
    """Numbers that do not depend on the batch were asked for and cannot be had. The message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"deterministic: expected numbers that do not depend on the batch, but {reason}")


def why_not(strategy: str, device: str) -> str | None:
    """Why a strategy on a device ("cuda:0", "cpu") cannot promise that; None if it can."""
    kind = device.partition(":")[0]
    if strategy in ALONE or (strategy in BY_FIXED_SHAPES and kind == "cuda"):
        return None
    if strategy in BY_FIXED_SHAPES:
        return f"kernels of {kind} round by the shape of their input"
    return f"{strategy} computes a request in a batch whose shape depends on the others"


def has_experts(config: Any) -> bool:
    """Whether a transformers configuration is of a mixture of experts: how many tokens come to an expert, and so the
    shape of its matrix products, depends on what else is in the batch."""
    text = config.get_text_config()
    names = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts")
    return any((getattr(text, name, None) or 0) > 1 for name in names)
