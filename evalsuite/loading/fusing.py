"""Decoder layers compiled one by one, for inputs of one fixed shape.

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

_COMPILED: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
"""A model's compiled forwards, for as long as there is the model: other wrappers would compile again. They hold its
layers and not itself, and it stays as its owner knows it, so that it can be copied and pickled."""
RECOMPILE_LIMIT = 64
"""Shapes, dtypes and models that one process compiles the same code for; torch's own 8 would be met in one session."""


def decoder_layers(model: Any) -> list[Any]:
    """The modules that a transformers model repeats."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


@contextmanager
def fused_layers(model: Any) -> Iterator[bool]:
    """Within, each decoder layer runs compiled; whether there was any to compile. Other shapes compile anew."""
    layers = decoder_layers(model)
    if model not in _COMPILED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own parts, as its compiler is imported
            _COMPILED[model] = [torch.compile(layer.forward, dynamic=False, fullgraph=True) for layer in layers]
    for layer, forward in zip(layers, _COMPILED[model], strict=True):
        layer.forward = forward
    try:
        with torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT):
            yield bool(layers)
    finally:
        unfuse(model)


def unfuse(model: Any) -> None:
    """Back to the layers' own forwards."""
    for layer in decoder_layers(model):
        vars(layer).pop("forward", None)
