"""The project of the plugin's tests, with a tiny model. Its benchmarks run in this process: torch is imported once."""

from pathlib import Path

import datasets  # noqa: F401
import pytest
import torch  # noqa: F401
import transformers  # noqa: F401

from tests.plugin.conftest import RunSuite, project, suite_runner, tiny_model

__all__ = ["project", "tiny_model"]


@pytest.fixture
def run_suite(project: pytest.Pytester, tiny_model: Path) -> RunSuite:
    """Run the project's benchmarks on the tiny model with further options."""
    return suite_runner(project, tiny_model, project.runpytest_inprocess)
