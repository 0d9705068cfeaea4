"""UIT-ViQuAD 2.0: both schemas, several golds, questions without an answer, blind splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalsuite.errors import DataError
from evalsuite.tasks import DataSource, Prompting, TaskData, get_task
from evalsuite.tasks.viquad import DESCRIPTION
from evalsuite.types import Generation, Graded
from tests.tasks.samples import directory, viquad_article, viquad_document, viquad_question, write_hub, write_json

VIQUAD = get_task("viquad")


def write(root: Path, *articles: dict[str, Any], name: str = "sample") -> DataSource:
    write_json(root / "viquad" / f"{name}.json", viquad_document(*articles))
    return directory(root)


def small(root: Path) -> TaskData:
    answerable = viquad_question("q1", "cố đô Huế", "Huế", "Huế")
    return VIQUAD.read(
        write(root, viquad_article("Kinh thành ở Huế.", answerable, viquad_question("q2", impossible=True)))
    )


def graded(data: TaskData, index: int, text: str) -> Graded:
    example = data.examples[index]
    outcome = Generation(id=example.id, text=text, token_ids=(), logprobs=(), finish_reason="stop")
    return VIQUAD.grade(example, outcome)


def test_the_prompt_asks_for_a_span_or_the_refusal_phrase(tmp_path: Path) -> None:
    request, _ = VIQUAD.requests(small(tmp_path), Prompting())
    assert request.id == "viquad/sample/q1"
    assert request.prompt == (
        "Đọc đoạn văn rồi trả lời câu hỏi bằng cụm từ ngắn nhất trích nguyên văn từ đoạn văn. "
        "Nếu đoạn văn không có câu trả lời, hãy viết: không có câu trả lời.\n\n"
        "Đoạn văn: Kinh thành ở Huế.\nCâu hỏi: Hỏi q1?\nTrả lời:"
    )
    assert (request.max_new_tokens, request.stop) == (64, ("\n",))


def test_every_distinct_gold_counts(tmp_path: Path) -> None:
    data = small(tmp_path)
    assert data.examples[0].gold == ("cố đô Huế", "Huế")
    assert graded(data, 0, "Huế.").scores == {"exact_match": 1.0, "f1": 1.0}
    assert graded(data, 0, "cố đô").scores == {"exact_match": 0.0, "f1": pytest.approx(0.8)}


@pytest.mark.parametrize("text", ["", "  ", "không có câu trả lời", "Không có câu trả lời.", "Đoạn văn không đề cập."])
def test_an_unanswerable_question_is_answered_by_nothing_or_a_refusal(tmp_path: Path, text: str) -> None:
    data = small(tmp_path)
    assert data.examples[1].gold == ("",)
    assert graded(data, 1, text).scores == {"exact_match": 1.0, "f1": 1.0}
    assert graded(data, 0, text).scores == {"exact_match": 0.0, "f1": 0.0}


def test_an_answer_to_an_unanswerable_question_scores_zero(tmp_path: Path) -> None:
    assert graded(small(tmp_path), 1, "Huế").scores == {"exact_match": 0.0, "f1": 0.0}


def test_a_refusal_phrase_that_is_the_gold_is_an_answer(tmp_path: Path) -> None:
    question = viquad_question("q", "không được đề cập")
    data = VIQUAD.read(write(tmp_path, viquad_article("Việc ấy không được đề cập.", question)))
    assert graded(data, 0, "Không được đề cập").scores["exact_match"] == 1.0


def test_think_blocks_and_later_lines_are_not_graded(tmp_path: Path) -> None:
    result = graded(small(tmp_path), 0, "<think>\nHay là Hà Nội?\n</think>\n\nHuế\nVì kinh thành ở đó.")
    assert (result.prediction, result.scores["exact_match"]) == ("Huế", 1.0)


def test_a_span_that_is_off_by_one_or_not_in_the_passage_does_no_harm(tmp_path: Path) -> None:
    question = viquad_question("q", "Huế") | {"answers": [{"text": "ế", "answer_start": 999}]}
    (example,) = VIQUAD.read(write(tmp_path, viquad_article("Kinh thành ở Huế.", question))).examples
    assert example.gold == ("ế",)


def test_answerable_and_unanswerable_are_reported_apart(tmp_path: Path) -> None:
    data = small(tmp_path)
    metrics = VIQUAD.summarise([graded(data, 0, "cố đô"), graded(data, 1, "")])
    values = {(m.name, m.group): (m.value, m.count) for m in metrics}
    assert values == {
        ("exact_match", "overall"): (0.5, 2),
        ("f1", "overall"): (pytest.approx(0.9), 2),
        ("exact_match", "answerable"): (0.0, 1),
        ("f1", "answerable"): (pytest.approx(0.8), 1),
        ("exact_match", "unanswerable"): (1.0, 1),
        ("f1", "unanswerable"): (1.0, 1),
    }
    assert metrics[0].name == VIQUAD.main_metric and metrics[0].group == "overall"


def test_shots_are_on_distinct_passages_show_both_kinds_and_are_not_scored(tmp_path: Path) -> None:
    articles = [
        viquad_article(f"Đoạn {n}.", viquad_question(f"a{n}", f"đáp {n}"), viquad_question(f"b{n}", impossible=True))
        for n in range(4)
    ]
    data = VIQUAD.read(write(tmp_path, *articles), shots=3)
    assert [shot.id.rpartition("/")[2] for shot in data.shots[""]] == ["a0", "a1", "b2"]
    assert data.shots_source == tuple(shot.id for shot in data.shots[""])
    assert len(data.examples) == 5
    assert data.excluded == {"held out for few-shot prompts": 3}
    prompt = VIQUAD.requests(data, Prompting(shots=3))[0].prompt
    assert prompt.startswith(DESCRIPTION + "Đoạn văn: Đoạn 0.\nCâu hỏi: Hỏi a0?\nTrả lời: đáp 0\n\nĐoạn văn: Đoạn 1.")
    assert "Trả lời: không có câu trả lời\n\nĐoạn văn: Đoạn 0.\nCâu hỏi: Hỏi b0?\nTrả lời:" in prompt


def hub_row(identifier: str, answers: list[str] | None, impossible: bool | None = False) -> dict[str, Any]:
    """A row of the hub's schema."""
    spans = None if answers is None else {"text": answers, "answer_start": [0] * len(answers)}
    return {
        "id": identifier,
        "uit_id": f"uit_{identifier}",
        "title": "Huế",
        "context": "Kinh thành ở Huế.",
        "question": f"Hỏi {identifier}?",
        "answers": spans,
        "is_impossible": impossible,
        "plausible_answers": {"text": ["Hà Nội"], "answer_start": [0]} if impossible else None,
    }


@pytest.mark.parametrize("empty", [[], None], ids=["no-texts", "null"])
def test_the_hub_schema_gives_the_same_questions_as_the_nested_file(
    tmp_path: Path, datasets_cache: Path, empty: list[str] | None
) -> None:
    rows = [hub_row("q1", ["cố đô Huế", "Huế", "Huế"]), hub_row("q2", empty, True)]
    write_hub(tmp_path, "taidng/UIT-ViQuAD2.0", {"default": {"validation": rows}})
    hub = VIQUAD.read(DataSource(kind="hub", path=str(tmp_path)))
    files = small(tmp_path)
    assert hub.split == "validation"
    assert [(e.body, e.gold, e.group, e.fields) for e in hub.examples] == [
        (e.body, e.gold, e.group, e.fields) for e in files.examples
    ]


@pytest.mark.parametrize("impossible", [False, True, None])
def test_a_blind_split_is_refused(tmp_path: Path, datasets_cache: Path, impossible: bool | None) -> None:
    rows = [hub_row("q1", None, impossible), hub_row("q2", None, impossible)]
    write_hub(tmp_path, "taidng/UIT-ViQuAD2.0", {"default": {"test": rows}})
    with pytest.raises(DataError, match=r"golds are not published .*so it cannot be scored; use --split validation"):
        VIQUAD.read(DataSource(kind="hub", path=str(tmp_path)), split="test")


def test_one_answerable_row_without_a_gold_is_malformed(tmp_path: Path) -> None:
    questions = (viquad_question("q1", "Huế"), viquad_question("q2"))
    with pytest.raises(DataError, match=r"sample.json, row 2, field 'answers': expected a gold answer"):
        VIQUAD.read(write(tmp_path, viquad_article("Kinh thành ở Huế.", *questions)))


@pytest.mark.parametrize("lost", ["id", "question", "answers"])
@pytest.mark.parametrize("others", [0, 1], ids=["all rows", "one row"])
def test_a_field_that_is_missing_is_named(tmp_path: Path, lost: str, others: int) -> None:
    odd = {("odd" if key == lost else key): value for key, value in viquad_question("q2", "Huế").items()}
    questions = (*[viquad_question("q1", "Huế")] * others, odd)
    said = rf"sample.json, row {others + 1}, field '{lost}': expected .*, got no such field \(fields: .*odd"
    with pytest.raises(DataError, match=said):
        VIQUAD.read(write(tmp_path, viquad_article("Kinh thành ở Huế.", *questions)))


def test_a_passage_that_is_missing_is_named(tmp_path: Path) -> None:
    paragraph = {"passage": "Kinh thành ở Huế.", "qas": [viquad_question("q1", "Huế")]}
    write_json(tmp_path / "viquad" / "sample.json", {"data": [{"title": "Huế", "paragraphs": [paragraph]}]})
    with pytest.raises(DataError, match=r"row 1, field 'context': expected text, got no such field \(fields: title"):
        VIQUAD.read(directory(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answers": {"texts": ["Huế"]}}, "field 'answers': expected SQuAD answers, each with its `text`; got"),
        ({"answers": [{"texts": "Huế"}]}, "field 'answers': expected SQuAD answers, each with its `text`; got"),
        ({"is_impossible": "false"}, "field 'is_impossible': expected true or false, got 'false'"),
    ],
    ids=["hub's answers", "nested answers", "is_impossible"],
)
def test_a_field_of_another_schema_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    question = viquad_question("q1", "Huế") | changes
    with pytest.raises(DataError, match=f"row 1, {said}"):
        VIQUAD.read(write(tmp_path, viquad_article("Kinh thành ở Huế.", question)))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param([], "expected SQuAD 2.0 nesting, an object with the list 'data'", id="list"),
        pytest.param({"data": [{"title": "x"}]}, "a list of objects under 'paragraphs'; got None", id="paragraphs"),
        pytest.param({"data": [{"paragraphs": [{"qas": [{"id": "q"}]}]}]}, "", id="question"),
    ],
)
def test_another_nesting_is_an_error_that_names_the_file(tmp_path: Path, document: Any, said: str) -> None:
    write_json(tmp_path / "viquad" / "sample.json", document)
    with pytest.raises(DataError, match="sample.json.*" + said):
        VIQUAD.read(directory(tmp_path))


def test_a_named_split_is_a_file_and_the_default_is_the_validation_file(tmp_path: Path) -> None:
    article = viquad_article("Kinh thành ở Huế.", viquad_question("q1", "Huế"))
    write(tmp_path, article, name="validation")
    write(tmp_path, article, article, name="train")
    assert VIQUAD.read(directory(tmp_path)).split == "validation"
    assert [e.id for e in VIQUAD.read(directory(tmp_path), split="train").examples] == [
        "viquad/train/q1",
        "viquad/train/q1#2",
    ]
    with pytest.raises(DataError, match=r"expected test.json in .*found: train.json, validation.json"):
        VIQUAD.read(directory(tmp_path), split="test")
