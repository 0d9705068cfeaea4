"""MMLU, VMLU and VNHSGE-V as the older guide calls them: right on nano's sample, batched or not, all counted."""

from __future__ import annotations

import copy
import csv
import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.mmlu_eval import compute_logprobs_for_all_choices_batched, predict_mmlu_single, run_mmlu_eval
from benchmarks.vmlu_eval import predict_vmlu_single, run_vmlu_eval
from benchmarks.vnhsge_eval import predict_vnhsge_single, run_vnhsge_eval
from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import ConfigError, DataError, RequestError
from evalsuite.evaluation import answer, grade, prepare
from evalsuite.interface import running
from evalsuite.loading import adopt
from evalsuite.nano import DATA_DIR
from evalsuite.tasks import TASKS, DataSource, Prompting, limit_examples
from evalsuite.types import Graded
from tests.interface.conftest import Pair
from tests.tiny import ARCHITECTURES, WINDOW, make_model, tiny_tokenizer

VMLU_DEV, VMLU_TEST = (DATA_DIR / "vmlu" / name for name in ("dev.jsonl", "test.jsonl"))
BATCHING = pytest.mark.parametrize("use_batching", [True, False], ids=["batched", "unbatched"])


def by_hand(model: Any, tokenizer: Any, prompt: str, letters: str) -> list[float]:
    """log p(" A" | prompt), ... by one plain forward of transformers each; a letter may be several tokens."""
    start = len(tokenizer(prompt).input_ids)
    found = []
    for letter in letters:
        ids = tokenizer(f"{prompt} {letter}", return_tensors="pt").input_ids
        with torch.no_grad():
            logprobs = model(ids).logits[0].float().log_softmax(-1)
        found.append(sum(float(logprobs[k - 1, ids[0, k]]) for k in range(start, ids.shape[1])))
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_choice_has_the_log_probability_of_its_letter_after_the_prompt(architecture: str, count: int) -> None:
    pair = make_model(architecture), tiny_tokenizer()
    prompt = "The following are multiple choice questions (with answers) about rivers.\n\nQuestion\nA. B. C.\nAnswer:"
    expected = by_hand(*pair, prompt, "ABCDE"[:count])
    got = compute_logprobs_for_all_choices_batched(*pair, prompt, [f"text {i}" for i in range(count)])
    assert got == pytest.approx(expected, abs=1e-4)


def test_of_the_choices_only_their_number_counts(nano: Pair) -> None:
    prompt = "Which is first?\nA. one\nB. two\nAnswer:"
    one = compute_logprobs_for_all_choices_batched(*nano, prompt, ["one", "two"])
    assert one == compute_logprobs_for_all_choices_batched(*nano, prompt, ("", "B"))
    assert all(logprob < 0 for logprob in one)


def test_as_many_choices_as_there_are_letters(nano: Pair) -> None:
    assert len(compute_logprobs_for_all_choices_batched(*nano, "Answer:", ["x"] * 26)) == 26
    for count in (0, 27):
        with pytest.raises(RequestError, match=rf"choices: expected 1 to 26, got {count}"):
            compute_logprobs_for_all_choices_batched(*nano, "Answer:", ["x"] * count)


@BATCHING
def test_mmlu_questions_of_the_sample_are_answered_by_their_index(nano: Pair, use_batching: bool) -> None:
    rows = mmlu_rows("high_school_geography")[:8]
    found = [predict_mmlu_single(*nano, row[0], row[1:5], use_batching=use_batching) for row in rows]
    assert found == ["ABCD".index(row[5]) for row in rows]


@BATCHING
def test_vmlu_questions_of_three_to_five_choices_are_answered_by_their_letter(nano: Pair, use_batching: bool) -> None:
    rows = [json.loads(line) for line in VMLU_DEV.read_text("utf-8").split("\n")[:8]]
    assert {len(row["choices"]) for row in rows} == {3, 4, 5}
    found = [predict_vmlu_single(*nano, row["question"], row["choices"], use_batching) for row in rows]
    assert found == [row["answer"] for row in rows]


@BATCHING
def test_vnhsge_questions_hold_their_choices_or_come_with_them(nano: Pair, use_batching: bool) -> None:
    rows = json.loads((DATA_DIR / "vnhsge/History/MET_His_IE_2021.json").read_text("utf-8"))[:4]
    golds = [row["Choice"] for row in rows]
    whole = [row["Question"] for row in rows]
    assert [predict_vnhsge_single(*nano, text, use_batching=use_batching) for text in whole] == golds
    assert [predict_vnhsge_single(*nano, text, ["A", "B", "C", "D"], use_batching) for text in whole] == golds
    parts = [text.split("\n") for text in whole]
    bare = [(question, [choice.removeprefix(f"{choice[0]}. ") for choice in choices]) for question, *choices in parts]
    assert [predict_vnhsge_single(*nano, question, choices, use_batching) for question, choices in bare] == golds


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts that models are shown."""
    prompts: list[str] = []
    real = prepare

    def seen(task: Any, data: Any, engine: Any, prompting: Any) -> Any:
        prompts.extend(request.context for request in task.requests(data, prompting))
        return real(task, data, engine, prompting)

    monkeypatch.setattr(running, "prepare", seen)
    return prompts


def test_a_single_question_with_its_subject_is_shown_as_the_task_shows_it(nano: Pair, shown: list[str]) -> None:
    row = mmlu_rows("high_school_geography")[0]
    predict_mmlu_single(*nano, row[0], row[1:5], subject="high_school_geography")
    vmlu = json.loads(VMLU_DEV.read_text("utf-8").split("\n")[0])
    predict_vmlu_single(*nano, vmlu["question"], vmlu["choices"], subject="01")
    path = DATA_DIR / "vnhsge/History/MET_His_IE_2021.json"
    predict_vnhsge_single(*nano, json.loads(path.read_text("utf-8"))[0]["Question"], subject="History")
    ids = ("mmlu/test/high_school_geography/1", "vmlu/dev/01-0001", "vnhsge/History/MET_His_IE_2021/1")
    assert shown == [sample_context(id_) for id_ in ids]


@pytest.mark.parametrize(
    ("name", "mode", "templated"),
    [
        ("Qwen/Qwen3-4B", "auto", True),
        ("Qwen/Qwen3-4B-Base", "auto", False),
        ("Qwen/Qwen3-4B-Base", "on", True),
        ("Qwen/Qwen3-4B", "off", False),
    ],
)
def test_an_instruct_model_is_asked_through_its_chat_template(
    shown: list[str], name: str, mode: str, templated: bool
) -> None:
    model, tokenizer = make_model("qwen3"), copy.deepcopy(tiny_tokenizer())
    model.config.name_or_path = name
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    predict_mmlu_single(model, tokenizer, "?", ["a", "b", "c", "d"], chat_template=mode)
    assert [prompt.endswith("<assistant>") for prompt in shown] == [templated]


@pytest.mark.parametrize("wrong", [["a", "b", "c"], ["a"] * 5, []], ids=len)
def test_mmlu_has_four_choices(nano: Pair, wrong: list[str]) -> None:
    with pytest.raises(RequestError, match=rf"choices: expected 4 texts, got {len(wrong)}"):
        predict_mmlu_single(*nano, "?", wrong)


def test_what_is_no_list_of_texts_is_named(nano: Pair) -> None:
    with pytest.raises(RequestError, match=r"choices: expected a list of texts, got one text: 'ABCD'"):
        predict_mmlu_single(*nano, "?", "ABCD")
    with pytest.raises(RequestError, match=r"choices\[1\]: expected text, got 2"):
        predict_vnhsge_single(*nano, "?", ["1", 2, "3"])
    with pytest.raises(RequestError, match=r"question: expected text, got None"):
        predict_vmlu_single(*nano, None, ["a", "b"])
    with pytest.raises(DataError, match=r"choices.*expected 2 to 5 texts"):
        predict_vmlu_single(*nano, "?", ["a"] * 6)


def test_what_is_not_text_is_named_before_it_reaches_the_model(nano: Pair) -> None:
    with pytest.raises(RequestError, match=r"prompt: expected text, got None"):
        compute_logprobs_for_all_choices_batched(*nano, None, ["a", "b"])
    for predict, choices in (
        (predict_mmlu_single, ["a", "b", "c", "d"]),
        (predict_vmlu_single, ["a", "b"]),
        (predict_vnhsge_single, ["a", "b"]),
    ):
        with pytest.raises(RequestError, match=r"subject: expected text, got 3"):
            predict(*nano, "?", choices, subject=3)
    for predict in (predict_mmlu_single, predict_vmlu_single):
        with pytest.raises(RequestError, match=r"choices: expected a list of texts, got None"):
            predict(*nano, "?", None)
    with pytest.raises(RequestError, match=r"choices: expected a list of texts, got \{'A': 'x'"):
        predict_mmlu_single(*nano, "?", {"A": "x", "B": "y", "C": "z", "D": "w"})


def test_a_place_that_is_no_path_is_named(nano: Pair) -> None:
    with pytest.raises(ConfigError, match=r"data: expected a path, `sample`, `hub` or None; got 3"):
        run_mmlu_eval(*nano, data=3)
    with pytest.raises(ConfigError, match=r"jsonl_path: expected a path, got None"):
        run_vmlu_eval(*nano, None)
    with pytest.raises(ConfigError, match=r"root_dir: expected a path, got None"):
        run_vnhsge_eval(*nano, None)


LETTERED: dict[str, tuple[list[str], list[str]]] = {
    "none": (["one", "two"], ["A. one", "B. two"]),
    "all": (["A. one", "B) two", "C: three"], ["A. one", "B) two", "C: three"]),
    "one by its name": (
        ["A. baumannii", "Escherichia coli", "S. aureus"],
        ["A. A. baumannii", "B. Escherichia coli", "C. S. aureus"],
    ),
    "all by their names": (
        ["E. coli", "B. subtilis", "A. baumannii", "C. difficile"],
        ["A. E. coli", "B. B. subtilis", "C. A. baumannii", "D. C. difficile"],
    ),
    "twice the same": (["A. baumannii", "A. lwoffii"], ["A. A. baumannii", "B. A. lwoffii"]),
}


@pytest.mark.parametrize("case", LETTERED)
@pytest.mark.parametrize("predict", [predict_vmlu_single, predict_vnhsge_single])
def test_choices_carry_their_letters_where_all_of_them_do(
    nano: Pair, shown: list[str], predict: Any, case: str
) -> None:
    given, lines = LETTERED[case]
    predict(*nano, "Which?", given)
    assert shown[0].split("\n")[-len(given) - 2 :] == ["Which?", *lines, "Đáp án:"]


def test_letters_in_another_order_are_refused(nano: Pair) -> None:
    with pytest.raises(DataError, match=r"expected labels in order A, B, C, ...; got B, A"):
        predict_vmlu_single(*nano, "?", ["B. two", "A. one"])


def test_a_question_of_ones_own_has_no_shots(nano: Pair) -> None:
    for predict in (predict_mmlu_single, predict_vmlu_single, predict_vnhsge_single):
        with pytest.raises(ConfigError, match=r"a question of your own has no solved ones .*shots=5; leave it out"):
            predict(*nano, "?", ["a", "b", "c", "d"], shots=5)


@BATCHING
def test_mmlu_runs_by_subject_and_overall(nano: Pair, use_batching: bool) -> None:
    acc, count = run_mmlu_eval(*nano, data="sample", max_samples_per_subject=4, use_batching=use_batching)
    assert count == {
        "overall": 20,
        "elementary_mathematics": 4,
        "high_school_biology": 4,
        "high_school_chemistry": 4,
        "high_school_geography": 4,
        "miscellaneous": 4,
    }
    assert acc == dict.fromkeys(count, 1.0)


def test_mmlu_takes_twenty_of_each_subject_unless_told_otherwise(nano: Pair) -> None:
    _, count = run_mmlu_eval(*nano, subjects=["miscellaneous"], data=DATA_DIR)
    assert count == {"overall": 20, "miscellaneous": 20}
    source = DataSource(kind="directory", path=str(DATA_DIR))
    _, count = run_mmlu_eval(*nano, ["miscellaneous"], "test", None, data=source)
    assert count == {"overall": 24, "miscellaneous": 24}
    _, count = run_mmlu_eval(*nano, "miscellaneous", split="val", data=DATA_DIR, shots=2)
    assert count["overall"] == len(mmlu_rows("miscellaneous", "val"))


def test_mmlu_comes_from_the_hub_by_default(nano: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise ConnectionError("no network here")

    monkeypatch.setattr("datasets.load_dataset", no_network)
    monkeypatch.setattr("evalsuite.tasks.reading.why_unreached", lambda: None)
    with pytest.raises(DataError, match=r"cais/mmlu: could not read cais/mmlu.*no network here.*Pass --data DIR"):
        run_mmlu_eval(*nano)


def test_a_subject_or_a_number_that_cannot_be_is_named(nano: Pair) -> None:
    with pytest.raises(ConfigError, match=r"subjects: alchemy, astrology: not in .*which has elementary_mathematics, "):
        run_mmlu_eval(*nano, ["miscellaneous", "astrology", "alchemy"], data="sample")
    with pytest.raises(ConfigError, match=r"subjects: expected at least one, got an empty list; give None for all"):
        run_mmlu_eval(*nano, [], data="sample")
    with pytest.raises(RequestError, match=r"subjects\[1\]: expected text, got 3"):
        run_mmlu_eval(*nano, ["miscellaneous", 3], data="sample")
    with pytest.raises(ConfigError, match=r"samples: expected at least 1 of each group, or None for all; got 0"):
        run_mmlu_eval(*nano, data="sample", max_samples_per_subject=0)
    with pytest.raises(TypeError, match="batchsize"):
        run_mmlu_eval(*nano, data="sample", batchsize=4)


def test_vmlu_reads_a_file_of_any_name(nano: Pair, tmp_path: Path) -> None:
    own = tmp_path / "my questions.jsonl"
    shutil.copy(VMLU_DEV, own)
    acc, count = run_vmlu_eval(*nano, str(own), max_samples=20)
    assert count.pop("overall") == 20 == sum(count.values())
    assert acc == dict.fromkeys(["overall", *count], 1.0)
    assert {len(subject) for subject in count} == {2}


def test_vmlu_without_published_answers_is_predicted_and_not_counted(nano: Pair) -> None:
    seen: list[Graded] = []
    acc, count = run_vmlu_eval(*nano, VMLU_TEST, on_graded=seen.append)
    assert math.isnan(acc.pop("overall"))
    assert (acc, count) == ({}, {"overall": 0})
    assert len(seen) == len(VMLU_TEST.read_text("utf-8").strip("\n").split("\n"))
    assert {g.prediction for g in seen} <= set("ABCDE")


def test_a_missing_vmlu_file_is_named(nano: Pair, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read: No such file"):
        run_vmlu_eval(*nano, tmp_path / "absent.jsonl")


@BATCHING
def test_vnhsge_runs_by_subject_and_year(nano: Pair, use_batching: bool) -> None:
    found = run_vnhsge_eval(*nano, DATA_DIR / "vnhsge", max_samples_per_subset=3, use_batching=use_batching)
    of_three, of_six = {"accuracy": 1.0, "count": 3}, {"accuracy": 1.0, "count": 6}
    assert found == {
        "overall": {"accuracy": 1.0, "count": 18},
        "English": {"overall": of_six, "2021": of_three, "2022": of_three},
        "Geography": {"overall": of_six, "2022": of_three, "2023": of_three},
        "History": {"overall": of_six, "2021": of_three, "2022": of_three},
    }


def test_a_run_is_what_task_and_engine_give(nano: Pair) -> None:
    task, source = TASKS["vmlu"], DataSource(kind="directory", path=str(DATA_DIR))
    with TransformersEngine(adopt(*nano), ExecutionOptions()) as engine:
        questions = limit_examples(task.read(source, shots=1), 20)
        workload = prepare(task, questions, engine, Prompting(shots=1))
        outcomes = answer(engine, workload, "unbatched")
    seen: list[Graded] = []
    run_vmlu_eval(*nano, VMLU_DEV, 20, shots=1, on_graded=seen.append)
    assert sorted(seen, key=lambda g: g.id) == sorted(
        (grade(workload, o) for o in outcomes.values()), key=lambda g: g.id
    )


def test_what_is_left_aside_or_cut_is_logged(nano: Pair, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalsuite"):
        run_vnhsge_eval(*nano, DATA_DIR, max_samples_per_subset=1)
        predict_mmlu_single(make_model("qwen3"), tiny_tokenizer(), "long " * WINDOW, ["a", "b", "c", "d"])
    messages = [record.getMessage() for record in caplog.records]
    assert "vnhsge: 6 not scored: needs an image" in messages
    assert "mmlu: 1 cut on the left to fit the model's window" in messages


def test_a_bar_is_drawn_when_it_is_asked_for(nano: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    run_mmlu_eval(*nano, data="sample", max_samples_per_subject=1)
    assert capsys.readouterr().err == ""
    run_mmlu_eval(*nano, data="sample", max_samples_per_subject=1, progress=True)
    assert "mmlu: 100%" in capsys.readouterr().err


def test_one_question_is_padded_and_many_are_packed(nano: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    score = TransformersEngine.score
    monkeypatch.setattr(
        TransformersEngine, "score", lambda self, requests, name: used.append(name) or score(self, requests, name)
    )
    compute_logprobs_for_all_choices_batched(*nano, "Answer:", ["a", "b"])
    predict_mmlu_single(*nano, "?", ["a", "b", "c", "d"])
    predict_mmlu_single(*nano, "?", ["a", "b", "c", "d"], False)
    run_mmlu_eval(*nano, data="sample", max_samples_per_subject=1)
    run_mmlu_eval(*nano, data="sample", max_samples_per_subject=1, batch_size=4)  # which packs have no rows to heed
    assert used == ["padded", "padded", "unbatched", "packed", "padded"]


def mmlu_rows(subject: str, split: str = "test") -> list[list[str]]:
    with (DATA_DIR / "mmlu" / split / f"{subject}_{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def sample_context(id_: str) -> str:
    """What the task itself shows for a question of the sample."""
    task = TASKS[id_.partition("/")[0]]
    requests = task.requests(task.read(DataSource(kind="directory", path=str(DATA_DIR))), Prompting())
    return next(request.context for request in requests if request.id == id_)
