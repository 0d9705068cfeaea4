"""`--judge` in a benchmark run: what is asked, shown, recorded, reused and refused, seen from outside."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judge.fake_server import KEY, MODEL, fails, says, serving

BENCHMARKS = """
import pytest

@pytest.mark.parametrize("task", ["mmlu", "viquad", "vietnews"])
@pytest.mark.parametrize("strategy", ["unbatched", "padded"])
def test_task(evaluate_case, task, strategy):
    evaluate_case(task, strategy)
"""
QUESTIONS = 4
Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """A run in this process forgets what was imported since its test began, and torch cannot be imported twice."""
    for module in ("openai", "evalsuite.harness.running", "transformers.models.qwen3.modeling_qwen3"):
        importlib.import_module(module)


@pytest.fixture
def run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the project's benchmarks on nano and a little of its sample, untimed, in this process."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    project.path.joinpath("benchmarks", "test_mmlu.py").unlink()
    project.path.joinpath("benchmarks", "test_all.py").write_text(BENCHMARKS)

    def run(*options: str, **how: Any) -> pytest.RunResult:
        for earlier in project.path.glob("out/2*"):  # named by second and process: this one's could be the same
            shutil.rmtree(earlier)
        return project.runpytest_inprocess(
            *("benchmarks", "--benchmark-disable", "--results=out", "--judge-api-key", KEY),
            *("--device=cpu", "--dtype=float32", f"--limit={QUESTIONS}", *options),
            **how,
        )

    return run


def records(project: pytest.Pytester) -> dict[str, dict[str, Any]]:
    """Of the only run."""
    (summary,) = project.path.glob("out/2*/summary.json")
    cases: dict[str, dict[str, Any]] = json.loads(summary.read_text())["cases"]
    return cases


def lines(project: pytest.Pytester, case: str) -> list[dict[str, Any]]:
    (path,) = project.path.glob(f"out/2*/{case}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def all_output(project: pytest.Pytester, *results: pytest.RunResult) -> str:
    files = (path.read_text(errors="replace") for path in project.path.rglob("*") if path.is_file())
    return "".join([*files, *(result.stdout.str() + result.stderr.str() for result in results)])


def test_generated_answers_are_graded_shown_and_recorded_and_a_second_run_asks_nothing(
    run: Run, project: pytest.Pytester
) -> None:
    with serving(lambda n, body: says("0,5" if "đọc hiểu" in str(body) else "Điểm: 1")) as server:
        first = run(f"--judge={server.url}", "--benchmark-json=run.json", "-v")
        first.assert_outcomes(passed=6)
        asked = len(server.bodies)
        assert len({str(body) for body in server.bodies}) == asked  # equal answers of two paths are asked about once
        assert server.keys == [f"Bearer {KEY}"] * asked
        first.stdout.fnmatch_lines_random(
            [
                "case * score * judge * verdict",
                "test_task[[]padded-viquad]*0.500 ± 0.000 *",
                "test_task[[]unbatched-vietnews]*1.000 ± 0.000 *",
                "test_task[[]padded-mmlu] * - *",
                f"viquad: judged by {MODEL} at {server.url}, prompt viquad-1 (*)",
                "mmlu: no judge asked: its answers are letters",
            ]
        )
        viquad, mmlu = records(project)["test_task[padded-viquad]"], records(project)["test_task[padded-mmlu]"]
        block = viquad["judge"]
        assert (block["name"], block["graded"], block["missing"]) == (f"{MODEL} at {server.url}", QUESTIONS, 0)
        assert (block["prompt"]["version"], len(block["prompt"]["hash"])) == ("viquad-1", 12)
        assert (block["score"]["value"], block["seconds"] > 0) == (0.5, True)
        judged = [metric for metric in viquad["metrics"] if metric["name"] == "judge_score"]
        assert {metric["group"] for metric in judged} == {"overall", "answerable", "unanswerable"}
        assert {metric["value"] for metric in judged} == {0.5}
        assert mmlu["judge"] == {"skipped": "its answers are letters"}
        assert [
            (line["judge"], line["judge_problem"], line["judge_reply"])
            for line in lines(project, "test_task-padded-viquad")
        ] == [(0.5, "", "0,5")] * QUESTIONS
        assert "judge" not in lines(project, "test_task-padded-mmlu")[0]

        assert KEY not in all_output(project, first)

        second = run(f"--judge={server.url}")
        second.assert_outcomes(passed=6)
        assert len(server.bodies) == asked
    assert KEY not in all_output(project, second)


def test_missing_grades_fail_the_case_when_everything_is_recorded(run: Run, project: pytest.Pytester) -> None:
    with serving(lambda n, body: says("1") if n else fails(400, f"{KEY} is odd")) as server:
        options = (f"--judge={server.url}", "--judge-concurrency=1", "--strategy=padded", "-k", "viquad")
        result = run(*options)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            [
                f"JudgeError: *at most 5% of the grades to be missing, got 1 of {QUESTIONS} (25.0%): "
                "1 HTTP 400 (such as *). Grades that were given are kept: run again *, or allow more by "
                "--judge-max-missing",
                f"test_task[[]padded-viquad]*1.000 ± 0.000, 1 missing*faithful, {QUESTIONS} of {QUESTIONS} compared",
                f"test_task[[]padded-viquad]: 1 of {QUESTIONS} grades missing: 1 HTTP 400",
            ]
        )
        (missing,) = (line for line in lines(project, "test_task-padded-viquad") if line["judge"] is None)
        assert missing["judge_problem"].startswith("HTTP 400: ")
        assert records(project)["test_task[padded-viquad]"]["judge"]["reasons"] == {"HTTP 400": 1}
        assert KEY not in all_output(project, result)

        run(*options).assert_outcomes(passed=1, deselected=5)
        assert len(server.bodies) == QUESTIONS + 1  # only what was missing


def test_a_judge_that_is_not_there_is_said_before_anything_is_answered(run: Run, project: pytest.Pytester) -> None:
    with serving(lambda n, body: says("1")) as server:
        url = server.url
    result = run(f"--judge={url}", "--strategy=padded", "--judge-timeout=2")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [f"JudgeError: judge: expected an OpenAI-compatible server at {url}, got no connection*"]
    )
    assert records(project).keys() == {"test_task[padded-mmlu]"}


def test_with_choice_tasks_alone_the_judge_is_not_even_looked_for(run: Run) -> None:
    with serving(lambda n, body: says("1")) as server:
        result = run(f"--judge={server.url}", "-k", "mmlu", "--strategy=padded")
        assert server.probes == 0
    result.assert_outcomes(passed=1, deselected=5)
    result.stdout.fnmatch_lines(["--judge had nothing to grade: it grades the answers of viquad and vietnews"])


FAILING = """
from evalsuite.plugin import OPTIONS

def test_fails(pytestconfig):
    options = pytestconfig.stash[OPTIONS]
    assert options.judge is None
"""


def test_the_key_reaches_workers_and_no_output_of_theirs(project: pytest.Pytester) -> None:
    project.mkdir("tests").joinpath("test_x.py").write_text(FAILING)
    options = ("--judge=http://127.0.0.1:9/v1", f"--judge-api-key={KEY}")
    result = project.runpytest_subprocess(
        "tests", "-n1", "-vv", "--showlocals", "--tb=long", "--junitxml=x.xml", *options
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*api_key=Secret(***)*"])
    assert KEY not in all_output(project, result)


class Interrupted:
    """A judge whose user has lost patience."""

    name = "interrupted"

    def grade(self, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt


def test_whoever_ends_a_long_grading_keeps_what_was_measured(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalsuite.harness.session.open_judge", lambda *_, **__: Interrupted())
    result = run("--judge=http://127.0.0.1:9/v1", "-k", "viquad", "--strategy=padded", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    record = records(project)["test_task[padded-viquad]"]
    assert record["judge"] == {"skipped": "the case ended before its answers were graded"}
    assert (record["verdict"]["faithful"], len(lines(project, "test_task-padded-viquad"))) == (True, QUESTIONS)


def test_a_local_judge_needs_no_server_and_shares_the_model_that_is_loaded(run: Run, project: pytest.Pytester) -> None:
    result = run("--judge=local:nano", "--strategy=padded", "-k", "viquad or vietnews")
    result.assert_outcomes(passed=2, deselected=4)
    result.stdout.fnmatch_lines(["viquad: judged by local:nano, prompt viquad-1 (*)"])
    for record in records(project).values():
        assert record["judge"]["graded"] == QUESTIONS
        assert record["judge"]["score"]["value"] > 0.5  # nano knows its samples


def test_a_local_judge_that_cannot_grade_is_not_to_be_asked_again(
    run: Run, project: pytest.Pytester, tiny_model: Path
) -> None:
    result = run(f"--judge=local:{tiny_model}", "--strategy=padded", "-k", "viquad")
    result.assert_outcomes(failed=1, deselected=5)
    result.stdout.fnmatch_lines(
        [
            "JudgeError: *: 4 longer than the judge's window (such as by * tokens). "
            "Asked again, a local judge says the same: take another one, or allow more by --judge-max-missing"
        ]
    )
