"""Runs in lm-evaluation-harness's format, held to the harness's own schema, writer, table, loaders and file names."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.prompts import keep_prompts
from evalsuite.results import ResultsRun
from evalsuite.types import ChoiceRequest, ChoiceScores, Generation, GenerationRequest, Graded

pytest.importorskip("lm_eval", reason="lm_eval, whose format this is, is not installed")

from lm_eval import result_schema, utils
from lm_eval.loggers.evaluation_tracker import EvaluationTracker

PROVENANCE = {"started": "2026-01-31T23:59:58+00:00", "options": {"limit": None}, "git": {"commit": "abc"}}
ASKED = [
    ChoiceRequest(id="mmlu/0", context="1 + 1?\nAnswer:", continuations=(" A", " B")),
    ChoiceRequest(id="mmlu/1", context="2 + 2?\nAnswer:", continuations=(" A", " B")),
    ChoiceRequest(id="mmlu/2", context="no answer was published\nAnswer:", continuations=(" A", " B")),
]
WRITE = [
    GenerationRequest(id="viquad/0", prompt="Thủ đô?\nTrả lời:", max_new_tokens=32),
    GenerationRequest(id="viquad/1", prompt="Ai?\nTrả lời:", max_new_tokens=32),
]


def record(task: str, *metrics: tuple[str, float, float | None], questions: int) -> dict[str, Any]:
    return {
        "task": task,
        "strategy": "padded",
        "config": {"model": "org/model", "checkpoint": None, "dtype": "bfloat16"},
        "execution": {"batch_size": None},
        "prompting": {"shots": 2},
        "metrics": [
            {"name": name, "value": value, "stderr": error, "count": 2, "group": "overall"}
            for name, value, error in metrics
        ],
        "questions": questions,
        "questions_in_data": questions,
        "left_out": 5,
        "questions_per_s": 4.0,
        "fingerprints": {"data": "d", "prompts": "p", "model": "m", "config": "c"},
        "data": {"source": "somewhere", "split": "test"},
        "seeds": {"sampling": 0, "model": 0},
        "versions": {"transformers": "5.23.0"},
        "load_report": {"parameters": 12, "got": {"dtype": "bfloat16", "device": "cpu"}},
    }


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A run with a choice case and a generation case, exported by the command."""
    from evalsuite.evaluation import prompt_hash

    run = ResultsRun(tmp_path, label="nano", about={"provenance": PROVENANCE})
    keep_prompts(run.path, "mmlu", ASKED)
    keep_prompts(run.path, "viquad", WRITE)
    with run.open_case("test_mmlu[padded]") as log:
        for asked, gold in zip(reversed(ASKED), (None, ("B",), ("A",)), strict=True):
            graded = Graded(
                id=asked.id,
                group="sums",
                prediction="B",
                gold=gold,
                scores={} if gold is None else {"accuracy": float(gold == ("B",))},
            )
            outcome = ChoiceScores(id=asked.id, logprobs=(-2.5, -0.25))
            log.write(outcome, graded, prompt_hash=prompt_hash(asked), main_metric="accuracy")
    run.add_case("test_mmlu[padded]", record("mmlu", ("accuracy", 0.5, 0.5), questions=3))
    with run.open_case("test_viquad[padded]") as log:
        for written in WRITE:
            graded = Graded(
                id=written.id, group="answerable", prediction="Huế", gold=("Huế", "TP Huế"), scores={"exact_match": 1.0}
            )
            outcome = Generation(id=written.id, text="Huế\nx", token_ids=(1,), logprobs=(-0.1,), finish_reason="length")
            log.write(outcome, graded, prompt_hash=prompt_hash(written), main_metric="exact_match")
    drawn = {"execution": {"batch_size": None, "temperature": 0.8, "top_p": 0.9, "top_k": 5}}
    run.add_case("test_viquad[padded]", record("viquad", ("exact_match", 1.0, None), questions=2) | drawn)
    run.close(finished=True)
    out = tmp_path / "out"
    assert main(["export", str(run.path), "-o", str(out)]) == 0
    return out


def files(exported: Path, task: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder = exported / f"test_{task}-padded" / "org__model"
    (results,), (samples,) = folder.glob("results_*.json"), folder.glob("samples_*.jsonl")
    return json.loads(results.read_text()), [json.loads(line) for line in samples.read_text().split("\n") if line]


TASKS = pytest.mark.parametrize("task", ["mmlu", "viquad"])


@TASKS
def test_every_key_is_one_of_the_harness_s_schema(exported, task):
    results, samples = files(exported, task)
    assert results.keys() <= result_schema.EvalResults.__annotations__.keys()
    assert results["config"].keys() <= result_schema._EvalConfig.__annotations__.keys()
    assert results["results"][task].keys() >= {"name", "alias", "sample_len"}
    required = result_schema.SampleResult.__annotations__.keys()
    assert samples
    for sample in samples:
        assert sample.keys() == required | set(sample["metrics"])


@TASKS
def test_the_harness_s_own_writer_makes_the_same_lines_of_the_samples(exported, task, tmp_path):
    results, samples = files(exported, task)
    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    tracker.general_config_tracker.model_name_sanitized = "org__model"
    in_memory = [
        sample | {"arguments": [(each["arg_0"], each["arg_1"]) for each in sample["arguments"].values()]}
        for sample in samples
    ]
    tracker.save_results_aggregated(results=dict(results), samples={task: in_memory})
    tracker.save_results_samples(task, in_memory)
    theirs = tmp_path / "theirs" / "org__model"
    (written,) = theirs.glob("samples_*.jsonl")
    assert [json.loads(line) for line in written.read_text().splitlines()] == samples
    (aggregated,) = theirs.glob("results_*.json")
    assert json.loads(aggregated.read_text())["task_hashes"] == results["task_hashes"]


def test_a_sample_says_how_its_tokens_were_drawn(exported):
    for sample in files(exported, "viquad")[1]:
        assert sample["arguments"]["gen_args_0"]["arg_1"] == {
            **{"do_sample": True, "temperature": 0.8, "top_p": 0.9, "top_k": 5},
            "max_gen_toks": 64,
        }


@TASKS
def test_hashes_are_the_harness_s(exported, task):
    for sample in files(exported, task)[1]:
        assert sample["doc_hash"] == utils.hash_string(json.dumps(sample["doc"], indent=2, ensure_ascii=False))
        assert sample["prompt_hash"] == utils.hash_string(sample["arguments"]["gen_args_0"]["arg_0"])
        assert sample["target_hash"] == utils.hash_string(sample["target"])


def test_the_harness_prints_its_table_of_the_results(exported):
    table = utils.make_table(files(exported, "mmlu")[0])
    assert [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]] == [
        *("mmlu", "d", "none", "2", "acc", "↑", "0.5", "±", "0.5")
    ]


def test_file_names_are_those_that_the_harness_looks_for(exported):
    names = [str(path) for path in exported.rglob("*.json*")]
    assert len(utils.get_results_filenames(names)) == len(utils.get_sample_results_filenames(names)) == 2
    samples = [name for name in utils.get_sample_results_filenames(names) if "mmlu" in name]
    assert utils.get_file_task_name(Path(samples[0]).name) == "mmlu"
    assert utils.get_file_datetime(samples[0]) == "2026-01-31T23-59-58"


@TASKS
def test_its_logger_for_weights_and_biases_makes_its_tables(exported, task):
    wandb = pytest.importorskip("lm_eval.loggers.wandb_logger", reason="pandas, which it needs, is not installed")
    results, samples = files(exported, task)
    logger = wandb.WandbLogger.__new__(wandb.WandbLogger)  # without a run on its server
    logger.post_init(results)
    _, numbers = logger._sanitize_results_dict()
    metric = {"mmlu": "acc", "viquad": "exact_match"}[task]
    assert numbers[f"{task}/{metric}"] == results["results"][task][f"{metric},none"]
    for sample in samples:
        sample["arguments"] = [(each["arg_0"], each["arg_1"]) for each in sample["arguments"].values()]
        if task == "mmlu":
            sample["resps"] = [[[float(number), said]] for [[number, said]] in sample["resps"]]
            sample["filtered_resps"] = [[float(number), said] for number, said in sample["filtered_resps"]]
    table = logger._generate_dataset(samples, results["configs"][task])
    assert list(table[metric]) == {"mmlu": [0.0, 1.0], "viquad": [1.0, 1.0]}[task]


@TASKS
def test_the_samples_load_as_a_dataset(exported, task, tmp_path):
    import datasets

    (file,) = exported.rglob(f"samples_{task}_*.jsonl")
    table = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == 2


def test_what_was_asked_and_answered_stands_in_a_sample(exported):
    choice, written = files(exported, "mmlu")[1], files(exported, "viquad")[1]
    assert [(sample["doc_id"], sample["target"], sample["acc"]) for sample in choice] == [(0, "0", 0.0), (1, "1", 1.0)]
    assert choice[0]["arguments"]["gen_args_1"] == {"arg_0": "1 + 1?\nAnswer:", "arg_1": " B"}
    assert choice[0]["filtered_resps"] == [["-2.5", "None"], ["-0.25", "None"]]
    assert (written[0]["resps"], written[0]["filtered_resps"]) == ([["Huế\nx"]], ["Huế"])
    assert ast.literal_eval(written[0]["target"]) == ["Huế", "TP Huế"]


def test_questions_without_a_published_answer_are_counted_and_not_sampled(exported):
    results, _ = files(exported, "mmlu")
    assert results["n-samples"]["mmlu"] == {"original": 8, "effective": 2}
