"""`torch.compile` of a model's forward, and its undoing."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

from evalsuite import capability
from evalsuite.config import InferenceConfig
from evalsuite.loading.compiler import compiled
from evalsuite.loading.fusing import advice_is_no_error, decoder_layers, fused_layers
from evalsuite.loading.report import LoadedModel, StepsDown


def compile_forward(model: Any, config: InferenceConfig, device: str, steps: StepsDown) -> bool:
    """Replace `model.forward` by its compiled self, if asked and possible; True if it was.

    The forward is wrapped, not the module, so that hooks on the module stay outside the graph. Shapes are dynamic,
    since batches differ in rows and tokens. Nothing is compiled yet: the first call is, and may fail (`drop_compile`).

    Without a cache, the decoder layers are compiled and not what is around them: they run the same code, so one graph
    serves all of them, where a graph of the whole model holds each of them anew. With a cache, a layer's number is in
    what it does, and each would need a graph of its own; there, and for a model that does not name its layers, the
    whole forward is compiled.
    """
    if not config.torch_compile:
        return False
    reason = capability.compile_reason(device)
    if reason is not None:
        steps.take("torch_compile", asked="on", got="off", reason=reason)
        return False
    plain = model.forward
    try:
        with warnings.catch_warnings():
            # Importing its own compiler makes torch warn of its own deprecated parts.
            warnings.simplefilter("ignore", DeprecationWarning)
            whole = compiled(plain, dynamic=True)
    except Exception as error:  # no backend, an unsupported Python: torch raises many kinds
        steps.take("torch_compile", asked="on", got="off", reason=f"{type(error).__name__}: {error}")
        return False
    model.forward = _by_layers_without_cache(model, plain, whole)
    return True


def _by_layers_without_cache(model: Any, plain: Callable[..., Any], whole: Callable[..., Any]) -> Callable[..., Any]:
    layers = decoder_layers(model)

    @wraps(plain)
    def forward(*args: Any, **kwargs: Any) -> Any:
        if not layers or kwargs.get("use_cache") is not False:
            with advice_is_no_error():
                return whole(*args, **kwargs)
        # A layer that no single graph can hold, as experts often are, is compiled in parts.
        with fused_layers(model, dynamic=True, fullgraph=False):
            return plain(*args, **kwargs)

    return forward


def drop_compile(loaded: LoadedModel, reason: str) -> None:
    """Go back to the eager forward after a compiled call failed, and record why in `loaded.report`.

    Raises:
        ConfigError: the configuration is strict.
    """
    if loaded.report.got["torch_compile"] != "on":
        return
    steps = StepsDown(strict=loaded.config.strict_config)
    vars(loaded.model).pop("forward", None)
    steps.take("torch_compile", asked="on", got="off", reason=reason)
    loaded.report = dataclasses.replace(
        loaded.report,
        got={**loaded.report.got, "torch_compile": "off"},
        fallbacks=(*loaded.report.fallbacks, *steps.taken),
    )
