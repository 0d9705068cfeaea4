"""The first tier as pytest runs it: exit codes, the last word, workers, reports, pytest-benchmark's comparison."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from evalsuite.gate.options import DEFAULT_EXPECTED
from tests.gate.conftest import Gated
from tests.gate.facts_made import COUNTERS
from tests.plugin.conftest import RunSuite

MORE = {"record": {"counters": COUNTERS | {"tokens_computed": 601}}}
QUIET = ("-W", "ignore::pytest_benchmark.logger.PytestBenchmarkWarning")
FLIPPED = {"answers": {"q1": "B", "q2": "B", "q3": "C", "q4": "D"}}


@pytest.fixture
def expected(gated: Gated) -> Gated:
    """The same, with expectations of two cases."""
    result = gated("--update-expected", "--benchmark-disable")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*= evalsuite gate =*", "added: *test_mmlu[[]padded]", "2 cases expected; 2 added*"])
    return gated


def test_the_same_again_passes(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["green: 2 cases, 20 facts compared with *expected.json, nano on sample, cpu, *"])


def test_one_token_more_fails_a_run_that_pytest_passed_with_one_clear_table(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", padded=MORE)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "RED: 1 difference; 2 cases, 20 facts compared with *",
            "case*what*expected*got*",
            "test_mmlu[[]padded]*counters.tokens_computed*600*601*more by 0.17%",
        ]
    )


def test_one_flipped_answer_fails_with_both_answers(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", padded=FLIPPED)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_mmlu[[]padded]: 1 of 4 answers changed", "question*", "q1 *'A'*'B'"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-k", "unbatched"], "narrowed to 1 of 2 expected cases: 1 deselected"),
        (["--strategy=unbatched"], "narrowed to 1 of 2 expected cases: 1 deselected"),
        (["--deselect=benchmarks/test_mmlu.py::test_mmlu[padded]"], "narrowed to 1 of 2 *: 1 deselected"),
    ],
)
def test_what_is_deselected_is_not_expected_and_the_gate_says_so(
    expected: Gated, options: list[str], said: str
) -> None:
    result = expected("--gate", "--benchmark-disable", *options, padded=MORE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["green: 1 case,*", said])


def test_a_node_id_narrows_too(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", path="benchmarks/test_mmlu.py::test_mmlu[unbatched]")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["narrowed to 1 of 2 expected cases: 1 outside of the given paths"])


def test_a_case_that_k_would_have_missed_is_missing_where_it_no_longer_exists(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", "-k", "unbatched", strategies=("unbatched", "packed"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["test_mmlu[[]padded]*missing*"])


def test_a_renamed_case_fails(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", strategies=("unbatched", "packed"))
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*packed[]]*new*", "*padded[]]*missing*renamed to test_mmlu[[]packed[]]?"])


def test_a_skipped_case_is_named_and_a_failed_one_is_red(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-disable", padded={"skip": "attention x: not here"})
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_mmlu[[]padded]: not compared: skipped: attention x: not here"])
    failing = expected("--gate", "--benchmark-disable", padded={"fail": "boom"} | MORE)
    assert failing.ret == 1
    failing.stdout.fnmatch_lines(["test_mmlu[[]padded]*tokens_computed*"])  # measured, and so compared


def test_nothing_collected_keeps_pytests_code_and_says_nothing_was_compared(expected: Gated) -> None:
    # --device: what auto takes is asked of torch, which an inner run in this process must not import.
    result = expected("--gate", "--benchmark-disable", "--device=cpu", "-k", "nothing_like_it")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*nothing compared*"])


def test_a_run_that_ended_early_keeps_pytests_code_and_is_red(expected: Gated, pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("benchmarks", "test_broken.py").write_text("import nothing_like_it")
    result = expected("--gate", "--benchmark-disable")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*nothing compared*a whole run*exit code 2*"])


def test_without_a_file_the_gate_is_red_and_says_how_to_make_one(gated: Gated) -> None:
    result = gated("--gate", "--benchmark-disable")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing compared*Make it with --update-expected*"])


def test_another_file_may_be_given_and_collecting_alone_compares_nothing(
    gated: Gated, pytester: pytest.Pytester
) -> None:
    gated("--update-expected", "--expected=mine.json", "--benchmark-disable")
    assert not pytester.path.joinpath(DEFAULT_EXPECTED).exists()
    assert gated("--gate", "--expected=mine.json", "--benchmark-disable").ret == 0
    assert gated("--gate", "--collect-only").ret == 0


def test_a_failed_case_is_not_taken_for_what_to_expect(expected: Gated, pytester: pytest.Pytester) -> None:
    before = pytester.path.joinpath(DEFAULT_EXPECTED).read_text()
    result = expected("--update-expected", "--benchmark-disable", padded={"fail": "boom"} | MORE)
    assert result.ret == 1
    assert pytester.path.joinpath(DEFAULT_EXPECTED).read_text() == before


def test_reports_are_written_for_a_ci_server_and_for_people(expected: Gated, pytester: pytest.Pytester) -> None:
    reports = ("--gate-report=gate.xml", "--gate-report=gate.md")
    expected("--gate", "--benchmark-disable", *reports, padded=MORE)
    (failure,) = ElementTree.parse(pytester.path / "gate.xml").iter("failure")
    assert failure.get("type") == "counters.tokens_computed"
    assert "| counters.tokens\\_computed | 600 | 601 |" in (pytester.path / "gate.md").read_text()


@pytest.mark.parametrize("option", ["--gate-report=gate.txt", "--update-expected", "--benchmark-compare"])
def test_what_cannot_be_meant_is_a_usage_error(gated: Gated, option: str) -> None:
    assert gated("--gate", "--benchmark-disable", option).ret == pytest.ExitCode.USAGE_ERROR


def test_a_comparison_without_a_saved_run_fails_under_the_gate(expected: Gated) -> None:
    result = expected("--gate", "--benchmark-compare", *QUIET)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["(the run)*--benchmark-compare*a saved run*none*"])


def test_a_comparison_with_a_saved_run_passes_and_with_a_renamed_case_or_another_machine_fails(
    expected: Gated, pytester: pytest.Pytester
) -> None:
    expected("--benchmark-autosave")
    assert expected("--gate", "--benchmark-compare", *QUIET).ret == 0
    (saved,) = pytester.path.glob(".benchmarks/*/*.json")
    document = json.loads(saved.read_text())
    document["benchmarks"][0]["fullname"] += "-before"
    saved.write_text(json.dumps(document))
    renamed = expected("--gate", "--benchmark-compare", *QUIET)
    assert renamed.ret == 1
    renamed.stdout.fnmatch_lines(["test_mmlu*--benchmark-compare*a saved run of it*none*under another name"])
    document["benchmarks"][0]["fullname"] = document["benchmarks"][0]["fullname"].removesuffix("-before")
    document["machine_info"]["cpu"]["brand_raw"] = "another"
    saved.write_text(json.dumps(document))
    moved = expected("--gate", "--benchmark-compare", *QUIET)
    assert moved.ret == 1
    moved.stdout.fnmatch_lines(["*--benchmark-compare*another machine prove nothing"])


def test_a_comparison_with_other_work_fails(expected: Gated) -> None:
    expected("--benchmark-autosave")
    fewer = expected("--gate", "--benchmark-compare", *QUIET, padded={"record": {"questions": 2}})
    assert fewer.ret == 1
    fewer.stdout.fnmatch_lines(["test_mmlu[[]padded]*--benchmark-compare*questions 4*questions 2*not comparable"])
    fewer.stdout.no_fnmatch_line("test_mmlu[[]unbatched]*--benchmark-compare*")


def test_without_a_gate_a_comparison_with_other_work_is_told_under_the_table(gated: Gated) -> None:
    gated("--benchmark-autosave")
    fewer = gated("--benchmark-compare", *QUIET, padded={"record": {"questions": 2}})
    assert fewer.ret == 0
    said = "other work than in the saved run: test_mmlu[[]padded] (questions 4, now 2): not comparable"
    fewer.stdout.fnmatch_lines(["* benchmark: *", "Legend:", said])
    gated("--benchmark-compare", *QUIET).stdout.no_fnmatch_line("other work*")


def test_workers_that_run_a_model_are_compared_as_one_process_is(
    run_suite: RunSuite, pytester: pytest.Pytester
) -> None:
    options = ("--benchmark-disable", "--expected=expected.json")
    assert run_suite("--update-expected", *options).ret == 0
    facts = pytester.path.joinpath("expected.json").read_text()
    assert '"benchmarks/test_mmlu.py::test_mmlu[padded] counters.forward_passes": 1' in facts
    result = run_suite("--gate", "-n1", "-k", "padded", *options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["green: 1 case, *", "narrowed to 1 of 3 expected cases: 2 deselected"])
