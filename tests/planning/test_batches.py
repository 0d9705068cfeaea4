from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning.batches import batches_by_length

lengths = st.lists(st.integers(1, 50), max_size=40)
budgets = st.integers(1, 200)
sizes = st.none() | st.integers(1, 7)


@given(lengths, budgets, sizes)
def test_every_index_is_in_exactly_one_batch(lengths: list[int], budget: int, size: int | None) -> None:
    batches = batches_by_length(lengths, token_budget=budget, batch_size=size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths, budgets, sizes)
def test_a_batch_of_several_keeps_budget_and_size(lengths: list[int], budget: int, size: int | None) -> None:
    for batch in batches_by_length(lengths, token_budget=budget, batch_size=size):
        if len(batch) > 1:
            assert len(batch) * max(lengths[i] for i in batch) <= budget
            assert size is None or len(batch) <= size


@given(lengths, budgets, sizes)
def test_longest_first_and_no_batch_could_take_the_next_row(lengths: list[int], budget: int, size: int | None) -> None:
    batches = batches_by_length(lengths, token_budget=budget, batch_size=size)
    order = [lengths[i] for batch in batches for i in batch]
    assert order == sorted(order, reverse=True)
    for batch in batches[:-1]:
        rows = len(batch) + 1
        assert rows * lengths[batch[0]] > budget or (size is not None and rows > size)
