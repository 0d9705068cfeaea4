"""Rows hold every choice once, in place, and no more rows than choices need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning.rows import ScoringRow, row_per_choice, shared_rows
from evalsuite.types import EncodedChoices

token = st.integers(0, 2)
requests = st.builds(
    lambda context, choices: EncodedChoices(id="q", context_ids=tuple(context), continuation_ids=tuple(choices)),
    st.lists(token, min_size=1, max_size=4),
    st.lists(st.lists(token, min_size=1, max_size=4).map(tuple), min_size=1, max_size=10),
)


def holds(row: ScoringRow, request: EncodedChoices, index: int) -> bool:
    """Whether the logits for choice `index` are all at `first_read` and after."""
    continuation = request.continuation_ids[index]
    fed = request.context_ids + continuation[:-1]
    return row.input_ids[: len(fed)] == fed and row.first_read == len(request.context_ids) - 1


@pytest.mark.parametrize("plan", [row_per_choice, shared_rows])
@given(request_=requests)
def test_each_choice_is_read_once_from_a_row_that_holds_it(plan, request_: EncodedChoices) -> None:  # type: ignore[no-untyped-def]
    rows = list(plan(request_))
    read = [(row, index, ids) for row in rows for index, ids in row.choices]
    assert sorted(index for _, index, _ in read) == list(range(len(request_.continuation_ids)))
    for row, index, ids in read:
        assert ids == request_.continuation_ids[index]
        assert holds(row, request_, index)


@given(requests)
def test_no_shared_row_is_a_prefix_of_another(request: EncodedChoices) -> None:
    rows = [row.input_ids for row in shared_rows(request)]
    for i, left in enumerate(rows):
        assert not any(right[: len(left)] == left for j, right in enumerate(rows) if i != j)


def test_the_four_letters_of_a_question_share_one_row_of_its_context() -> None:
    request = EncodedChoices(id="q", context_ids=(7, 8, 9), continuation_ids=((1,), (2,), (3,), (4,)))
    (row,) = shared_rows(request)
    assert row.input_ids == (7, 8, 9)
    assert row.first_read == 2
