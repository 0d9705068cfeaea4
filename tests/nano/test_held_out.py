"""What is held out is never trained on."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

import pytest

from evalsuite.nano import DATA_DIR
from evalsuite.nano import documents as d
from evalsuite.nano.documents import Document
from evalsuite.nano.grading import MAKERS
from evalsuite.nano.samples import held_out_ids
from evalsuite.nano.seen import sample_documents, sample_examples
from evalsuite.nano.split import HELD_OUT_SHARE, is_held_out
from evalsuite.nano.stream import draw_document
from evalsuite.tasks import Example
from evalsuite.tasks.cleaning import desegment

DRAWN = 5_000
_LINE = re.compile(r"(?:^|\s)([A-E])\. (.*?)(?=\s+[A-E]\. |\s*$)", re.DOTALL)
_EXAM_HEAD = re.compile(r"\A(?:Mark the letter [^\n]*\n+)?(?:Question \d+: )?")


def question_presentation(body: str) -> str:
    """The stem and the choices in the order of their letters, out of a rendered question."""
    question = _EXAM_HEAD.sub("", body.rsplit("\n", 1)[0]).replace("\u0085", " ")
    choices = sorted(_LINE.findall(question))
    stem = question[: _LINE.search(question).start()]  # type: ignore[union-attr]
    return "\n".join((stem, *(text for _, text in choices)))


def raw_articles() -> dict[str, str]:
    lines = (DATA_DIR / "vietnews/test.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    clean = {"\u200b": "", "\u2028": " "}
    articles = (re.sub("[\u200b\u2028]", lambda m: clean[m.group()], row["article"]) for row in rows)
    return {f"vietnews/test/{n}": article for n, article in enumerate(articles, start=1)}


def presentation(task: str, example: Example) -> str:
    if task == "vietnews":
        return raw_articles()[example.id]
    return example.fields["context"] if task == "viquad" else question_presentation(example.body)


@pytest.fixture(scope="module")
def stream() -> list[Document]:
    rng = random.Random(11)
    mixtures = ("early", "late", "late", "late", "lessons", "revision", "revision")
    return [draw_document(rng, mixtures[index % len(mixtures)]) for index in range(DRAWN)]


@pytest.mark.parametrize("task", ["mmlu", "vmlu", "vnhsge", "viquad", "vietnews"])
def test_the_rule_tells_the_two_sides_of_the_sample_apart(task: str) -> None:
    unseen = held_out_ids(DATA_DIR)
    sides = {e.id: is_held_out(presentation(task, e)) for e in sample_examples(DATA_DIR)[task]}
    assert sides == {identifier: identifier in unseen for identifier in sides}


def test_the_stream_draws_no_held_out_presentation(stream: list[Document]) -> None:
    presentations = [p for document in stream for p in document.presentations]
    assert len(presentations) > DRAWN / 2
    assert not any(map(is_held_out, presentations))


def test_documents_state_what_they_present(stream: list[Document]) -> None:
    """Or the rule would look at texts that are not the ones trained on."""
    for document in stream:
        if document.kind in ("mmlu", "vmlu", "vnhsge"):
            text = "".join(document.parts).replace("\u0085", " ")
            assert all(p.split("\n")[0] in text for p in document.presentations)
        if document.kind in ("viquad", "grade viquad"):
            assert all(p in "".join(document.parts) for p in document.presentations)
        if document.kind in ("vietnews", "grade vietnews"):
            assert all(desegment(p) in "".join(document.parts) for p in document.presentations)


def test_no_held_out_question_stands_in_the_stream(stream: list[Document]) -> None:
    unseen = held_out_ids(DATA_DIR)
    examples = sample_examples(DATA_DIR)
    bodies = [e.body for found in examples.values() for e in found if e.id in unseen]
    bodies += [e.fields["context"] for e in examples["viquad"] if e.id in unseen]
    bodies += [e.fields["article"] for e in examples["vietnews"] if e.id in unseen]
    text = "\x00".join("".join(document.parts) for document in [*stream, *sample_documents(DATA_DIR, held_out=False)])
    assert len(bodies) > 250
    assert not any(body in text for body in bodies)


def test_the_seen_half_is_trained_on_word_for_word() -> None:
    unseen = held_out_ids(DATA_DIR)
    trained = {document.parts[0] for document in sample_documents(DATA_DIR, held_out=False)}
    seen = [e for found in sample_examples(DATA_DIR).values() for e in found if e.id not in unseen]
    assert {e.description + e.body for e in seen} == trained


@pytest.mark.parametrize("maker", [d.mmlu, d.vmlu, d.vnhsge, d.viquad, d.vietnews, *MAKERS.values()])
def test_a_maker_draws_on_the_side_it_is_asked_for(maker: Callable[..., Document]) -> None:
    rng = random.Random(3)
    for side in (True, False):
        presentations = [p for _ in range(20) for p in maker(rng, held_out=side).presentations]
        assert {is_held_out(p) for p in presentations} == {side}


def test_the_rule_holds_out_its_share() -> None:
    share = sum(is_held_out(str(n)) for n in range(8_000)) / 8_000
    assert share == pytest.approx(1 / HELD_OUT_SHARE, rel=0.1)
