"""What all tasks share: the table, limits, fingerprints, grading."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ConfigError, DataError
from evalsuite.harness.options import sample_folder
from evalsuite.tasks import TASKS, DataSource, Example, TaskData, get_task, limit_examples
from evalsuite.types import ChoiceScores, Generation


def data(sizes: dict[str, int]) -> TaskData:
    examples = [
        Example(id=f"{g}/{n}", group=g, description="d", body="b", answer="A", gold=("A",), choices=("A", "B"))
        for g, size in sizes.items()
        for n in range(size)
    ]
    return TaskData(task="mmlu", split="test", examples=tuple(examples), shots={}, source="here")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_names_where_its_shots_come_from(name: str) -> None:
    source = DataSource(kind="directory", path=str(sample_folder()))
    assert TASKS[name].read(source).shots_source == ()
    assert TASKS[name].read(source, shots=2).shots_source


SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 30), min_size=1)


def test_the_table_holds_the_five_tasks_in_order_each_with_its_main_metric() -> None:
    assert [(t.name, t.kind, t.main_metric, t.max_new_tokens) for t in TASKS.values()] == [
        ("mmlu", "choice", "accuracy", 0),
        ("vmlu", "choice", "accuracy", 0),
        ("vnhsge", "choice", "accuracy", 0),
        ("viquad", "generation", "exact_match", 64),
        ("vietnews", "generation", "rougeL", 128),
    ]
    assert list(TASKS) == [t.name for t in TASKS.values()]


def test_an_unknown_task_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match="expected one of mmlu, vmlu, vnhsge, viquad, vietnews; got 'gsm8k'"):
        get_task("gsm8k")


def test_importing_the_tasks_imports_no_heavy_library() -> None:
    code = (
        "import sys, evalsuite.tasks; heavy = ('torch', 'transformers', 'datasets', 'pandas', 'rouge_score', 'numpy'); "
        "print([module for module in heavy if module in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@given(SIZES, st.integers(1, 100), st.integers(0, 5))
def test_a_limit_keeps_order_and_every_group_within_one_of_its_share(
    sizes: dict[str, int], limit: int, seed: int
) -> None:
    whole = data(sizes)
    limited = limit_examples(whole, limit, seed)
    total = len(whole.examples)
    assert len(limited.examples) == min(limit, total)
    assert limited.left_out == total - len(limited.examples)
    positions = [whole.examples.index(e) for e in limited.examples]
    assert positions == sorted(positions)
    counts = Counter(e.group for e in limited.examples)
    for group, size in sizes.items():
        assert abs(counts[group] - size * min(1, limit / total)) < 1


def test_a_limit_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    whole = data({"a": 40, "b": 40})
    assert limit_examples(whole, 10, 1) == limit_examples(whole, 10, 1)
    assert limit_examples(whole, 10, 1) != limit_examples(whole, 10, 2)


def test_no_limit_or_a_large_one_changes_nothing_and_zero_is_refused() -> None:
    whole = data({"a": 3})
    assert limit_examples(whole, None, 0) is whole
    assert limit_examples(whole, 3, 0) is whole
    with pytest.raises(ConfigError, match="limit"):
        limit_examples(whole, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "z"},
        {"body": "other"},
        {"description": "other"},
        {"gold": ("B",)},
        {"gold": None},
        {"choices": ("A", "C")},
    ],
    ids=lambda change: "-".join(f"{k}-{v}" for k, v in change.items()),
)
def test_the_fingerprint_follows_everything_that_is_scored(change: dict[str, object]) -> None:
    whole = data({"a": 2})
    first, second = whole.examples
    changed = dataclasses.replace(whole, examples=(first, dataclasses.replace(second, **change)))
    assert changed.fingerprint != whole.fingerprint
    assert len(whole.fingerprint) == 12


def test_the_fingerprint_is_blind_to_where_the_data_lay() -> None:
    whole = data({"a": 2})
    assert dataclasses.replace(whole, source="elsewhere").fingerprint == whole.fingerprint
    assert limit_examples(whole, 1).fingerprint != whole.fingerprint


def test_ids_that_repeat_are_refused() -> None:
    whole = data({"a": 1})
    with pytest.raises(DataError, match="not unique"):
        dataclasses.replace(whole, examples=whole.examples * 2)


def test_the_most_probable_letter_is_graded_and_the_first_of_equals() -> None:
    (example,) = data({"a": 1}).examples
    mmlu = get_task("mmlu")
    assert mmlu.grade(example, ChoiceScores(id=example.id, logprobs=(-1.0, -2.0))).scores == {"accuracy": 1.0}
    assert mmlu.grade(example, ChoiceScores(id=example.id, logprobs=(-2.0, -1.0))).scores == {"accuracy": 0.0}
    assert mmlu.grade(example, ChoiceScores(id=example.id, logprobs=(-1.0, -1.0))).prediction == "A"


def test_an_outcome_of_another_question_kind_or_width_is_refused() -> None:
    (example,) = data({"a": 1}).examples
    mmlu = get_task("mmlu")
    with pytest.raises(DataError, match="does not belong to"):
        mmlu.grade(example, ChoiceScores(id="b/0", logprobs=(-1.0, -2.0)))
    with pytest.raises(DataError, match="expected 2 log-probabilities, got 3"):
        mmlu.grade(example, ChoiceScores(id="a/0", logprobs=(-1.0, -2.0, -3.0)))
    with pytest.raises(DataError, match="a choice task cannot grade a Generation"):
        mmlu.grade(example, Generation(id="a/0", text="A", token_ids=(), logprobs=(), finish_reason="eos"))


def test_a_source_needs_a_known_kind_and_a_directory_a_path() -> None:
    with pytest.raises(ConfigError, match="'directory' or 'hub'"):
        DataSource(kind="web")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a path"):
        DataSource(kind="directory")


@pytest.mark.parametrize("name", list(TASKS))
def test_a_negative_number_of_shots_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="shots"):
        get_task(name).read(DataSource(kind="hub"), shots=-1)
