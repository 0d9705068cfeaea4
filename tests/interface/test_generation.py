"""ViQuAD answers and VietNews summaries for texts of the caller: in order, batched or not; what cannot be is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.vietnews_summarization_eval import generate_vietnews_summaries_batched
from benchmarks.viquad_eval import generate_viquad_answers_batched
from evalsuite.errors import ConfigError, RequestError
from evalsuite.nano import DATA_DIR
from evalsuite.runner import ModelRunner
from evalsuite.tasks import TASKS, DataSource
from tests.interface.conftest import Pair

BATCHING = pytest.mark.parametrize("use_batching", [True, False], ids=["batched", "unbatched"])


def sample(task: str, count: int) -> list[Any]:
    """Examples of nano's sample, as the task reads them."""
    return list(TASKS[task].read(DataSource(kind="directory", path=str(DATA_DIR))).examples[:count])


@BATCHING
def test_viquad_answers_stand_in_the_order_of_their_questions(nano: Pair, use_batching: bool) -> None:
    examples = [e for e in sample("viquad", 30) if e.group == "answerable"][:12]
    examples.sort(key=lambda e: len(e.body) % 7)  # lengths in no order
    contexts, questions = ([e.fields[part] for e in examples] for part in ("context", "question"))
    found = generate_viquad_answers_batched(*nano, contexts, questions, use_batching=use_batching)
    assert found == [e.gold[0] for e in examples]


def test_a_question_without_an_answer_gets_the_models_own_words(nano: Pair) -> None:
    example = next(e for e in sample("viquad", 84) if e.group == "unanswerable")
    found = generate_viquad_answers_batched(*nano, [example.fields["context"]], [example.fields["question"]])
    assert found == ["không có câu trả lời"]


@BATCHING
def test_vietnews_summaries_stand_in_the_order_of_their_articles(nano: Pair, use_batching: bool) -> None:
    lines = (DATA_DIR / "vietnews/test.jsonl").read_text("utf-8").strip("\n").split("\n")
    rows = [row for row in map(json.loads, lines) if row["article"] and row["abstract"]][:6]
    golds = {e.fields["article"]: e.gold[0] for e in sample("vietnews", 24)}
    found = generate_vietnews_summaries_batched(*nano, [row["article"] for row in rows], use_batching=use_batching)
    assert found == list(golds.values())[:6]  # released articles are segmented: `Hà_Nội`
    assert found == generate_vietnews_summaries_batched(*nano, list(golds)[:6])  # and cleaned ones do as well


@pytest.mark.parametrize("batch_size", [None, 8, 4, 1])
def test_batch_size_is_the_most_prompts_that_are_answered_at_once(
    nano: Pair, monkeypatch: pytest.MonkeyPatch, batch_size: int | None
) -> None:
    together = []
    forward = ModelRunner.forward

    def counted(runner: ModelRunner, input_ids: Any, **inputs: Any) -> Any:
        together.append(input_ids.numel())  # a step feeds a token of each
        return forward(runner, input_ids, **inputs)

    monkeypatch.setattr(ModelRunner, "forward", counted)
    questions = [f"{n}?" for n in range(10)]
    generate_viquad_answers_batched(*nano, ["x"] * 10, questions, max_new_tokens=4, batch_size=batch_size)
    assert max(together) == (batch_size or 10)


def test_max_new_tokens_ends_an_answer(nano: Pair) -> None:
    example = sample("viquad", 1)[0]
    pair = [example.fields["context"]], [example.fields["question"]]
    (whole,) = generate_viquad_answers_batched(*nano, *pair)
    (short,) = generate_viquad_answers_batched(*nano, *pair, max_new_tokens=1)
    assert whole.startswith(short)
    assert short != whole


@BATCHING
def test_no_new_tokens_are_an_empty_answer(nano: Pair, use_batching: bool) -> None:
    assert generate_vietnews_summaries_batched(*nano, ["x"], max_new_tokens=0, use_batching=use_batching) == [""]


def test_nothing_asked_is_nothing_answered(nano: Pair) -> None:
    assert generate_viquad_answers_batched(*nano, [], []) == []
    assert generate_vietnews_summaries_batched(*nano, []) == []


def test_lists_that_do_not_belong_together_are_refused(nano: Pair) -> None:
    with pytest.raises(RequestError, match=r"expected as many contexts as questions, got 1 and 2; repeat the passage"):
        generate_viquad_answers_batched(*nano, ["x"], ["y", "z"])
    with pytest.raises(RequestError, match=r"contexts: expected a list of texts, got one text"):
        generate_viquad_answers_batched(*nano, "x", ["y"])
    with pytest.raises(RequestError, match=r"questions\[1\]: expected text, got nan"):
        generate_viquad_answers_batched(*nano, ["x", "x"], ["y", float("nan")])
    with pytest.raises(RequestError, match=r"articles\[1\]: expected an article, got an empty text"):
        generate_vietnews_summaries_batched(*nano, ["x", " \n"])
    with pytest.raises(RequestError, match=r"max_new_tokens: expected at least 0, got -1"):
        generate_vietnews_summaries_batched(*nano, ["x"], max_new_tokens=-1)


def test_questions_of_ones_own_have_no_shots(nano: Pair) -> None:
    with pytest.raises(ConfigError, match=r"a question of your own has no solved ones .*shots=2"):
        generate_viquad_answers_batched(*nano, ["x"], ["y"], shots=2)
    with pytest.raises(ConfigError, match=r"a question of your own has no solved ones .*shots=2"):
        generate_vietnews_summaries_batched(*nano, ["x"], shots=2)
