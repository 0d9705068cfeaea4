"""A project of its own for each test: a tiny model, a little MMLU, and a benchmark file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tasks.samples import write_mmlu

ROOT = Path(__file__).parents[2]
QUESTIONS = 6

BENCHMARK = """
import pytest

@pytest.mark.parametrize("strategy", ["unbatched", "per_question", "padded"])
def test_mmlu(evaluate_case, strategy):
    evaluate_case("mmlu", strategy)
"""
PYTEST_INI = """
[pytest]
filterwarnings =
    error
    default::pytest_benchmark.logger.PytestBenchmarkWarning
"""

RunSuite = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import make_model, tiny_tokenizer

    directory = tmp_path_factory.mktemp("model")
    make_model("qwen3").save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Benchmarks that collect; no model and no data yet."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Of the run that these tests are part of: they would make the inner run think that it is a worker.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    pytester.makefile(".ini", pytest=PYTEST_INI)
    pytester.makeconftest('pytest_plugins = ["evalsuite.plugin"]')
    pytester.mkdir("benchmarks").joinpath("test_mmlu.py").write_text(BENCHMARK)
    return pytester


@pytest.fixture
def run_suite(project: pytest.Pytester, tiny_model: Path) -> RunSuite:
    """Run the project's benchmarks on the tiny model with further options."""
    return suite_runner(project, tiny_model, project.runpytest_subprocess)


def suite_runner(project: pytest.Pytester, tiny_model: Path, start: Callable[..., pytest.RunResult]) -> RunSuite:
    """What `run_suite` gives, with its questions written, by one of pytester's ways to start pytest."""
    rows = [(f"{n}?", "one", "two", "six", "ten", "ABCD"[n % 4]) for n in range(QUESTIONS)]
    write_mmlu(project.path / "data", "test", "sums", rows)
    write_mmlu(project.path / "data", "dev", "sums", [])

    def run(*options: str) -> pytest.RunResult:
        model = ("--model", str(tiny_model), "--data", "data", "--device", "cpu", "--dtype", "float32")
        return start("benchmarks", *model, *options)

    return run
