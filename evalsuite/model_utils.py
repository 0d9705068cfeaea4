"""Loading for users of the older evaluation app: its function, its switches, the loader of this project.

`_INFERENCE_CONFIG` holds what a call leaves open. Edit it in place; the next `load_qwen_model` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import DTYPES, NANO_MODEL, SHAPE_PREFIX, InferenceConfig
from evalsuite.errors import ConfigError

if TYPE_CHECKING:
    from evalsuite.loading import LoadReport

_INFERENCE_CONFIG: dict[str, Any] = {
    "dtype": "bfloat16",
    "use_flash_attention_2": None,
    "torch_compile": False,
    "low_cpu_mem_usage": True,
}
"""dtype: a name or a torch.dtype. use_flash_attention_2: True, False (sdpa), or None for the best attention that this
machine can run. low_cpu_mem_usage: kept for older configurations; transformers 5 always loads so."""

_DEFAULTS: Mapping[str, Any] = dict(_INFERENCE_CONFIG)
"""Stand in for keys that were deleted from `_INFERENCE_CONFIG`."""
_SWITCHES = ("torch_compile", "low_cpu_mem_usage")
_DTYPE_NAMES: Mapping[str, str] = {
    **{name: name for name in DTYPES},
    **{"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"},
}
_QWEN_ORGANISATION = "Qwen"


def load_qwen_model(
    name: str,
    checkpoint_path: str | os.PathLike[str] | None = None,
    dtype: Any = None,
    use_flash_attention_2: bool | None = None,
    torch_compile: bool | None = None,
    *,
    device: str = "auto",
) -> tuple[Any, Any, str]:
    """Load a causal language model and its tokenizer; not only Qwen's.

    Args:
        name: a hub name, a directory, `nano`, `shape:qwen3-4b`, or the short name of a Qwen model such as `Qwen3-4B`
            (a directory of that name comes first).
        checkpoint_path: a directory whose weights replace the model's.
        dtype: `bf16`, `bfloat16`, `torch.bfloat16`, `float16`, ..., or a torch.dtype.
        use_flash_attention_2: where it cannot be had, the next best attention runs and the reason is logged once.
        torch_compile: run the forward through torch.compile.
        device: `auto` (cuda, then mps, then cpu), or a torch device such as `cuda:1`.

    dtype, use_flash_attention_2 and torch_compile take `_INFERENCE_CONFIG`'s value for None.

    Returns:
        (model, tokenizer, path): the model on its device and in eval mode, and where its weights came from.
        `load_report(model)` says what was really enabled.

    Raises:
        ConfigError: a value that cannot be meant, here or in `_INFERENCE_CONFIG`.
        ModelLoadError: as `evalsuite.loading.load`.
    """
    given = {"dtype": dtype, "use_flash_attention_2": use_flash_attention_2, "torch_compile": torch_compile}
    config = _inference_config(given).replace(
        model=full_name(name),
        checkpoint=None if checkpoint_path is None else os.fspath(checkpoint_path),
        device=device,
    )
    from evalsuite.loading import load, remember

    loaded = load(config)
    remember(loaded)
    return loaded.model, loaded.tokenizer, loaded.path


def load_report(model: Any) -> LoadReport:
    """What was asked of the loader, what was got, and why they differ.

    Raises:
        ModelLoadError: a model that neither `load_qwen_model` nor any function of this interface has seen.
    """
    from evalsuite.loading import known_report

    return known_report(model)


def full_name(name: str | os.PathLike[str]) -> str:
    """`Qwen3-4B` to `Qwen/Qwen3-4B`; directories, full names, `nano` and `shape:...` as they are."""
    name = os.fspath(name)
    if name == NANO_MODEL or name.startswith(SHAPE_PREFIX) or Path(name).expanduser().exists():
        return name
    short = name.lower().startswith(_QWEN_ORGANISATION.lower()) and not {"/", "\\"} & set(name)
    return f"{_QWEN_ORGANISATION}/{name}" if short else name


def _inference_config(given: Mapping[str, Any]) -> InferenceConfig:
    """`given`, and `_INFERENCE_CONFIG` for what is None."""
    if unknown := _INFERENCE_CONFIG.keys() - {"dtype", "use_flash_attention_2", *_SWITCHES}:
        raise ConfigError(
            f"_INFERENCE_CONFIG: no such key: {', '.join(sorted(map(repr, unknown)))}. "
            f"It has dtype, use_flash_attention_2, {', '.join(_SWITCHES)}"
        )
    wanted = {**_DEFAULTS, **_INFERENCE_CONFIG, **{key: value for key, value in given.items() if value is not None}}
    for key in _SWITCHES:
        _check_switch(key, wanted[key], (True, False))
    flash = wanted["use_flash_attention_2"]
    _check_switch("use_flash_attention_2", flash, (True, False, None))
    return InferenceConfig(
        dtype=_dtype_name(wanted["dtype"]),
        attention="auto" if flash is None else "flash_attention_2" if flash else "sdpa",
        torch_compile=wanted["torch_compile"],
        low_cpu_mem_usage=wanted["low_cpu_mem_usage"],
    )


def _check_switch(key: str, value: Any, allowed: tuple[bool | None, ...]) -> None:
    if not any(value is choice for choice in allowed):
        raise ConfigError(f"{key}: expected {', '.join(map(str, allowed))}; got {value!r}")


def _dtype_name(dtype: Any) -> str:
    """A name that `InferenceConfig` takes; a torch.dtype prints as `torch.NAME`."""
    name = str(dtype).lower().removeprefix("torch.")
    if name not in _DTYPE_NAMES:
        raise ConfigError(f"dtype: expected one of {', '.join(_DTYPE_NAMES)}, or a torch.dtype of these; got {dtype!r}")
    return _DTYPE_NAMES[name]
