"""The workflow that is ready to use: it is what GitHub reads, and every command in it exists."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
import yaml

import run as run_script
from evalsuite.cli import COMMANDS
from evalsuite.commands import gate
from tests.plugin.conftest import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "benchmarks.yml"


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    """The steps of the one job. YAML 1.1 reads the key `on` as true, and GitHub does not."""
    document = yaml.safe_load(WORKFLOW.read_text())
    assert document.keys() == {"name", True, "permissions", "concurrency", "env", "jobs"}
    (job,) = document["jobs"].values()
    assert job["runs-on"] == "ubuntu-latest"
    return list(job["steps"])


def commands(steps: list[dict[str, Any]], program: str) -> list[list[str]]:
    """The calls of a program with every choice that an expression leaves, as words."""
    return [shlex.split(text) for step in steps for text in variants(step.get("run", "")) if text.startswith(program)]


def variants(text: str) -> list[str]:
    """`a ${{ x && 'b' || '' }}` as `a b` and `a`; any other expression stands for some value."""
    choice = re.compile(r"\$\{\{ [^}]*&& '([^']*)' \|\| '([^']*)' \}\}")
    pieces = choice.split(text)
    fixed, options = pieces[::3], list(zip(pieces[1::3], pieces[2::3], strict=True))
    texts = ["".join(f + c for f, c in zip(fixed, [*chosen, ""], strict=True)) for chosen in product(*options)]
    return [re.sub(r"\$\{\{[^}]*\}\}", "value", one) for one in texts]


def test_each_step_either_uses_an_action_by_version_or_runs_something(steps: list[dict[str, Any]]) -> None:
    for step in steps:
        assert ("uses" in step) != ("run" in step), step
        assert "uses" not in step or re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"])


def test_every_step_that_is_referred_to_comes_before(steps: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for step in steps:
        assert set(re.findall(r"steps\.(\w+)\.", str(step))) <= seen
        seen.add(step.get("id", ""))


def test_tests_come_first_by_all_cores_and_benchmarks_after_them_by_none(steps: list[dict[str, Any]]) -> None:
    (tests,) = commands(steps, "python3 run.py test")
    assert run_script.ARGUMENTS[tests[2]][1:3] == ["-n", "auto"]
    names = [" ".join(step.get("run", "").split()[:3]) for step in steps]
    assert names.index("python3 run.py test") < names.index("python3 run.py bench")


def test_pytest_understands_the_benchmarks_command_and_collects_the_evaluations(
    steps: list[dict[str, Any]], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = commands(steps, "python3 run.py bench")
    assert len(calls) == 4  # with and without a baseline, kept or not
    assert all({"--gate", "-n"} <= set(call) for call in calls)
    monkeypatch.chdir(ROOT)
    fullest = max(calls, key=len)
    arguments = run_script.pytest_arguments("bench", fullest[3:])
    quiet = ("-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")
    result = pytester.runpytest_inprocess(*arguments, *quiet, "--rootdir", ROOT, "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["benchmarks/test_mmlu.py::test_mmlu[[]padded]"])


def test_the_second_tier_s_command_is_understood(steps: list[dict[str, Any]]) -> None:
    ((_, command, *options),) = commands(steps, ".venv/bin/evalsuite")
    parser = argparse.ArgumentParser()
    gate.add_arguments(parser)
    assert command in COMMANDS
    assert 'evalsuite = "evalsuite.cli:main"' in (ROOT / "pyproject.toml").read_text()
    given: Mapping[str, Any] = vars(parser.parse_args(options))
    assert given["base"] == "origin/value"


def test_reports_that_are_shown_are_those_that_are_written(steps: list[dict[str, Any]]) -> None:
    written = {word for call in commands(steps, "") for word in call if word.endswith((".md", ".xml"))}
    assert written == {"gate.md", "gate.xml", "times.md"}
    (summary,) = (step["run"] for step in steps if step.get("name") == "Summary")
    assert "GITHUB_STEP_SUMMARY" in summary
    assert {"gate.md", "times.md"} <= set(summary.split())
