"""What a run that did not do all its work says last: how to go on with it, or what could have been selected."""

from pathlib import Path

import pytest

from tests.plugin.conftest import ROOT, RunSuite

BENCHMARK = """
import pytest

@pytest.mark.parametrize("strategy", ["unbatched", "padded"])
def test_mmlu(evaluate_case, strategy):
    if strategy == "{strategy}":
        {ending}
    evaluate_case("mmlu", strategy)
"""


def last_line(result: pytest.RunResult) -> str:
    return [line for line in result.outlines if line][-1]


def test_an_interrupted_run_ends_with_the_option_that_goes_on_with_it(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    file = project.path / "benchmarks" / "test_mmlu.py"
    file.write_text(BENCHMARK.format(strategy="padded", ending="raise KeyboardInterrupt"))
    broken_off = run_suite("--benchmark-disable")
    assert broken_off.ret == pytest.ExitCode.INTERRUPTED
    (run,) = Path(project.path, ".evalsuite").iterdir()
    option = f"--resume=.evalsuite/{run.name}"
    broken_off.stdout.fnmatch_lines(["test_mmlu[[]unbatched]*reference", f"answers and summary: .evalsuite/{run.name}"])
    assert last_line(broken_off) == f"evalsuite: not finished; to go on, give the same command with {option}"
    file.write_text(BENCHMARK.format(strategy="none", ending="pass"))
    finished = run_suite("--benchmark-disable", option)
    finished.assert_outcomes(passed=2)
    finished.stdout.fnmatch_lines([f"--resume: goes on with .evalsuite/{run.name}"])
    finished.stdout.no_fnmatch_line("*not finished*")


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise KeyboardInterrupt", pytest.ExitCode.INTERRUPTED),
        ("assert False", pytest.ExitCode.TESTS_FAILED),
        ("pytest.exit('enough', returncode=7)", 7),
    ],
    ids=["Ctrl-C", "a failure with -x", "an exit without summaries"],
)
def test_a_run_that_ends_in_its_first_case_can_be_gone_on_with_too(
    run_suite: RunSuite, project: pytest.Pytester, ending: str, code: int
) -> None:
    file = project.path / "benchmarks" / "test_mmlu.py"
    file.write_text(BENCHMARK.format(strategy="unbatched", ending=ending))
    result = run_suite("-x", "--benchmark-disable")
    assert result.ret == code
    assert last_line(result).startswith("evalsuite: not finished; to go on, give the same command with --resume=")


TASKS = "tasks for -k: mmlu, vmlu, vnhsge (scored), viquad, vietnews (generated)"
STRATEGIES = (
    "strategies that score: unbatched, per_question, padded, packed; that generate: unbatched, padded, continuous"
)


@pytest.mark.parametrize(
    ("options", "names"),
    [(["-k", "nonsense"], TASKS), (["--strategy", "packed", "-k", "viquad"], f"{TASKS}; {STRATEGIES}")],
    ids=["a name that is none", "a strategy that the task has not"],
)
def test_a_run_of_nothing_names_what_there_is(pytester: pytest.Pytester, options: list[str], names: str) -> None:
    result = pytester.runpytest_inprocess(ROOT / "benchmarks", "--rootdir", ROOT, *options)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert last_line(result) == f"evalsuite: nothing was selected; {names}"


def test_other_tests_of_which_none_is_selected_are_no_matter_of_ours(project: pytest.Pytester) -> None:
    project.mkdir("tests").joinpath("test_x.py").write_text("def test_x(): ...")
    result = project.runpytest_inprocess("tests", "-k", "nonsense")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.no_fnmatch_line("evalsuite: *")
