"""Sample logs that lm-evaluation-harness itself writes are read, and paired with a run by what the model was shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from evalsuite.cli import main
from evalsuite.compare.comparing import Comparison, compare
from evalsuite.compare.opening import open_side
from evalsuite.compare.showing import text_lines
from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import DataError
from evalsuite.evaluation import answer, grade, prepare
from evalsuite.results import file_stem, question_line
from evalsuite.tasks import DataSource, Prompting, get_task
from tests.compare.making import write_run
from tests.tasks.samples import write_hub
from tests.tiny import tiny_loaded

SUBJECTS = ("anatomy", "astronomy")
GENERATED = "toy"


def rows(subject: str, split: str, count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"{split} {n} {subject}?", "subject": subject, "choices": list("vwxy"), "answer": n % 4}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A little MMLU in the hub's schema, cached nowhere else."""
    import datasets

    folder = tmp_path_factory.mktemp("hub")
    by_subject = {s: {split: rows(s, split, 6) for split in ("test", "dev")} for s in SUBJECTS}
    everything = {split: [row for s in SUBJECTS for row in by_subject[s][split]] for split in ("test", "dev")}
    write_hub(folder, "cais/mmlu", {**by_subject, "all": everything})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def logs(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The harness's own task files, model class, evaluator and tracker; no network."""
    pytest.importorskip("lm_eval", reason="the format's source is lm_eval (evalsuite[dev])")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the harness's own deprecations are not ours
        return written_by_the_harness(hub, tmp_path_factory.mktemp("logs"))


def written_by_the_harness(hub: Path, folder: Path) -> Path:
    import lm_eval
    import yaml
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.models.huggingface import HFLM

    released = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    tasks = {}
    for subject in SUBJECTS:
        config = yaml.safe_load((released / "_default_template_yaml").read_text())
        config |= yaml.safe_load((released / f"mmlu_{subject}.yaml").read_text())
        del config["include"]
        tasks[config["task"]] = ConfigurableTask(config=config | {"dataset_path": str(hub / "cais" / "mmlu")})
    take_first = [{"function": "take_first"}]
    tasks[GENERATED] = ConfigurableTask(
        config={
            "task": GENERATED,
            "dataset_path": str(hub / "cais" / "mmlu"),
            "dataset_name": SUBJECTS[0],
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{question}}",
            "doc_to_target": "{{choices[answer]}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4},
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
            "filter_list": [{"name": "strict", "filter": take_first}, {"name": "loose", "filter": take_first}],
        }
    )
    loaded = tiny_loaded("qwen3")
    model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    results = evaluate(model, tasks, bootstrap_iters=0, log_samples=True)
    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.model_name_sanitized = "tiny"
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in tasks:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return folder


@pytest.fixture(scope="module")
def our_run(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model on the same questions, by us."""
    task = get_task("mmlu")
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        data = task.read(DataSource(kind="hub", path=str(hub)))
        workload = prepare(task, data, engine, Prompting())
        lines = [
            question_line(
                outcome,
                grade(workload, outcome),
                prompt_hash=workload.prompt_hashes[id_],
                main_metric="accuracy",
            )
            for id_, outcome in answer(engine, workload, "padded").items()
        ]
    return write_run(tmp_path_factory.mktemp("ours") / "run", {"test_mmlu[padded]": lines})


def compared(a: Path, b: Path) -> Comparison:
    return compare(open_side(str(a)), open_side(str(b)))


def test_our_run_and_the_harnesss_log_of_one_model_agree_on_every_question(our_run: Path, logs: Path) -> None:
    (case,) = compared(our_run, logs).cases
    assert case.name == "test_mmlu[padded] / mmlu_anatomy and 1 more"
    assert (case.questions, case.changes) == (12, ())
    (row,) = case.rows
    assert (row.metric, row.effect.value, row.effect.p) == ("accuracy", 0.0, 1.0)
    assert 0 < row.a < 1  # some right, some wrong: agreement says something
    swapped = compared(logs, our_run).cases[0]
    assert asdict(swapped.rows[0].effect) == asdict(row.effect)


def test_two_logs_are_compared_task_by_task_and_filter_by_filter(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(logs, other)
    (file,) = other.glob("*/samples_mmlu_anatomy_*.jsonl")
    samples = [json.loads(line) for line in file.read_text().splitlines()]
    for sample in samples:  # the model now says D
        sample["filtered_resps"] = [["-9", "False"]] * 3 + [["-1", "True"]]
        sample["acc"] = float(sample["target"] == "3")
    file.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    comparison = compared(logs, other)
    names = {"mmlu_anatomy", "mmlu_astronomy", f"{GENERATED}[strict]", f"{GENERATED}[loose]"}
    assert {case.name for case in comparison.cases} == names
    changed = next(case for case in comparison.cases if case.name == "mmlu_anatomy")
    assert {change.b for change in changed.changes} == {"D"}
    assert {change.gold for change in changed.changes} <= {("A",), ("B",), ("C",), ("D",)}
    assert main(["compare", str(file), str(file)]) == 0
    assert "mmlu_anatomy" in capsys.readouterr().out


def test_the_results_file_beside_the_logs_says_how_many_shots(logs: Path) -> None:
    side = open_side(str(logs))
    assert side.cases["mmlu_anatomy"].record["prompting"] == {"shots": 0, "chat_template": False}


def test_of_several_logs_of_a_task_the_newest_counts_and_of_several_models_none(logs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    shutil.copytree(logs / "tiny", folder / "tiny")
    (file,) = (folder / "tiny").glob("samples_toy_*.jsonl")
    (folder / "tiny" / "samples_toy_2001-01-01T00-00-00.000000.jsonl").write_text("{}\n")
    side = open_side(str(folder))
    assert side.notes == (f"{file.name}: the newest of several logs of toy",)
    shutil.copytree(logs / "tiny", folder / "other")
    with pytest.raises(DataError, match="expected the sample logs of one model, found those of 2"):
        open_side(str(folder))


@pytest.mark.parametrize(
    ("target", "gold"),
    [
        ("['a', \"b's\"]", ("a", "b's")),
        ("['']", ("",)),
        ("[sic] so it says", ("[sic] so it says",)),
        ("[1, 2]", ("[1, 2]",)),
        ("3", ("3",)),
    ],
)
def test_several_accepted_answers_are_told_apart(logs: Path, tmp_path: Path, target: str, gold: tuple[str]) -> None:
    (file,) = logs.glob("*/samples_toy_*.jsonl")
    sample = json.loads(file.read_text().splitlines()[0])
    (tmp_path / file.name).write_text(json.dumps(sample | {"target": target}) + "\n")
    (case,) = open_side(str(tmp_path)).cases.values()
    assert case.read()[0].gold == gold


@pytest.fixture
def exported(our_run: Path, logs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A run of two cases that share their questions, and its export: CASE/MODEL/results and samples."""
    lines = [json.loads(line) for line in (our_run / "0.jsonl").read_text().splitlines()]
    cases = ("test_mmlu[padded]", "test_mmlu[packed]")
    run = write_run(tmp_path / "run", dict.fromkeys(cases, lines))
    (file,) = logs.glob("*/samples_mmlu_anatomy_*.jsonl")
    for case in cases:
        folder = tmp_path / "export" / file_stem(case) / "nano"
        folder.mkdir(parents=True)
        shutil.copy(file, folder / "samples_mmlu_2026-01-31T23-59-58.jsonl")
        named = {"configs": {"mmlu": {"metadata": {"evalsuite_case": case}}}, "n-shot": {"mmlu": 0}}
        (folder / "results_2026-01-31T23-59-58.json").write_text(json.dumps(named))
    return run, tmp_path / "export"


def test_an_export_is_compared_case_by_case(exported: tuple[Path, Path]) -> None:
    run, export = exported
    for a, b in ((run, export), (export, run), (export, export)):
        comparison = compared(a, b)
        assert {case.name for case in comparison.cases} == {"test_mmlu[padded]", "test_mmlu[packed]"}
        assert all(case.changes == () for case in comparison.cases)
    one = compared(run, export / "test_mmlu-packed")
    assert [case.name for case in one.cases] == ["test_mmlu[packed]"]
    assert any("in A only (1): test_mmlu[padded]" in line for line in text_lines(one))
    named = compare(open_side(f"{run}:test_mmlu[packed]"), open_side(str(export)))
    assert [case.name for case in named.cases] == ["test_mmlu[packed]"]


def test_a_folder_of_several_runs_of_the_harness_is_refused_and_they_are_named(logs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(logs, tmp_path / "all" / name)
    with pytest.raises(DataError, match=r"found the logs of 2 runs; give one of .*all/one, .*all/two"):
        open_side(str(tmp_path / "all"))


def test_other_questions_are_refused(our_run: Path, logs: Path) -> None:
    (file,) = logs.glob("*/samples_toy_*.jsonl")
    with pytest.raises(DataError, match=r"nothing to compare.*12 in A only, 6 in B only"):
        compared(our_run, file)


def test_a_file_that_is_no_sample_log_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "samples_x.jsonl"
    file.write_text('{"doc_id": 0, "filter": "none", "metrics": []}\n')
    with pytest.raises(DataError, match=r"samples_x.jsonl:1: .*missing: arguments, filtered_resps, target"):
        open_side(str(file))
    file.write_text("nonsense\n")
    with pytest.raises(DataError, match=r"samples_x.jsonl:1: expected one JSON object a line"):
        open_side(str(file))
