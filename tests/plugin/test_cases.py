"""What a benchmark run says, records and refuses, seen from outside."""

import json
from pathlib import Path

import pytest

from evalsuite.measure.timing import QUICK_ROUNDS
from tests.plugin.conftest import BENCHMARK, QUESTIONS, RunSuite

EXTRA_INFO = {
    "score", "speed_up", "tokens_per_s", "questions_per_s", "peak_memory", "counters", "padding_share", "load_report",
    "fingerprints", "seeds", "versions", "truncated", "excluded", "verdict", "fallbacks", "config", "execution",
}  # fmt: skip


def test_every_strategy_is_timed_judged_recorded_and_compared_with_a_saved_run(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    first = run_suite("--benchmark-autosave", "--benchmark-compare")  # nothing is saved yet: a warning, no crash
    first.assert_outcomes(passed=3)
    first.stderr.fnmatch_lines(["*Can't compare. No benchmark files*"])
    first.stdout.fnmatch_lines(
        [
            "*= evalsuite =*",
            "case*score*speed-up*tokens computed*padding*verdict",
            "test_mmlu[[]unbatched]*0.* ± 0.*1.00x*0.0%*reference",
            f"test_mmlu[[]per_question]*x [[]*, *faithful, {QUESTIONS} of {QUESTIONS} compared",
            f"test_mmlu[[]padded]*x [[]*, *%*faithful, {QUESTIONS} of {QUESTIONS} compared",
            "attention: auto took sdpa",
            "answers and summary: .evalsuite/*",
        ]
    )
    second = run_suite("--benchmark-compare", "--benchmark-json=run.json", "--strategy=padded,unbatched")
    second.assert_outcomes(passed=2, deselected=1)
    second.stdout.fnmatch_lines_random(["*test_mmlu[[]padded] (0001*", "*test_mmlu[[]padded] (NOW)*"])

    benchmarks = {b["name"]: b for b in json.loads(Path(project.path / "run.json").read_text())["benchmarks"]}
    padded = benchmarks["test_mmlu[padded]"]
    assert padded["extra_info"].keys() >= EXTRA_INFO
    assert padded["options"]["timer"] == "seconds"
    speed_up = padded["extra_info"]["speed_up"]
    assert padded["stats"]["data"] == pytest.approx(speed_up["path_seconds"], rel=0.05, abs=5e-4)
    assert len(speed_up["baseline_seconds"]) == padded["stats"]["rounds"] == QUICK_ROUNDS
    assert (speed_up["baseline_questions"], speed_up["path_questions"]) == (QUESTIONS, QUESTIONS)
    assert benchmarks["test_mmlu[unbatched]"]["extra_info"]["counters"]["forward_passes"] == 4 * QUESTIONS


def test_without_timing_workers_evaluate_judge_and_write_every_answer(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    result = run_suite("-n2", "--benchmark-disable", "--results=out", "--limit=4", "--reference-limit=2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "test_mmlu[[]unbatched]*reference",
            "test_mmlu[[]padded]*not timed*faithful, 2 of 4 compared",
            "mmlu: 2 left out by --limit",
        ]
    )
    files = {path.name: path.read_text().splitlines() for path in project.path.glob("out/*/*.jsonl")}
    assert {name: len(lines) for name, lines in files.items()} == {
        "test_mmlu-unbatched.jsonl": 2,
        "test_mmlu-per_question.jsonl": 2,
        "test_mmlu-padded.jsonl": 4,
    }
    line = json.loads(files["test_mmlu-padded.jsonl"][0])
    assert line.keys() == {"id", "group", "prompt_hash", "logprobs", "prediction", "gold", "score", "scores"}
    summaries = [json.loads(path.read_text())["cases"] for path in project.path.glob("out/*/summary.json")]
    assert sorted(case for summary in summaries for case in summary) == [
        "test_mmlu[padded]",
        "test_mmlu[per_question]",
        "test_mmlu[unbatched]",
    ]


PLANTED = """
pytest_plugins = ["evalsuite.plugin"]

def pytest_collection_finish():
    import dataclasses
    from evalsuite import scoring

    honest = scoring.STRATEGIES["padded"]

    def backwards(runner, requests):
        for outcome in honest(runner, requests):
            yield dataclasses.replace(outcome, logprobs=outcome.logprobs[::-1])

    scoring.STRATEGIES["padded"] = backwards
"""


def test_a_path_that_answers_otherwise_fails_with_the_questions_it_flipped(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    project.makeconftest(PLANTED)
    result = run_suite("--strategy=padded", "--benchmark-disable")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(
        [
            f"test_mmlu[[]padded] is NOT FAITHFUL, {QUESTIONS} of {QUESTIONS} compared*",
            "noise of the reference * nats*",
            "question * reference * path * fp32 margin",
            "mmlu/test/sums/* '[ABCD]' * '[ABCD]' *",
            "test_mmlu[[]padded]*NOT FAITHFUL*",  # and the closing table says so too
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


BROKEN_COMPILER = """
import torch
pytest_plugins = ["evalsuite.plugin"]

def compile(forward, **_):
    def shifted(*args, **kwargs):  # of a layer
        return forward(*args, **kwargs).roll(1, dims=-1)
    return shifted

torch.compile = compile
"""


def test_a_compiler_that_changes_answers_is_seen_although_every_case_is_compiled(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    project.makeconftest(BROKEN_COMPILER)
    result = run_suite("--compile", "--benchmark-disable", "--strategy=padded,unbatched")
    result.assert_outcomes(failed=2, deselected=1)
    result.stdout.fnmatch_lines(["test_mmlu[[]unbatched]*NOT FAITHFUL*", "test_mmlu[[]padded]*NOT FAITHFUL*"])


WITHOUT_FP32 = """
pytest_plugins = ["evalsuite.plugin"]

def pytest_collection_finish():
    from evalsuite.errors import ModelLoadError
    from evalsuite.harness.session import EvaluationSession

    def too_large(self, config, task):
        raise ModelLoadError("not enough memory for float32")

    EvaluationSession._scored_in_fp32 = too_large
"""


def test_what_was_measured_is_kept_where_it_cannot_be_judged(run_suite: RunSuite, project: pytest.Pytester) -> None:
    project.makeconftest(WITHOUT_FP32)
    result = run_suite("--strategy=padded", "--benchmark-disable", "--results=out")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(["test_mmlu[[]padded]*NOT JUDGED: not enough memory for float32"])
    (summary,) = project.path.glob("out/*/summary.json")
    assert json.loads(summary.read_text())["cases"]["test_mmlu[padded]"]["verdict"]["faithful"] is None


OPTIMISATIONS = """
import pytest

@pytest.mark.parametrize("batch_size", [4])
def test_batch_size(evaluate_case, batch_size):
    evaluate_case("mmlu", "padded", change={"batch_size": batch_size}, baseline={"batch_size": 1})

def test_dtype(evaluate_case):
    evaluate_case("mmlu", "padded", change={"dtype": "float32"}, baseline={"dtype": "float32", "attention": "eager"})

def test_attention(evaluate_case):
    evaluate_case("mmlu", "padded", change={"attention": "flash_attention_2"}, baseline={"attention": "eager"})

def test_typo(evaluate_case):
    evaluate_case("mmlu", "padded", change={"batchsize": 1})

def test_no_data(evaluate_case):
    evaluate_case("vmlu", "padded")
"""


def test_an_optimisation_has_its_own_baseline_and_what_cannot_run_is_skipped_by_name(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    project.path.joinpath("benchmarks", "test_mmlu.py").write_text(OPTIMISATIONS)
    result = run_suite("-rs", "--benchmark-json=run.json", "--reference-limit=3")
    result.assert_outcomes(passed=2, skipped=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "ConfigError: expected strategy or fields of InferenceConfig or ExecutionOptions, got batchsize",
            "DataError: *",
            "SKIPPED*attention flash_attention_2: flash_attention_2 runs on CUDA devices, not on cpu",
        ]
    )
    benchmarks = json.loads(Path(project.path / "run.json").read_text())["benchmarks"]
    baselines = {b["name"]: b["extra_info"]["speed_up"]["baseline"] for b in benchmarks}
    assert baselines["test_batch_size[4]"]["execution"]["batch_size"] == 1
    assert baselines["test_dtype"]["config"]["attention"] == "eager"
    for benchmark in benchmarks:  # a baseline on other questions would make other batches, and another cost
        speed_up = benchmark["extra_info"]["speed_up"]
        assert speed_up["baseline_questions"] == speed_up["path_questions"] == 3


def test_cases_of_one_name_in_two_files_keep_their_results_apart(run_suite: RunSuite, project: pytest.Pytester) -> None:
    other = BENCHMARK.replace('"unbatched", "per_question", "padded"', '"unbatched", "padded"')
    project.path.joinpath("benchmarks", "test_own.py").write_text(other)
    run_suite("--benchmark-disable", "--results=out", "--strategy=per_question,padded").assert_outcomes(
        passed=3, deselected=2
    )
    names = {"benchmarks/test_mmlu.py::test_mmlu[padded]", "benchmarks/test_own.py::test_mmlu[padded]"}
    (summary,) = project.path.glob("out/*/summary.json")
    assert json.loads(summary.read_text())["cases"].keys() == names | {"test_mmlu[per_question]"}
    assert {path.name for path in summary.parent.glob("*.jsonl")} == {
        "benchmarks-test_mmlu.py-test_mmlu-padded.jsonl",
        "benchmarks-test_own.py-test_mmlu-padded.jsonl",
        "test_mmlu-per_question.jsonl",
    }
