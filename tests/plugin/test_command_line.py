"""What the command line offers, selects and refuses before a model is touched."""

import re
import resource
import subprocess
import sys
import tomllib

import pytest

from evalsuite import capability
from tests.plugin.conftest import ROOT

OPTIONS = {
    *("--model", "--checkpoint", "--dtype", "--attention", "--compile", "--device", "--strategy", "--batch-size"),
    *("--token-budget", "--shots", "--chat-template", "--limit", "--reference-limit", "--data", "--split"),
    *("--results", "--resume", "--require", "--no-kv-cache", "--judge", "--judge-model", "--judge-api-key"),
    *("--judge-timeout", "--judge-concurrency", "--judge-max-missing", "--deterministic"),
    *("--temperature", "--top-p", "--top-k", "--sampling-seed", "--ignore-eos", "--memory-fraction"),
    *("--kv-cache-dtype", "--gate", "--update-expected", "--expected", "--gate-report"),
}
CASES = {
    "mmlu": ["unbatched", "per_question", "padded", "packed"],
    "vmlu": ["unbatched", "per_question", "padded", "packed"],
    "vnhsge": ["unbatched", "per_question", "padded", "packed"],
    "viquad": ["unbatched", "padded", "continuous"],
    "vietnews": ["unbatched", "padded", "continuous"],
}


def test_all_options_are_explained_in_one_group(project: pytest.Pytester) -> None:
    text = project.runpytest_inprocess("--help").stdout.str()
    title, group = text.split("\nevalsuite ")[1].split("\n\n")[0].split("\n", 1)
    assert set(re.findall(r"^  (--[\w-]+)", group, re.MULTILINE)) == OPTIONS
    assert "--strict-config" in title


def test_the_help_says_what_bounds_the_rows_of_a_forward_by_default(project: pytest.Pytester) -> None:
    from evalsuite.generation.continuous import ROWS, ROWS_ON_CPU

    text = " ".join(project.runpytest_inprocess("--help").stdout.str().split())
    assert f"(default: what --token-budget allows; continuous: {ROWS}, on the CPU {ROWS_ON_CPU})" in text


def test_a_case_that_fails_before_it_is_timed_brings_no_warning_and_nothing_to_compare_with_is_no_error(
    pytester: pytest.Pytester,
) -> None:
    """By this project's own filters."""
    filters = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["filterwarnings"]
    pytester.makefile(".toml", pyproject=f"[tool.pytest.ini_options]\nfilterwarnings = {filters}")
    pytester.makepyfile("def test_fails(benchmark): raise ValueError('boom')")
    result = pytester.runpytest_subprocess("--benchmark-compare", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stderr.fnmatch_lines(["*PytestBenchmarkWarning: Can't compare*"])
    result.stdout.no_fnmatch_line("*not used at all*")


def test_collecting_the_benchmarks_takes_little_work_and_no_torch() -> None:
    """These tests collect them again and again in one process, which torch does not survive being imported twice in."""
    code = """
import sys, pytest
pytest.main(["benchmarks", "--collect-only", "-q", "-p", "no:cacheprovider"])
print("imported:", {"torch", "transformers", "datasets", "pandas"} & set(sys.modules))
"""
    lines, seconds = run_in_python(code)
    assert lines[-1] == "imported: set()"
    assert "benchmarks/test_mmlu.py::test_mmlu[padded]" in lines
    assert seconds < 10


def test_importing_evalsuite_takes_little_work_and_no_torch() -> None:
    code = """
import sys
import evalsuite, evalsuite.tasks, evalsuite.config, evalsuite.results, evalsuite.faithful
print("imported:", {"torch", "transformers", "datasets", "pandas"} & set(sys.modules))
"""
    lines, seconds = run_in_python(code)
    assert lines == ["imported: set()"]
    assert seconds < 2


def run_in_python(code: str) -> tuple[list[str], float]:
    """What a process of its own prints, and its CPU seconds: those of the clock depend on what else the machine does.

    A bound on them is a few times what a slow machine takes, so that only work of another order is over it.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return run.stdout.splitlines(), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("task", CASES)
def test_k_selects_one_task_s_cases_by_stable_names(pytester: pytest.Pytester, task: str) -> None:
    result = pytester.runpytest_inprocess(ROOT / "benchmarks", "--rootdir", ROOT, "--collect-only", "-q", "-k", task)
    collected = [line.split("::")[1] for line in result.outlines if "::" in line]
    assert collected == [f"test_{task}[{strategy}]" for strategy in CASES[task]]


def test_cases_of_one_configuration_follow_each_other(project: pytest.Pytester) -> None:
    project.path.joinpath("benchmarks", "test_mmlu.py").write_text(
        """
import pytest

@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a(evaluate_case, dtype): ...

def test_plain(): ...

def test_b(evaluate_case): ...

@pytest.mark.parametrize("dtype", ["float16"])
def test_c(evaluate_case, dtype): ...
"""
    )
    result = project.runpytest_inprocess("benchmarks", "--collect-only", "-q")
    collected = [line.split("::")[1] for line in result.outlines if "::" in line]
    assert collected == ["test_a[bfloat16]", "test_b", "test_plain", "test_a[float16]", "test_c[float16]"]


def test_timing_by_several_workers_is_refused_with_the_way_out(project: pytest.Pytester) -> None:
    for arguments in (["benchmarks"], ["."], ["benchmarks/test_mmlu.py::test_mmlu"]):
        result = project.runpytest_inprocess("-n2", *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: benchmarks cannot be timed by several workers*-n 0*--benchmark-disable*"])


def test_tests_may_be_spread_over_workers(project: pytest.Pytester) -> None:
    project.mkdir("tests").joinpath("test_x.py").write_text("def test_x(): ...")
    project.runpytest_subprocess("tests", "-n2", "--benchmark-disable").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--strategy=paded"],
            "*--strategy: expected names out of unbatched, per_question, padded, packed, continuous; got 'paded'*",
        ),
        (["--limit=0"], "*--limit: expected a whole number of at least 1, got '0'*"),
        (["--dtype=int8"], "*--dtype: invalid choice: 'int8'*"),
        (["--require=warp_drive"], "*require: expected names out of cuda, *; got 'warp_drive'*"),
        (["--judge=localhost:8000"], "*judge: expected http://host:port/v1 or local:MODEL, got 'localhost:8000'*"),
        (["--judge-max-missing=5"], "*--judge-max-missing: expected a share from 0 to 1, got '5'*"),
        (["--temperature=-1"], "*temperature: expected a number of at least 0, got -1.0*"),
        (["--top-p=0"], "*top_p: expected a share above 0, at most 1, got 0.0*"),
        (["--top-k=0"], "*--top-k: expected a whole number of at least 1, got '0'*"),
        (["--memory-fraction=1.5"], "*memory_fraction: expected a share above 0, at most 1, got 1.5*"),
        (["--judge-concurrency=1.5"], "*--judge-concurrency: expected a whole number of at least 1, got '1.5'*"),
        (["--results=pytest.ini/below"], "*results folder pytest.ini/below: expected a folder*--results DIR*"),
    ],
    ids=[
        *("strategy", "limit", "dtype", "require", "judge", "share", "temperature", "top-p", "top-k", "memory"),
        *("requests", "results"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    project: pytest.Pytester, arguments: list[str], message: str
) -> None:
    result = project.runpytest_inprocess("benchmarks", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_required_ability_that_is_missing_is_an_error(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capability, "REQUIREMENTS", {"cuda": lambda: "torch finds no CUDA device"})
    result = project.runpytest_inprocess("benchmarks", "--require", "cuda")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --require cuda: torch finds no CUDA device"])
