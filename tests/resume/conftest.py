"""The project of the plugin's tests, with a tiny model. Its benchmarks run in this process: torch is imported once."""

from pathlib import Path

import datasets  # noqa: F401
import pytest
import torch  # noqa: F401
import transformers  # noqa: F401

from tests.plugin.conftest import QUESTIONS, RunSuite, project, tiny_model
from tests.tasks.samples import write_mmlu

__all__ = ["project", "tiny_model"]


@pytest.fixture
def run_suite(project: pytest.Pytester, tiny_model: Path) -> RunSuite:
    """Run the project's benchmarks on the tiny model with further options."""
    rows = [(f"{n}?", "one", "two", "six", "ten", "ABCD"[n % 4]) for n in range(QUESTIONS)]
    write_mmlu(project.path / "data", "test", "sums", rows)
    write_mmlu(project.path / "data", "dev", "sums", [])

    def run(*options: str) -> pytest.RunResult:
        model = ("--model", str(tiny_model), "--data", "data", "--device", "cpu", "--dtype", "float32")
        return project.runpytest_inprocess("benchmarks", *model, *options)

    return run
