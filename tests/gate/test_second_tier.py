"""`evalsuite gate --base REV` on small repositories whose benchmarks need no model: exit codes, planted slow-downs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evalsuite.cli import main
from evalsuite.commands.gate import pytest_arguments
from evalsuite.gate import trees
from evalsuite.gate.trees import Tree

BENCHMARK = """
import time

def test_sleep(benchmark):
    benchmark.pedantic(lambda: time.sleep({seconds}), rounds=2)

def {name}(benchmark):
    benchmark.pedantic(lambda: time.sleep(0.002), rounds=1)
"""
CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--results")
"""
FAST = ["gate", "--base", "HEAD", "--pairs", "5"]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def write_benchmark(folder: Path, seconds: float = 0.02, name: str = "test_other") -> None:
    folder.joinpath("benchmarks", "test_sleep.py").write_text(BENCHMARK.format(seconds=seconds, name=name))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of its own evalsuite (an empty one) and two benchmarks; pytest is called from it."""
    folder = tmp_path / "repository"
    folder.joinpath("benchmarks").mkdir(parents=True)
    folder.joinpath("evalsuite").mkdir()
    folder.joinpath("evalsuite", "__init__.py").write_text("")
    folder.joinpath("conftest.py").write_text(CONFTEST)
    folder.joinpath("pytest.ini").write_text("[pytest]\naddopts = -p no:xdist -p no:hypothesispytest -p no:anyio\n")
    write_benchmark(folder)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "base")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def quick(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository with runs that take no time: each gives what its benchmark file says."""

    def as_written(tree: Tree, arguments: list[str]) -> dict[str, float]:
        text = tree.path.joinpath("benchmarks", "test_sleep.py").read_text()
        if "fail" in text:
            raise trees.RunFailed(f"{tree.name}: ended with code 1")
        found = re.findall(r"def (\w+).*\n.*sleep\((.*?)\)", text)
        return {f"f::{name}": float(seconds) for name, seconds in found}

    monkeypatch.setattr("evalsuite.commands.gate.time_benchmarks", as_written)
    return repository


def test_a_case_that_became_slower_is_red_and_the_unchanged_one_is_not(
    quick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_benchmark(quick, seconds=0.025)  # uncommitted
    assert main([*FAST, "--gate-report", "gate.xml"]) == 1
    said = capsys.readouterr().out
    assert "test_sleep  0.0200  0.0250  0.800 [0.800, 0.800]" in said
    assert "RED: 1 difference; 2 cases, 10 facts compared with base HEAD (" in said
    (failure,) = ElementTree.parse(quick / "gate.xml").iter("failure")
    assert (failure.get("type"), "slower by 25%" in str(failure.get("message"))) == ("time", True)
    listed = subprocess.run(["git", "worktree", "list"], cwd=quick, capture_output=True, text=True).stdout
    assert len(listed.splitlines()) == 1  # the base's is gone


def test_a_slow_down_within_the_threshold_is_green(quick: Path) -> None:
    write_benchmark(quick, seconds=0.022)
    assert main([*FAST, "--threshold", "0.9"]) == 0
    assert main([*FAST, "--threshold", "0.95"]) == 1


def test_unchanged_is_green(quick: Path) -> None:
    assert main(FAST) == 0


def test_a_case_that_only_one_side_has_is_listed(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_benchmark(quick, name="test_fresh")
    assert main(FAST) == 0
    said = capsys.readouterr().out
    assert "test_fresh: not compared: timed by head alone" in said
    assert "test_other: not compared: timed by base alone" in said


def test_nothing_compared_has_its_own_code(quick: Path) -> None:
    quick.joinpath("benchmarks", "test_sleep.py").write_text("")
    assert main(FAST) == 3


def test_a_run_that_fails_has_its_own_code(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick.joinpath("benchmarks", "test_sleep.py").write_text("fail")
    assert main(FAST) == 4
    assert "head: ended with code 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--base", "no-such-revision"],
        ["--base", "HEAD", "--pairs", "2"],
        ["--base", "HEAD", "--threshold", "1.5"],
        ["--base", "HEAD", "--gate-report", "gate.txt"],
    ],
)
def test_what_cannot_be_meant_has_the_code_of_a_usage_error(quick: Path, arguments: list[str]) -> None:
    assert main(["gate", *arguments]) == 2


def test_no_repository_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(FAST) == 2


def test_without_a_base_argparse_ends_with_the_same_code() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gate"])
    assert ended.value.code == 2


def test_a_failing_run_and_an_empty_one_are_told_apart(repository: Path) -> None:
    tree = Tree(name="head", path=repository)
    assert trees.time_benchmarks(tree, ["benchmarks", "-k", "nothing_like_it"]) == {}
    repository.joinpath("benchmarks", "test_sleep.py").write_text("def test_x(): assert False, 'planted'")
    with pytest.raises(trees.RunFailed, match=r"head: pytest benchmarks ended with code 1:\n(.*\n)*.*planted"):
        trees.time_benchmarks(tree, ["benchmarks"])


def test_a_tree_that_would_import_another_evalsuite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(trees.RunFailed, match="head: expected to import evalsuite from"):
        trees.require_own_code(Tree(name="head", path=tmp_path))


def test_paths_among_the_arguments_replace_the_five_evaluations() -> None:
    class Given:
        k = "mmlu"
        pytest_args = "--limit 5"

    assert pytest_arguments(Given)[0] == "benchmarks"  # type: ignore[arg-type]
    assert pytest_arguments(Given)[-4:] == ["--limit", "5", "-k", "mmlu"]  # type: ignore[arg-type]
    Given.pytest_args = "benchmarks/test_x.py --shots 5"
    assert pytest_arguments(Given) == ["benchmarks/test_x.py", "--shots", "5", "-k", "mmlu"]  # type: ignore[arg-type]
