"""What this machine can run, each answer with the reason where it cannot. torch is imported only when asked.

Every `*_reason` function returns None for "can run", else one sentence that says what is missing. The flash
attention answers come from a small forward through the very functions that transformers calls, not from an import.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from evalsuite.errors import ConfigError, first_line

PROBE_HEAD_DIM = 128
"""The head dimension that a probe uses unless told the model's own: some builds hold only 64 and 128."""

FLASH_CAPABILITY = (8, 0)
"""The oldest GPUs that FlashAttention 2 and 3 have kernels for: Ampere. Which of the newer ones, a forward shows."""

_FLASH_MODULES = {"flash_attention_3": "flash_attn_interface", "flash_attention_2": "flash_attn"}
_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "flash-attn", "flash-attn-3", "triton")
_FLASH_REMEDY = {
    "flash_attention_3": "install a FlashAttention-3 build whose distribution is named flash-attn-3",
    "flash_attention_2": "install evalsuite[flash]",
}


def device_reason(device: str) -> str | None:
    """Why `device`, a torch device string such as `cuda:1`, cannot be used; ConfigError if it is no such string."""
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"device: expected auto, cpu, cuda, cuda:N, mps or another torch device, got {device!r}"
        ) from error
    if wanted.type == "cpu":
        return None
    if wanted.type == "cuda":
        return _cuda_reason(wanted.index)
    if wanted.type == "mps":
        return None if torch.backends.mps.is_available() else "torch finds no Metal device"
    if wanted.type == "meta":
        return "the meta device holds no values"
    backend = getattr(torch, wanted.type, None)
    available = getattr(backend, "is_available", None)
    return None if available is not None and available() else f"torch finds no {wanted.type} device"


def best_device() -> str:
    """`cuda`, else `mps`, else `cpu`: the first that torch finds."""
    return next(name for name in ("cuda", "mps", "cpu") if device_reason(name) is None)


def dtype_reason(dtype: str, device: str) -> str | None:
    """Why arithmetic in `dtype` (bfloat16, float16, float32) is not native on `device`."""
    import torch

    kind = torch.device(device).type
    if dtype == "float32":
        return None
    if kind == "cuda" and dtype == "bfloat16":
        with torch.cuda.device(torch.device(device)):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return None if native else f"native bfloat16 {_needs_capability((8, 0), device)}"
    if kind == "cpu":
        return _cpu_dtype_reason(dtype)
    if kind == "mps" and dtype == "bfloat16" and not torch.backends.mps.is_macos_or_newer(14, 0):
        return "bfloat16 on Metal needs macOS 14"
    return None


def attention_reason(name: str, device: str, dtype: str, *, head_dim: int = PROBE_HEAD_DIM) -> str | None:
    """Why attention `name` cannot run on `device` in `dtype` with heads of `head_dim`; None if it can.

    Whether a given architecture accepts it is transformers' to say when the model is built.
    """
    import torch

    kind = torch.device(device).type
    if name in ("auto", "sdpa", "eager"):
        return None
    if name == "flex_attention":
        return _flex_reason(kind)
    if name in _FLASH_MODULES:
        if kind != "cuda":
            return f"{name} runs on CUDA devices, not on {kind}"
        if dtype not in ("bfloat16", "float16"):
            return f"{name} computes in bfloat16 or float16, not in {dtype}"
        return _flash_reason(name, device, dtype, head_dim)
    raise ConfigError(f"attention: unknown implementation {name!r}")


def compile_reason(device: str) -> str | None:
    """Why `torch.compile` cannot build kernels for `device`: no C++ compiler, no triton, or an old GPU."""
    import torch

    kind = torch.device(device).type
    if sys.platform == "win32" and kind == "cpu" and shutil.which("cl") is None:
        return "torch.compile on the CPU needs a C++ compiler, and cl is not on the path"
    if kind == "cpu":
        found = any(shutil.which(name) for name in ("g++", "clang++", "c++", "cl", "icpx"))
        return None if found else "torch.compile on the CPU needs a C++ compiler: none of g++, clang++ is on the path"
    if kind == "cuda":
        if not _importable("triton"):
            return "torch.compile on CUDA needs triton, which is not installed"
        if shutil.which("gcc") is None and shutil.which("clang") is None and shutil.which("cc") is None:
            return "triton needs a C compiler to build its launcher, and none of gcc, clang, cc is on the path"
        too_old = torch.cuda.get_device_capability(torch.device(device)) < (7, 0)
        return f"triton {_needs_capability((7, 0), device)}" if too_old else None
    return None if kind == "mps" else f"torch.compile is not tried on {kind}"


def _needs_capability(least: tuple[int, int], device: str) -> str:
    import torch

    major, minor = torch.cuda.get_device_capability(torch.device(device))
    return f"needs a GPU of compute capability {least[0]}.{least[1]} or more, and {device} has {major}.{minor}"


def _cuda_reason(index: int | None) -> str | None:
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        return "torch finds no CUDA device" if built else "this torch is built without CUDA"
    count = torch.cuda.device_count()
    if index is not None and index >= count:
        return f"there are {count} CUDA devices, so the last is cuda:{count - 1}"
    return None


def _cpu_dtype_reason(dtype: str) -> str | None:
    import torch

    query = "_is_mkldnn_bf16_supported" if dtype == "bfloat16" else "_is_mkldnn_fp16_supported"
    mkldnn: Any = torch.backends.mkldnn  # untyped in torch
    if not mkldnn.is_available():
        return f"this torch has no oneDNN, so {dtype} on the CPU would be emulated"
    if not getattr(torch.ops.mkldnn, query)():
        return f"this CPU has no {dtype} arithmetic that oneDNN can use"
    return None


def _flex_reason(kind: str) -> str | None:
    if kind != "cuda":
        return f"flex_attention is used on CUDA only: on {kind}, sdpa does the same without compiling kernels"
    return compile_reason("cuda")


@lru_cache
def _flash_reason(name: str, device: str, dtype: str, head_dim: int) -> str | None:
    import torch

    if torch.cuda.get_device_capability(torch.device(device)) < FLASH_CAPABILITY:
        return f"{name} {_needs_capability(FLASH_CAPABILITY, device)}"
    module_name = _FLASH_MODULES[name]
    if not _importable(module_name):
        return f"the package {module_name} is not installed: {_FLASH_REMEDY[name]}"
    from transformers.utils import import_utils

    accepted = import_utils.is_flash_attn_3_available if name.endswith("3") else import_utils.is_flash_attn_2_available
    try:
        if not accepted():
            return f"{module_name} is installed, but transformers does not accept it: {_FLASH_REMEDY[name]}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where they are errors, one would switch a kernel off that works
            _flash_forward(importlib.import_module(module_name), device, dtype, head_dim)
    except Exception as error:  # a broken binary may raise anything: the reason is what matters
        return f"{module_name} is installed, but a small forward fails: {type(error).__name__}: {first_line(error)}"
    return None


def _flash_forward(module: Any, device: str, dtype: str, head_dim: int) -> None:
    """Eight tokens of one head through both entry points: dense, and ragged (`varlen`), which padded batches use."""
    import torch

    qkv = torch.zeros(1, 8, 1, head_dim, device=device, dtype=getattr(torch, dtype))  # [batch, tokens, heads, head_dim]
    bounds = torch.tensor([0, 3, 8], device=device, dtype=torch.int32)
    rows = qkv[0]  # [tokens, heads, head_dim]
    module.flash_attn_func(qkv, qkv, qkv, causal=True)
    module.flash_attn_varlen_func(
        rows,
        rows,
        rows,
        cu_seqlens_q=bounds,
        cu_seqlens_k=bounds,
        max_seqlen_q=5,
        max_seqlen_k=5,
        causal=True,
    )
    torch.cuda.synchronize(torch.device(device))


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _package_reason(module: str, remedy: str) -> Callable[[], str | None]:
    return lambda: None if _importable(module) else f"the package {module} is not installed: {remedy}"


def _on_best(check: Callable[[str], str | None]) -> Callable[[], str | None]:
    return lambda: check(best_device())


REQUIREMENTS: Mapping[str, Callable[[], str | None]] = {
    "cuda": lambda: device_reason("cuda"),
    "mps": lambda: device_reason("mps"),
    "bf16": _on_best(lambda device: dtype_reason("bfloat16", device)),
    "flash_attn": _on_best(lambda device: attention_reason("flash_attention_2", device, "bfloat16")),
    "flash_attn_3": _on_best(lambda device: attention_reason("flash_attention_3", device, "bfloat16")),
    "flex": _on_best(lambda device: attention_reason("flex_attention", device, "bfloat16")),
    "compile": _on_best(compile_reason),
    "lm_eval": _package_reason("lm_eval", "pip install lm_eval"),
    "rouge_score": _package_reason("rouge_score", "pip install rouge-score"),
    "accelerate": _package_reason("accelerate", "pip install accelerate"),
}
"""The names that `--require` knows: each returns None, or why this machine lacks it on its best device."""


def missing_requirements(names: Iterable[str]) -> dict[str, str]:
    """Name to reason for each of `names` that this machine lacks; ConfigError for a name that is not known."""
    reasons = {}
    for name in names:
        if name not in REQUIREMENTS:
            raise ConfigError(f"require: expected names out of {', '.join(REQUIREMENTS)}; got {name!r}")
        if (reason := REQUIREMENTS[name]()) is not None:
            reasons[name] = reason
    return reasons


def environment() -> dict[str, str]:
    """Versions and hardware that a result depends on; a package that is not installed is left out."""
    import torch

    facts = {"python": platform.python_version(), "platform": platform.platform(), "processor": _processor()}
    for package in _PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    facts["torch"] = str(torch.__version__)  # with its build: +cpu, +cu130
    facts["device"] = best_device()
    if facts["device"] == "cuda":
        facts["cuda"] = str(torch.version.cuda)
        facts["device_name"] = torch.cuda.get_device_name()
        facts["device_memory_bytes"] = str(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
    facts["threads"] = str(torch.get_num_threads())
    return facts


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
