"""How a stock transformers model comes to use tree attention: as one more name in its attention interface.

A model asks for its attention by name at each layer and hands over queries, keys, values, and what is special about
the layer (scale, soft cap, sliding window). So a tree needs no mask, windows go by position in the branch, and a
layer that brings something this attention does not know is refused rather than computed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from transformers import AttentionInterface

from evalsuite.apart import keeps_a_state
from evalsuite.errors import EvalsuiteError
from evalsuite.planning.packs import Pack

NAME = "evalsuite_tree"
_ENDS_HERE = "evalsuite_keys_and_values"
KNOWN_LAYERS = frozenset({"full_attention", "sliding_attention"})
_HARMLESS = frozenset({"position_ids", "cache_position", "position_embeddings", "is_causal", "dropout"})
"""Arguments of layers that say nothing about which keys a query sees or how they are weighed."""


class NoTreeAttention(EvalsuiteError):
    """This model cannot run on a packed prefix tree. The message says why."""


Kept = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer that an earlier pack handed on: each [kv heads, carried, dim], contiguous."""


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """How a layer makes scores of queries and keys, and which keys a query sees."""

    scale: float
    """Factor of the scores."""
    softcap: float | None = None
    """Scores become softcap * tanh(scores / softcap)."""
    window: int | None = None
    """A query sees the keys less than this many positions before it, itself included."""


class Attend(Protocol):
    """Attention over one pack."""

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kept: Kept | None,
        rule: ScoreRule,
    ) -> torch.Tensor:
        """query [heads, tokens, dim], key and value [kv heads, tokens, dim], views in any layout; [tokens, heads, dim].

        Args:
            kept: what stands before the pack's first token; None where nothing does.
        """
        ...


@dataclass(slots=True)
class TreePass:
    """One forward over one pack."""

    attend: Attend
    kept: Sequence[Kept]
    """What the pack before handed on, layer by layer; empty where it handed on nothing."""
    carry: torch.Tensor
    """[carried on], int64 on the device: `Pack.carry`, less what was carried in already."""
    carried_again: int
    """How many of the tokens carried in are carried on. They are the first, and stand before those of `carry`."""
    handed_on: list[Kept] = field(default_factory=list)
    """The same for the next pack."""
    layers: int = 0
    windows: int = 0

    def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        kept = self.kept[self.layers] if self.kept else None
        self.layers += 1
        self.windows += rule.window is not None
        if len(self.carry) or self.carried_again:
            keys, values = key[:, self.carry], value[:, self.carry]
            if kept is not None:
                keys = torch.cat([kept[0][:, : self.carried_again], keys], 1)
                values = torch.cat([kept[1][:, : self.carried_again], values], 1)
            self.handed_on.append((keys.contiguous(), values.contiguous()))
        return self.attend(query, key, value, kept, rule)


class LayerAttention(Protocol):
    """What stands in for a layer's attention."""

    def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """query [heads, tokens, dim], key and value [kv heads, tokens, dim] to [tokens, heads, dim]."""
        ...


class Pass(LayerAttention, Protocol):
    """One forward of a model: it is called for each layer's attention, in their order."""

    layers: int
    """How many layers have attended."""
    windows: int
    """How many of them had a sliding window."""


@dataclass(frozen=True, slots=True)
class RowsOfLayer:
    """Attention of one layer that was computed for some of a forward's tokens alone: they ask, and all are asked.

    What `run` keeps of keys and values, and how it attends, is as if all had asked.
    """

    run: LayerAttention
    rows: torch.Tensor
    """[rows], int64 on the device: which of the tokens, in any order, some perhaps several times."""
    key: torch.Tensor
    """[kv heads, tokens, dim]: of all tokens."""
    value: torch.Tensor

    def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """query [heads, rows, dim] to [rows, heads, dim]. `key` and `value` are of the rows, and among all tokens'."""
        heads, _, dim = query.shape
        queries = query.new_zeros(heads, self.key.shape[1], dim).index_copy_(1, self.rows, query)
        return self.run.run_layer(queries, self.key, self.value, rule)[self.rows]


_current: ContextVar[LayerAttention | None] = ContextVar("pass", default=None)
"""Of this thread: engines on other models may run in others."""


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
    if keeps_a_state(model):
        return f"{name} keeps a state beside keys and values"
    return None


def attention_configs(model: Any) -> list[Any]:
    """The configurations that a model's modules read the name of their attention from."""
    return list({id(module.config): module.config for module in model.modules() if hasattr(module, "config")}.values())


@contextmanager
def tree_pass(
    model: Any, configs: Sequence[Any], pack: Pack, attend: Attend, kept: Sequence[Kept] = ()
) -> Iterator[TreePass]:
    """`attention_from` for one forward on `pack`; `handed_on` then holds what the next pack is handed."""
    again = int((pack.carry < 0).sum())
    carry = torch.from_numpy(pack.carry[again:]).to(model.device, torch.int64)
    run = TreePass(attend=attend, kept=kept, carry=carry, carried_again=again)
    with attention_from(model, configs, run):
        yield run


@contextmanager
def attention_from(model: Any, configs: Sequence[Any], run: Pass) -> Iterator[None]:
    """Within, one forward of the model takes its attention from `run`. Outside of it the model is as it was.

    Args:
        configs: `attention_configs(model)`.

    Raises:
        NoTreeAttention: not every layer of the model attended, or one whose window should slide did not say so.
    """
    config = model.config.get_text_config()
    token = _current.set(run)
    try:
        with _named(configs, NAME):
            yield
    finally:
        _current.reset(token)
    if run.layers != config.num_hidden_layers:
        raise NoTreeAttention(f"{run.layers} of {config.num_hidden_layers} layers took their attention from here")
    sliding = list(getattr(config, "layer_types", None) or ()).count("sliding_attention")
    if run.windows < sliding:
        raise NoTreeAttention(f"{sliding} layers have a sliding window and only {run.windows} handed it over")


@contextmanager
def _named(configs: Sequence[Any], name: str) -> Iterator[None]:
    """Within, the model asks for the attention of this name."""
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = name
        yield
    finally:
        for config, name_before in zip(configs, before, strict=True):
            config._attn_implementation = name_before


def attend_by(attention: LayerAttention) -> None:
    """Within `attention_from`, and until its end at most: layers take their attention from here from now on."""
    _current.set(attention)


def forward_ends_at_attention(configs: Sequence[Any]) -> AbstractContextManager[None]:
    """Within, `keys_and_values` may be called on the layers of a model, and no layer attends.

    Args:
        configs: `attention_configs(model)`.
    """
    return _named(configs, _ENDS_HERE)


def keys_and_values(
    forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Within `forward_ends_at_attention`, what a layer's forward attends over, [1, kv heads, tokens, dim] each; None
    where it does not attend.

    The forward is left where it asks for its attention. When this is compiled, nothing that keys and values do not
    need is computed, not even the queries.
    """
    try:
        forward(*args, **kwargs)
    except _AttentionReachedError as reached:
        key, value = reached.args
        return key, value
    return None


class _AttentionReachedError(Exception):
    """With a layer's keys and values."""


def _end_forward(
    _: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    raise _AttentionReachedError(key, value)


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
    run = _current.get()
    if run is None:
        raise NoTreeAttention("a forward outside a pack")
    return run.run_layer(query[0], key[0], value[0], ScoreRule(scale, softcap or None, window or None))[None]


# One opaque call in a compiled graph: which pack it is for is not the graph's business, so one graph serves all packs.
_attend_op = torch.library.custom_op("evalsuite::tree_attention", _attend, mutates_args=())


@_attend_op.register_fake
def _(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, softcap: float, window: int
) -> torch.Tensor:
    rows, heads, tokens, _ = query.shape
    return query.new_empty(rows, tokens, heads, value.shape[-1])


AttentionInterface.register(NAME, attention_forward)
AttentionInterface.register(_ENDS_HERE, _end_forward)
