"""Decoder layers compiled one by one, for packs of one fixed shape or for batches of any size.

Norms, rotary embedding, activation and residual sums take as long as attention when each is a kernel of its own. The
layers of a model run the same code, so what is compiled for the first serves all (two kinds of layers, two graphs):
seconds, where a whole model takes minutes. What was compiled stays in torch's cache on disk for the next run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch

from evalsuite.loading.artefacts import keep_artefacts
from evalsuite.loading.compiler import compiled


@dataclass(frozen=True, kw_only=True, slots=True)
class _Compiled:
    """A model's layers, and what of them was compiled."""

    layers: list[Any]
    plain: list[Callable[..., Any]]
    """Their forwards as they are."""
    forwards: list[Callable[..., Any]]
    """The same, compiled, but as they are while `run_as_it_is` says so."""
    dynamic: bool
    fullgraph: bool
    parts: dict[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict)
    """Functions of a forward, and themselves compiled."""

    def part(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if function not in self.parts:
            self.parts[function] = compiled(function, dynamic=self.dynamic, fullgraph=self.fullgraph)
        return self.parts[function]


_COMPILED: WeakKeyDictionary[Any, dict[tuple[bool, bool], _Compiled]] = WeakKeyDictionary()
"""By `fused_layers`'s settings, for as long as there is the model: other wrappers would compile again. They hold its
layers and not itself, and it stays as its owner knows it, so that it can be copied and pickled."""
_RUNNING: ContextVar[_Compiled | None] = ContextVar("running", default=None)
"""In this thread."""
_AS_IT_IS: ContextVar[Any] = ContextVar("as_it_is", default=None)
"""In this thread: the layer that is not to run compiled."""
_FAILED: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Models whose layers did not compile, and why: they are not tried again."""
RECOMPILE_LIMIT = 64
"""Shapes, dtypes and models that one process compiles the same code for; torch's own 8 would be met in one session."""


def decoder_layers(model: Any) -> list[Any]:
    """The modules that a transformers model repeats."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def give_up_fusing(model: Any, reason: str) -> None:
    """Run the layers as they are from now on."""
    _FAILED[model] = reason


def fusing_failure(model: Any) -> str | None:
    """Why the layers are not compiled; None where they are, or have not been tried."""
    return _FAILED.get(model)


@contextmanager
def fused_layers(model: Any, *, dynamic: bool = False, fullgraph: bool = True) -> Iterator[None]:
    """Within, each decoder layer runs compiled, unless that has failed before.

    Args:
        dynamic: compile once for inputs of any length; otherwise other shapes compile anew.
        fullgraph: a layer that cannot be one graph fails; otherwise it is compiled in parts.
    """
    if fusing_failure(model) is not None:
        yield
        return
    ours = _compiled_layers(model, dynamic, fullgraph)
    before = [vars(layer).get("forward") for layer in ours.layers]
    for layer, forward in zip(ours.layers, ours.forwards, strict=True):
        layer.forward = forward
    token = _RUNNING.set(ours)
    try:
        with quiet_compilation(), torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT):
            yield
    finally:
        _RUNNING.reset(token)
        for layer, forward in zip(ours.layers, before, strict=True):
            vars(layer).pop("forward")
            if forward is not None:
                layer.forward = forward


def part_of_layer(function: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    """`function` with the forward of one of the layers as its first argument: compiled, and by the same settings, where
    the layers are."""
    running = _RUNNING.get()
    if running is None:
        return partial(function, layer.forward)
    return partial(running.part(function), running.plain[running.layers.index(layer)])


def run_as_it_is(layer: Any) -> None:
    """From now on, do not run this layer compiled; None for no layer. For inputs of another size that is so small that
    compiling for it would cost more than it saves."""
    _AS_IT_IS.set(layer)


@contextmanager
def advice_is_no_error() -> Iterator[None]:
    """Within, what the compiler warns of does not end a compilation where warnings are errors.

    Leaving it makes Python forget which warnings it has shown once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\._(inductor|dynamo)")
        yield


@contextmanager
def quiet_compilation() -> Iterator[None]:
    """Likewise, and sizes that happen to be equal stay apart: a batch of as many tokens as a head has dimensions would
    be compiled for once more."""
    with advice_is_no_error(), torch.fx.experimental._config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        yield


def _compiled_layers(model: Any, dynamic: bool, fullgraph: bool) -> _Compiled:
    layers = decoder_layers(model)
    known = _COMPILED.setdefault(model, {}).get((dynamic, fullgraph))
    if known is None or known.layers != layers:
        keep_artefacts()
        plain = [layer.forward for layer in layers]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own parts, as its compiler is imported
            forwards = [_compiled_forward(layer, dynamic, fullgraph) for layer in layers]
        known = _Compiled(layers=layers, plain=plain, forwards=forwards, dynamic=dynamic, fullgraph=fullgraph)
        _COMPILED[model][dynamic, fullgraph] = known
    return known


def _compiled_forward(layer: Any, dynamic: bool, fullgraph: bool) -> Callable[..., Any]:
    plain = layer.forward
    in_graphs = compiled(plain, dynamic=dynamic, fullgraph=fullgraph)

    @wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return (plain if _AS_IT_IS.get() is layer else in_graphs)(*args, **kwargs)

    return forward
