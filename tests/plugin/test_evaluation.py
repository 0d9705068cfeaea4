"""Answering a workload: complete, once each, and only what was asked."""

from types import SimpleNamespace
from typing import Any

import pytest

from evalsuite.errors import EvalsuiteError
from evalsuite.evaluation import Workload, answer, prompt_hash
from evalsuite.types import ChoiceRequest, ChoiceScores, EncodedChoices, GenerationRequest


def workload(*ids: str) -> Workload:
    encoded = [EncodedChoices(id=i, context_ids=(1,) * n, continuation_ids=((2,), (3,))) for n, i in enumerate(ids)]
    task: Any = SimpleNamespace(kind="choice")
    data: Any = None
    return Workload(
        task=task, data=data, uses_chat=False, choices=tuple(encoded), prompt_hashes={}, examples={}, shots_shown={}
    )


def engine(*ids: str) -> Any:
    return SimpleNamespace(score=lambda requests, strategy: (ChoiceScores(id=i, logprobs=(-1.0, -2.0)) for i in ids))


def test_answers_may_come_in_any_order_and_are_seen_as_they_come() -> None:
    seen: list[str] = []
    outcomes = answer(engine("b", "a"), workload("a", "b"), "padded", on_outcome=lambda o: seen.append(o.id))
    assert (sorted(outcomes), seen) == (["a", "b"], ["b", "a"])


@pytest.mark.parametrize(
    ("answered", "message"),
    [
        (["a"], "expected one answer for each of 2 questions, got 1; the first missing is 'b'"),
        (["a", "a"], "'a' answered twice"),
        (["a", "x"], "'x' was never asked"),
        (["a", "b", "a"], "got 2; and then another for 'a'"),
    ],
    ids=["lost", "twice", "unasked", "surplus"],
)
def test_a_strategy_that_loses_or_invents_questions_is_found_out(answered: list[str], message: str) -> None:
    with pytest.raises(EvalsuiteError, match=message):
        answer(engine(*answered), workload("a", "b"), "padded")


def test_a_part_of_a_workload_keeps_order_and_lengths() -> None:
    part = workload("a", "b", "c").only({"c", "a"})
    assert (part.ids, part.lengths, len(part)) == (["a", "c"], {"a": 2, "c": 4}, 2)


def test_a_prompt_s_hash_covers_choices_and_does_not_run_parts_together() -> None:
    def hash_of(context: str, *continuations: str) -> str:
        return prompt_hash(ChoiceRequest(id="q", context=context, continuations=continuations))

    assert hash_of("ab", " A", " B") == hash_of("ab", " A", " B")
    assert len({hash_of("ab", " A"), hash_of("a", "b A"), hash_of("ab", " A", " B"), hash_of("ab", " B", " A")}) == 4
    assert len(prompt_hash(GenerationRequest(id="q", prompt="\ud800", max_new_tokens=1))) == 16
