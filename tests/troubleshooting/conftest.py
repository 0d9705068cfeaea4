"""A small project whose benchmarks run in this process, so that a test can break what they stand on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.pytester import SysModulesSnapshot

from evalsuite import capability
from tests.plugin.conftest import PYTEST_INI
from tests.tasks.samples import write_mmlu
from tests.tiny import make_model, tiny_tokenizer

BENCHMARK = """
import pytest

@pytest.mark.parametrize("strategy", ["unbatched", "padded", "packed"])
def test_mmlu(evaluate_case, strategy):
    evaluate_case("mmlu", strategy)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """Where a symptom is provoked."""

    pytester: pytest.Pytester
    patch: pytest.MonkeyPatch
    model: Path

    @property
    def path(self) -> Path:
        return self.pytester.path

    def benchmark(self, text: str) -> None:
        """Another benchmark file instead of the one there is."""
        self.path.joinpath("benchmarks", "test_mmlu.py").write_text(text)

    def run(self, *options: str, timed: bool = False) -> str:
        """Everything that a run prints. Later options win over the lab's own."""
        results = f"results-{len(list(self.path.glob('results-*')))}"  # a folder is named by second and process
        own = ("--model", str(self.model), "--data", "data", "--results", results)
        given = (*own, "--device", "cpu", "--dtype", "float32", *options)
        result = self.pytester.runpytest_inprocess("benchmarks", *given, *(() if timed else ("--benchmark-disable",)))
        return "\n".join((*result.outlines, *result.errlines))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model")
    make_model("qwen3").save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


def _forget_modules_below(folder: Path) -> None:
    below = [name for name, m in sys.modules.items() if str(getattr(m, "__file__", None)).startswith(str(folder))]
    for name in below:
        del sys.modules[name]


@pytest.fixture
def lab(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Iterator[Lab]:
    # pytester forgets every module that a run imported, also torch's and Arrow's, which bear no second import.
    monkeypatch.setattr(SysModulesSnapshot, "restore", lambda self: _forget_modules_below(pytester.path))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    pytester.makefile(".ini", pytest=PYTEST_INI)
    pytester.makeconftest('pytest_plugins = ["evalsuite.plugin"]')
    pytester.mkdir("benchmarks")
    rows = [(f"{n}?", "one", "two", "six", "ten", "ABCD"[n % 4]) for n in range(6)]
    write_mmlu(pytester.path / "data", "test", "sums", rows)
    made = Lab(pytester=pytester, patch=monkeypatch, model=tiny_model)
    made.benchmark(BENCHMARK)
    yield made
    capability._flash_reason.cache_clear()  # what was simulated is no answer for other tests
