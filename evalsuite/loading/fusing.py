"""Decoder layers compiled one by one, for packs of one fixed shape or for batches of any size.

Norms, rotary embedding, activation and residual sums take as long as attention when each is a kernel of its own. The
layers of a model run the same code, so what is compiled for the first serves all (two kinds of layers, two graphs):
seconds, where a whole model takes minutes. What was compiled stays in torch's cache on disk for the next run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from evalsuite.loading.artefacts import keep_artefacts

_COMPILED: WeakKeyDictionary[Any, dict[tuple[bool, bool], tuple[list[Any], list[Any]]]] = WeakKeyDictionary()
"""A model's layers and their compiled forwards, by `fused_layers`'s settings, for as long as there is the model: other
wrappers would compile again. They hold its layers and not itself, and it stays as its owner knows it, so that it can be
copied and pickled."""
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
    layers, compiled = _compiled_layers(model, dynamic, fullgraph)
    before = [vars(layer).get("forward") for layer in layers]
    for layer, forward in zip(layers, compiled, strict=True):
        layer.forward = forward
    try:
        with quiet_compilation(), torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT):
            yield
    finally:
        for layer, forward in zip(layers, before, strict=True):
            vars(layer).pop("forward")
            if forward is not None:
                layer.forward = forward


@contextmanager
def quiet_compilation() -> Iterator[None]:
    """Within, the compiler's advice is no error where warnings are, and sizes that happen to be equal stay apart: a
    batch of as many tokens as a head has dimensions would be compiled for once more."""
    with warnings.catch_warnings(), torch.fx.experimental._config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", module=r"torch\._(inductor|dynamo)")
        yield


def _compiled_layers(model: Any, dynamic: bool, fullgraph: bool) -> tuple[list[Any], list[Any]]:
    layers = decoder_layers(model)
    known = _COMPILED.setdefault(model, {}).get((dynamic, fullgraph))
    if known is None or len(known[0]) != len(layers) or any(a is not b for a, b in zip(known[0], layers, strict=True)):
        keep_artefacts()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own parts, as its compiler is imported
            compiled = [torch.compile(layer.forward, dynamic=dynamic, fullgraph=fullgraph) for layer in layers]
        _COMPILED[model][dynamic, fullgraph] = known = (layers, compiled)
    return known
