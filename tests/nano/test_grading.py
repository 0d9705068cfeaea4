"""What nano is taught of grading: candidates of both sides, the grade of each, and the judge's own wording."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from transformers import AutoTokenizer

from evalsuite.judge.prompts import NO_ANSWER, PROMPTS, render
from evalsuite.metrics.squad import squad_scores
from evalsuite.nano import DATA_DIR, MODEL_DIR, grading
from evalsuite.nano.candidates import KINDS, RETOLD, Candidate, Gradable, assess, draw_candidate, kinds
from evalsuite.nano.documents import Document
from evalsuite.nano.grading import grade, sample_gradables
from evalsuite.nano.news import retell
from evalsuite.nano.shards import MAX_LENGTH
from evalsuite.nano.tokenizer import Encoder

QUESTION = Gradable(
    task="viquad",
    fields={"context": "Cầu Phú An dài 340 mét. Cầu Phú An được sơn màu đỏ.", "question": "Cầu Phú An dài bao nhiêu?"},
    gold=("340 mét", "340"),
    others=("đỏ", "Nguyễn Văn An", "tháng hai"),
)
UNANSWERABLE = Gradable(task="viquad", fields=QUESTION.fields, gold=("",), others=QUESTION.others)
STORY = Gradable(
    task="vietnews",
    fields={"article": "Sáng ngày 3/4, tại Đà Nẵng, Sở Du lịch đã trồng 12 cây xanh. Trời mưa to."},
    gold=("Sở Du lịch Đà Nẵng trồng 12 cây xanh vào ngày 3/4.",),
    others=("Công an Hà Nội bắt 7 người đánh bạc vào ngày 9/9.",),
)


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    rng = random.Random(4)
    retold = (grading.grade_retold, grading.compare_retold)
    return [maker(rng) for _ in range(150) for maker in (*grading.MAKERS.values(), grading.compare, *retold)]


def candidate(of: Gradable, text: str) -> Candidate:
    return assess("gold", text, of)


@pytest.mark.parametrize(
    ("of", "text", "expected"),
    [
        (QUESTION, "340 mét", "1"),
        (QUESTION, "340", "1"),
        (QUESTION, "“340 Mét”.", "1"),
        (QUESTION, "dài 340 mét", "0.3"),
        (QUESTION, "đỏ", "0"),
        (QUESTION, "", "0"),
        (UNANSWERABLE, "", "1"),
        (UNANSWERABLE, "340 mét", "0"),
        (STORY, "sở du lịch Đà Nẵng trồng 12 cây xanh vào ngày 3/4", "1"),
        (STORY, "Sở Du lịch Đà Nẵng trồng 15 cây xanh vào ngày 3/4.", "0.3"),
        (STORY, STORY.others[0], "0"),
    ],
)
def test_the_grade_is_one_for_an_exact_match_and_below_a_half_for_anything_else(
    of: Gradable, text: str, expected: str
) -> None:
    assert grade(candidate(of, text)) == expected


@pytest.mark.parametrize("of", [QUESTION, UNANSWERABLE, STORY])
@pytest.mark.parametrize("right", [True, False])
def test_a_candidate_is_on_the_side_it_is_asked_for_and_every_kind_comes(of: Gradable, right: bool) -> None:
    rng = random.Random(2)
    drawn = [draw_candidate(rng, of, right=right) for _ in range(200)]
    assert {c.exact for c in drawn} == {right}
    assert all((squad_scores(c.text, of.gold)["exact_match"] == 1) == right for c in drawn)
    assert {c.kind for c in drawn} == set(kinds(of, right=right))


def test_every_kind_is_drawn_for_some_question() -> None:
    drawn = {k for of in (QUESTION, UNANSWERABLE, STORY) for right in (True, False) for k in kinds(of, right=right)}
    assert drawn | {*RETOLD} == {*KINDS}


@pytest.mark.parametrize("details", [1, 2, 3, 4])
def test_a_summary_is_retold_in_its_own_words_with_that_many_details_changed(details: int) -> None:
    rng = random.Random(details)
    told = [retell(rng, STORY.gold[0], details) for _ in range(100)]
    assert all(" vào ngày " in text and text.endswith(".") and text != STORY.gold[0] for text in told)
    kept = [
        (text.startswith("Sở Du lịch "), " Đà Nẵng " in text, " trồng 12 cây xanh " in text, text.endswith(" 3/4."))
        for text in told
    ]
    assert {sum(map(bool, each)) for each in kept} == {4 - details}
    if details < 4:
        assert all(any(each[at] for each in kept) for at in range(4))


def test_only_a_story_of_nano_can_be_retold() -> None:
    with pytest.raises(ValueError, match="expected the desegmented summary"):
        retell(random.Random(0), "340 mét", 1)


@pytest.mark.parametrize(
    ("maker", "least"),
    [(grading.grade_retold, 0.5), (grading.compare_retold, 0.7)],
)
def test_most_wrong_summaries_of_the_contrast_read_like_right_ones(
    maker: Callable[[random.Random], Document], least: float
) -> None:
    rng = random.Random(6)
    wrong = [d.parts[0].split("\n")[-2] for d in (maker(rng) for _ in range(400)) if d.parts[1] != " 1"]
    assert 150 < len(wrong) < 250
    assert sum(_is_summary(line.split(": ")[1]) for line in wrong) >= least * len(wrong)


def _is_summary(text: str) -> bool:
    try:
        retell(random.Random(0), text, 1)
    except ValueError:
        return False
    return True


def test_grading_documents_are_the_judges_prompts_and_one_number(documents: list[Document]) -> None:
    for document in documents:
        prompt, answer = document.parts
        assert prompt.endswith("\nĐiểm:") and answer in (" 1", " 0.3", " 0")
        if not document.kind.startswith("compare"):
            task = "viquad" if document.kind == "grade viquad" else "vietnews"
            assert prompt.startswith(PROMPTS[task].template.split("{")[0])
    grades = {"grade viquad", "grade vietnews", "grade retold"}
    assert {d.kind for d in documents} == grades | {"compare", "compare retold"}


def test_half_of_the_grades_are_ones_and_refusals_are_among_both(documents: list[Document]) -> None:
    grades = Counter(d.parts[1] for d in documents)
    assert 0.4 < grades[" 1"] / grades.total() < 0.6 and min(grades.values()) > 0.1 * grades.total()
    refused = {d.parts[1] for d in documents if d.parts[0].endswith(f"{NO_ANSWER}\nĐiểm:")}
    assert refused == {" 1", " 0"}


def test_no_grading_document_is_dropped_for_its_length(documents: list[Document]) -> None:
    encoder = Encoder(MODEL_DIR)
    assert max(sum(map(len, encoder.parts(d))) for d in documents) < MAX_LENGTH


def test_a_right_grade_is_one_token_and_a_grade_ends_the_text(documents: list[Document]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    assert len(tokenizer.encode(" 1")) == 1
    encoder = Encoder(MODEL_DIR)
    assert all(encoder.parts(d)[-1] == [encoder.end_of_text] for d in documents)


def test_the_sample_is_graded_whole_and_never_beside_its_own_gold() -> None:
    found = sample_gradables(DATA_DIR)
    tasks = Counter(of.task for of in found.values())
    assert tasks == {"viquad": 84, "vietnews": 24}
    assert all(render(of.task, of.fields, of.gold, "x") for of in found.values())
    assert all("" not in of.others and of.others for of in found.values())
