"""`torch.compile` of a model's forward, and its undoing."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import torch

from evalsuite import capability
from evalsuite.config import InferenceConfig
from evalsuite.loading.report import LoadedModel, StepsDown


def compile_forward(model: Any, config: InferenceConfig, device: str, steps: StepsDown) -> bool:
    """Replace `model.forward` by its compiled self, if asked and possible; True if it was.

    The forward is wrapped, not the module, so that hooks on the module stay outside the graph. `dynamic=True`, since
    batches differ in rows and tokens. Nothing is compiled yet: the first call is, and may fail (`drop_compile`).
    """
    if not config.torch_compile:
        return False
    reason = capability.compile_reason(device)
    if reason is not None:
        steps.take("torch_compile", asked="on", got="off", reason=reason)
        return False
    try:
        with warnings.catch_warnings():
            # Importing its own compiler makes torch warn of its own deprecated parts.
            warnings.simplefilter("ignore", DeprecationWarning)
            compiled = torch.compile(model.forward, dynamic=True)
    except Exception as error:  # no backend, an unsupported Python: torch raises many kinds
        steps.take("torch_compile", asked="on", got="off", reason=f"{type(error).__name__}: {error}")
        return False
    model.forward = compiled
    return True


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
