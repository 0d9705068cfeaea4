"""What the machine can run is found by running it, and what it cannot by a reason that a user can act on."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from evalsuite import capability
from evalsuite.errors import ConfigError


@pytest.fixture(autouse=True)
def compute_capability(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, tuple[int, int]]]:
    """Of every simulated GPU; a test may change it."""
    found = {"of every GPU": (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found["of every GPU"])
    capability._flash_reason.cache_clear()
    yield found
    capability._flash_reason.cache_clear()  # what was simulated is no answer for other tests


@pytest.fixture
def flash_installed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A `flash_attn` that is importable and accepted; the test decides what its functions do."""
    module = SimpleNamespace(flash_attn_func=lambda *a, **k: None, flash_attn_varlen_func=lambda *a, **k: None)
    importable = capability._importable
    monkeypatch.setattr(capability, "_importable", lambda name: name == "flash_attn" or importable(name))
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda *size, device, dtype: torch.empty(*size, dtype=dtype))
    monkeypatch.setattr(torch, "tensor", lambda data, device, dtype: torch.empty(len(data), dtype=dtype))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    capability._flash_reason.cache_clear()
    return module


def flash(head_dim: int = 128) -> str | None:
    return capability.attention_reason("flash_attention_2", "cuda:0", "bfloat16", head_dim=head_dim)


@pytest.mark.usefixtures("flash_installed")
def test_flash_attention_counts_once_a_forward_of_it_succeeds() -> None:
    assert flash() is None


@pytest.mark.parametrize("entry", ["flash_attn_func", "flash_attn_varlen_func"])
def test_flash_attention_that_imports_but_does_not_run_is_not_there(
    flash_installed: SimpleNamespace, entry: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nlong trace")

    setattr(flash_installed, entry, fail)
    assert flash() == (
        "flash_attn is installed, but a small forward fails: "
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer"
    )


@pytest.mark.filterwarnings("error")
def test_flash_attention_that_warns_is_there_where_warnings_are_errors(flash_installed: SimpleNamespace) -> None:
    flash_installed.flash_attn_func = lambda *a, **k: warnings.warn("deprecated", FutureWarning, stacklevel=2)
    assert flash() is None


def test_the_probe_uses_the_models_head_dimension(flash_installed: SimpleNamespace) -> None:
    def only_64(q: torch.Tensor, *_: object, **__: object) -> None:
        assert q.shape[-1] == 64, "built for 64"

    flash_installed.flash_attn_func = only_64
    assert flash(head_dim=64) is None
    assert "built for 64" in str(flash(head_dim=32))


@pytest.mark.usefixtures("flash_installed")
def test_a_package_that_transformers_refuses_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: False)
    assert "transformers does not accept it" in str(flash())


@pytest.mark.usefixtures("flash_installed")
@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_a_gpu_that_is_too_old_for_flash_attention_is_told_by_its_compute_capability(
    compute_capability: dict[str, tuple[int, int]], name: str
) -> None:
    compute_capability["of every GPU"] = (7, 5)
    assert capability.attention_reason(name, "cuda:0", "float16") == (
        f"{name} needs a GPU of compute capability 8.0 or more, and cuda:0 has 7.5"
    )


def test_an_absent_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability, "_importable", lambda name: False)
    capability._flash_reason.cache_clear()
    assert flash() == "the package flash_attn is not installed: install evalsuite[flash]"


@pytest.mark.parametrize(
    ("name", "device", "dtype", "reason"),
    [
        ("flash_attention_3", "cpu", "bfloat16", "runs on CUDA devices, not on cpu"),
        ("flash_attention_2", "cuda", "float32", "computes in bfloat16 or float16, not in float32"),
        ("flex_attention", "cpu", "float32", "used on CUDA only"),
        ("auto", "cpu", "float32", None),
        ("sdpa", "cpu", "float32", None),
        ("eager", "cpu", "bfloat16", None),
    ],
)
def test_attention_reasons(name: str, device: str, dtype: str, reason: str | None) -> None:
    answer = capability.attention_reason(name, device, dtype)
    assert answer is None if reason is None else reason in str(answer)


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown implementation 'linear'"):
        capability.attention_reason("linear", "cpu", "float32")


@pytest.mark.parametrize(("dtype", "query"), [("bfloat16", "bf16"), ("float16", "fp16")])
def test_the_cpu_computes_in_half_precision_only_where_it_can(
    monkeypatch: pytest.MonkeyPatch, dtype: str, query: str
) -> None:
    answers = {f"_is_mkldnn_{query}_supported": lambda: False}
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace(**answers))
    assert f"no {dtype} arithmetic" in str(capability.dtype_reason(dtype, "cpu"))
    assert capability.dtype_reason("float32", "cpu") is None


def test_an_old_gpu_has_no_bfloat16(
    monkeypatch: pytest.MonkeyPatch, compute_capability: dict[str, tuple[int, int]]
) -> None:
    asked = []

    class Selected:
        def __init__(self, device: torch.device) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def supported(*, including_emulation: bool) -> bool:
        asked.append(including_emulation)
        return False

    monkeypatch.setattr(torch.cuda, "device", Selected)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    compute_capability["of every GPU"] = (7, 5)
    assert capability.dtype_reason("bfloat16", "cuda:0") == (
        "native bfloat16 needs a GPU of compute capability 8.0 or more, and cuda:0 has 7.5"
    )
    assert asked == [False]
    assert capability.dtype_reason("float16", "cuda:0") is None


def test_devices_are_numbered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert capability.best_device() == "cuda"
    assert capability.device_reason("cuda:1") is None
    assert capability.device_reason("cuda:2") == "there are 2 CUDA devices, so the last is cuda:1"


@pytest.mark.parametrize("name", list(capability.REQUIREMENTS))
def test_every_requirement_gives_a_reason_or_none(name: str) -> None:
    reason = capability.REQUIREMENTS[name]()
    assert reason is None or reason.strip()


def test_missing_requirements_are_named_with_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(capability, "_importable", lambda name: True)
    assert set(capability.missing_requirements(["cuda", "lm_eval"])) == {"cuda"}


def test_an_unknown_requirement_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"require: expected names out of cuda, .*; got 'tpu'"):
        capability.missing_requirements(["tpu"])


def test_the_environment_names_what_a_result_depends_on() -> None:
    facts = capability.environment()
    assert facts["torch"] == torch.__version__
    assert {"python", "transformers", "device", "threads", "processor"} <= set(facts)
    assert all(isinstance(value, str) for value in facts.values())


def test_importing_the_module_does_not_import_torch() -> None:
    script = "import sys, evalsuite.capability; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
