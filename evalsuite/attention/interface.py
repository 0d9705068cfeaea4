"""How a stock transformers model comes to use tree attention: as one more name in its attention interface.

A model asks for its attention by name at each layer and hands over queries, keys, values, and what is special about
the layer (scale, soft cap, sliding window). So a tree needs no mask, windows go by position in the branch, and a
layer that brings something this attention does not know is refused rather than computed without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from evalsuite.errors import EvalsuiteError

NAME = "evalsuite_tree"
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
_HARMLESS = frozenset({"position_ids", "cache_position", "position_embeddings", "is_causal", "dropout"})
"""Arguments of layers that say nothing about which keys a query sees or how they are weighed."""


class NoTreeAttention(EvalsuiteError):
    """This model cannot run on a packed prefix tree. The message says why."""


class Attend(Protocol):
    """Attention of one layer over one pack."""

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        softcap: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """query [heads, tokens, dim], key and value [kv heads, tokens, dim], views in any layout; [tokens, heads, dim].

        Args:
            scale: factor of the scores.
            softcap: scores become softcap * tanh(scores / softcap).
            window: a query sees the keys less than this many positions before it, itself included.
        """
        ...


@dataclass(slots=True)
class TreePass:
    """One forward over one pack."""

    attend: Attend
    layers: int = 0
    """How many layers have attended."""
    windows: int = 0
    """How many of them had a sliding window."""


_current: TreePass | None = None


def refusal(model: Any) -> str | None:
    """Why this model cannot run on a packed prefix tree, as far as its configuration tells; None if it can."""
    config = model.config.get_text_config()
    name = type(model).__name__
    if not getattr(model, "_supports_attention_backend", False):
        return f"{name} does not take its attention from transformers' attention interface"
    if odd := set(getattr(config, "layer_types", None) or ()) - KNOWN_LAYERS:
        return f"{name} has layers of {', '.join(sorted(odd))}"
    if getattr(config, "attention_chunk_size", None):
        return f"{name} attends in chunks"
    if getattr(config, "use_bidirectional_attention", None):
        return f"{name} attends in both directions"
    return None


@contextmanager
def tree_attention(model: Any) -> Iterator[None]:
    """Within, the model takes its attention from here; each forward must run inside `tree_pass`."""
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation = NAME
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]


@contextmanager
def tree_pass(model: Any, attend: Attend) -> Iterator[None]:
    """Within, one forward attends by `attend`.

    Raises:
        NoTreeAttention: not every layer of the model attended, or one whose window should slide did not say so.
    """
    global _current
    config = model.config.get_text_config()
    run = TreePass(attend=attend)
    _current = run
    try:
        yield
    finally:
        _current = None
    if run.layers != config.num_hidden_layers:
        raise NoTreeAttention(f"{run.layers} of {config.num_hidden_layers} layers took their attention from here")
    sliding = list(getattr(config, "layer_types", None) or ()).count("sliding_attention")
    if run.windows < sliding:
        raise NoTreeAttention(f"{sliding} layers have a sliding window and only {run.windows} handed it over")


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention signature: query [1, heads, tokens, dim] to [1, tokens, heads, dim]."""
    unknown = [name for name, given in kwargs.items() if isinstance(given, torch.Tensor) and name not in _HARMLESS]
    if attention_mask is not None or unknown or not getattr(module, "is_causal", True):
        what = "a mask" if attention_mask is not None else ", ".join(unknown) or "attention in both directions"
        raise NoTreeAttention(f"a layer brings {what}, which tree attention does not know")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if torch.compiler.is_compiling():
        return _attend_op(query, key, value, scale, softcap or 0.0, sliding_window or 0), None
    return _attend(query, key, value, scale, softcap or 0.0, sliding_window or 0), None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, softcap: float, window: int
) -> torch.Tensor:
    if _current is None:
        raise NoTreeAttention("a forward outside a pack")
    _current.layers += 1
    _current.windows += window > 0
    out = _current.attend(query[0], key[0], value[0], scale=scale, softcap=softcap or None, window=window or None)
    return out[None]


# One opaque call in a compiled graph: which pack it is for is not the graph's business, so one graph serves all packs.
_attend_op = torch.library.custom_op("evalsuite::tree_attention", _attend, mutates_args=())


@_attend_op.register_fake
def _(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, softcap: float, window: int
) -> torch.Tensor:
    rows, heads, tokens, _ = query.shape
    return query.new_empty(rows, tokens, heads, value.shape[-1])


AttentionInterface.register(NAME, attention_forward)
