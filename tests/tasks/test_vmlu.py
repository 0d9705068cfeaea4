"""VMLU's reader: lettered choices, three to five of them, missing answers, shots from dev."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.errors import DataError
from evalsuite.tasks import DataSource, Prompting, get_task
from evalsuite.types import ChoiceScores
from tests.tasks.samples import directory, vmlu_row, write_jsonl

VMLU = get_task("vmlu")


def write(root: Path, split: str, rows: list[dict[str, object]]) -> DataSource:
    write_jsonl(root / "vmlu" / f"{split}.jsonl", rows)
    return directory(root)


def test_the_prompt_names_the_subject_and_does_not_letter_again(tmp_path: Path) -> None:
    source = write(tmp_path, "dev", [vmlu_row(1, question="Tính \\frac{1}{2} ")])
    (request,) = VMLU.requests(VMLU.read(source), Prompting())
    assert request.context == (
        "Sau đây là các câu hỏi trắc nghiệm (kèm đáp án) về Giấy phép lái xe.\n\n"
        "Tính \\frac{1}{2}\nA. một\nB. hai\nC. ba\nD. bốn\nĐáp án:"
    )
    assert request.continuations == (" A", " B", " C", " D")


def test_an_unknown_subject_is_called_by_its_number(tmp_path: Path) -> None:
    (example,) = VMLU.read(write(tmp_path, "dev", [vmlu_row(1, subject="99")])).examples
    assert example.description.endswith("về môn số 99.\n\n")


@pytest.mark.parametrize("count", [3, 4, 5])
def test_as_many_letters_are_scored_as_there_are_choices(tmp_path: Path, count: int) -> None:
    choices = [f"{letter}. x{letter}" for letter in "ABCDE"[:count]]
    source = write(tmp_path, "dev", [vmlu_row(1, choices=choices, answer="ABCDE"[count - 1])])
    data = VMLU.read(source)
    (request,) = VMLU.requests(data, Prompting())
    assert request.continuations == tuple(f" {letter}" for letter in "ABCDE"[:count])
    right = ChoiceScores(id=request.id, logprobs=(*(-9.0,) * (count - 1), -1.0))
    assert VMLU.grade(data.examples[0], right).scores == {"accuracy": 1.0}


def test_choices_without_letters_are_lettered(tmp_path: Path) -> None:
    (example,) = VMLU.read(write(tmp_path, "dev", [vmlu_row(1, choices=["một", "B. hai", "Ba. ba"])])).examples
    assert "\nA. một\nB. hai\nC. Ba. ba\nĐáp án:" in example.body


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"choices": ["B. x", "A. y", "C. z"]}, "field 'choices': expected labels in order", id="order"),
        pytest.param({"choices": ["A. x"]}, "field 'choices': expected 2 to 5 texts", id="too-few"),
        pytest.param({"choices": ["A. x", None, "C. z"]}, "field 'choices': expected 2 to 5 texts", id="null"),
        pytest.param({"answer": "E"}, "field 'answer': expected a letter A-D, got 'E'", id="gold"),
        pytest.param({"question": None}, "field 'question': expected text, got None", id="question"),
    ],
)
def test_a_malformed_row_is_named_by_file_row_and_field(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    source = write(tmp_path, "dev", [vmlu_row(1), vmlu_row(2, **changes)])
    with pytest.raises(DataError, match="dev.jsonl, row 2, " + said):
        VMLU.read(source)


def test_a_split_without_answers_is_predicted_and_not_scored(tmp_path: Path) -> None:
    data = VMLU.read(write(tmp_path, "test", [vmlu_row(1, answer=None), vmlu_row(2, answer=None)]), split="test")
    assert data.notes == {"no published answer: predicted, not scored": 2}
    outcome = ChoiceScores(id=data.examples[0].id, logprobs=(-4.0, -1.0, -4.0, -4.0))
    graded = VMLU.grade(data.examples[0], outcome)
    assert (graded.prediction, graded.gold, graded.scores) == ("B", None, {})
    assert VMLU.summarise([graded]) == []


@pytest.mark.parametrize("split", ["dev", "valid", "test"])
def test_a_row_that_lost_its_answer_among_rows_with_one_is_named(tmp_path: Path, split: str) -> None:
    source = write(tmp_path, split, [vmlu_row(1), vmlu_row(2, answer=None, anwser="A")])
    with pytest.raises(DataError, match=rf"{split}.jsonl, row 2, field 'answer': expected a letter, got no such field"):
        VMLU.read(source, split=split)


@pytest.mark.parametrize("split", ["dev", "valid"])
def test_a_split_whose_answers_are_published_has_the_field(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match=rf"{split}.jsonl, row 1, field 'answer': expected a letter, got no such field"):
        VMLU.read(write(tmp_path, split, [vmlu_row(1, answer=None), vmlu_row(2, answer=None)]), split=split)


@pytest.mark.parametrize("lost", ["id", "question", "choices"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, lost: str) -> None:
    row = {key: value for key, value in vmlu_row(1).items() if key != lost}
    with pytest.raises(DataError, match=rf"row 1, field '{lost}': expected .*, got no such field \(fields: "):
        VMLU.read(write(tmp_path, "dev", [row]))


def test_shots_come_from_dev_never_hold_the_scored_row_and_take_what_is_there(tmp_path: Path) -> None:
    rows = [vmlu_row(n) for n in (1, 2, 3)] + [vmlu_row(1, subject="01")]
    source = write(tmp_path, "dev", rows)
    data = VMLU.read(source, shots=5)
    assert [path.rpartition("vmlu/")[2] for path in data.shots_source] == ["dev.jsonl"]
    contexts = [request.context for request in VMLU.requests(data, Prompting(shots=5))]
    for number in (1, 2, 3):
        shown = contexts[number - 1].split("\n\n")[1:]
        others = [n for n in (1, 2, 3) if n != number]
        assert [part.split("\n")[0] for part in shown] == [f"Câu hỏi 58 số {n}?" for n in [*others, number]]
        assert all(part.endswith("Đáp án: A") for part in shown[:-1])
    assert contexts[3].count("Đáp án:") == 1


def test_a_scored_row_repeated_in_dev_is_not_its_own_shot(tmp_path: Path) -> None:
    write(tmp_path, "dev", [vmlu_row(1, question="Trùng?"), vmlu_row(2)])
    source = write(tmp_path, "valid", [vmlu_row(7, question="Trùng?")])
    (request,) = VMLU.requests(VMLU.read(source, split="valid", shots=2), Prompting(shots=2))
    assert request.context.count("Trùng?") == 1


@pytest.mark.parametrize("separator", ["\u2028", "\u0085"], ids=ascii)
def test_only_a_line_feed_ends_a_jsonl_row(tmp_path: Path, separator: str) -> None:
    (example,) = VMLU.read(write(tmp_path, "dev", [vmlu_row(1, question=f"một{separator}hai")])).examples
    assert f"một{separator}hai" in example.body


def test_a_repeated_id_is_kept_under_a_marked_id_and_noted(tmp_path: Path) -> None:
    data = VMLU.read(write(tmp_path, "dev", [vmlu_row(1), vmlu_row(2), vmlu_row(1)]))
    assert [e.id for e in data.examples] == ["vmlu/dev/58-0001", "vmlu/dev/58-0002", "vmlu/dev/58-0001#2"]
    assert data.notes == {"with the id of an earlier row: scored all the same": 1}


def test_an_id_of_one_split_may_stand_in_another(tmp_path: Path) -> None:
    write(tmp_path, "dev", [vmlu_row(1)])
    data = VMLU.read(write(tmp_path, "valid", [vmlu_row(1, question="Một câu khác?")]), split="valid", shots=1)
    assert [e.id for e in data.examples] == ["vmlu/valid/58-0001"]


def test_a_file_without_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"vmlu: expected questions to score in .*, got none: it has no rows"):
        VMLU.read(write(tmp_path, "dev", []))


def test_broken_json_is_named_by_row(tmp_path: Path) -> None:
    write(tmp_path, "dev", [vmlu_row(1)])
    with (tmp_path / "vmlu" / "dev.jsonl").open("a") as file:
        file.write('{"id": \n')
    with pytest.raises(DataError, match=r"dev.jsonl, row 2: not valid JSON"):
        VMLU.read(directory(tmp_path))


def test_the_hub_is_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"pass --data DIR \(in Python data=DIR\)"):
        VMLU.read(DataSource(kind="hub"))
