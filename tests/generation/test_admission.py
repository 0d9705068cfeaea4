"""Plans of which prompts are read together: each pack finds room in an empty pool, and no order costs much reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalsuite.errors import RequestError
from evalsuite.generation import _admission
from evalsuite.generation._admission import Count, Limits, plan, tokens_at_once
from evalsuite.planning.packs import Pack
from evalsuite.planning.prefix_tree import tree_size
from evalsuite.types import EncodedPrompt

# Few tokens, so that prompts share beginnings and end in the midst of one another.
prompt = st.lists(st.integers(2, 5), min_size=1, max_size=14).map(tuple)
ends = st.sampled_from([(), (), (2,), (3, 4)])


@st.composite
def request_lists(draw: st.DrawFn) -> list[EncodedPrompt]:
    """Up to 40, equal prompts among them."""
    body = st.sampled_from(draw(st.lists(prompt, min_size=1, max_size=8)))
    most_new = draw(st.sampled_from([1, 2, 7, 30]))
    count = draw(st.integers(1, 40))
    parts = draw(st.lists(st.tuples(body, ends, st.integers(1, most_new)), min_size=count, max_size=count))
    return [request(i, (*body, *end), new) for i, (body, end, new) in enumerate(parts)]


def request(number: int, prompt: Sequence[int], new_tokens: int) -> EncodedPrompt:
    return EncodedPrompt(id=str(number), prompt_ids=tuple(prompt), max_new_tokens=new_tokens)


def limits(slots: int, **given: Any) -> Limits:
    return Limits(**{"rows": 4, "slots": slots, "token_budget": 64, "max_sites": None, "steps": 1} | given)


def planned(batch: Sequence[EncodedPrompt], given: Limits, *, empty: bool = True) -> Iterator[tuple[Pack, list[int]]]:
    """All packs of all requests, each with the requests that end in it."""
    plan_ = plan(batch, range(len(batch)), given, token_budget=given.token_budget, empty=empty)
    while (pack := plan_.peek()) is not None:
        yield pack, plan_.numbers
        plan_.ahead = None


def fed(requests: Sequence[EncodedPrompt]) -> int:
    return sum(request.max_new_tokens - 1 for request in requests)


def all_tokens(batch: Sequence[EncodedPrompt]) -> int:
    prompts = [request.prompt_ids for request in batch]
    return tree_size(prompts).distinct_tokens + len(prompts) - len(set(prompts)) + fed(batch)


@given(
    batch=request_lists(),
    done=st.integers(0, 39),
    rows=st.integers(1, 12),
    token_budget=st.integers(1, 200),
    max_sites=st.none() | st.integers(1, 4),
    spare=st.integers(0, 60),
)
@example(  # a pack of two would be larger than the pool
    batch=[request(0, (2,) * 9, 1), request(1, (3,) * 9, 1)],
    done=0,
    rows=2,
    token_budget=200,
    max_sites=None,
    spare=0,
)
@example(  # many rows that write much
    batch=[request(i, (2 + i,) * 9, 30) for i in range(12)],
    done=0,
    rows=12,
    token_budget=200,
    max_sites=None,
    spare=0,
)
@example(  # a pack that goes on from almost the longest prompt
    batch=[request(0, (2,) * 14, 2), request(1, (*(2,) * 13, 3, 3), 2)],
    done=0,
    rows=2,
    token_budget=200,
    max_sites=1,
    spare=0,
)
def test_a_pack_with_what_its_rows_write_fits_into_an_empty_pool_however_small(
    batch: list[EncodedPrompt], done: int, rows: int, token_budget: int, max_sites: int | None, spare: int
) -> None:
    waiting = list(range(len(batch)))[min(done, len(batch) - 1) :]
    longest = max(len(batch[number].prompt_ids) for number in waiting)
    slots = longest + 2 * max(batch[number].max_new_tokens for number in waiting) + spare
    given = limits(1 + slots, rows=rows, max_sites=max_sites)
    plan_ = plan(batch, waiting, given, token_budget=token_budget, empty=False)
    read: list[int] = []
    while (pack := plan_.peek()) is not None:
        assert pack.carried + pack.used + fed([batch[number] for number in plan_.numbers]) <= slots
        assert pack.used <= plan_.token_budget <= token_budget
        assert len(plan_.numbers) <= rows
        read += plan_.numbers
        plan_.ahead = None
    assert sorted(read) == waiting


@given(batch=request_lists(), token_budget=st.integers(1, 40), max_sites=st.none() | st.integers(1, 4))
@example(batch=[request(i, (2, 3, 4), 1) for i in range(5)], token_budget=40, max_sites=1)
def test_with_rows_for_all_the_pool_that_is_asked_for_holds_all_packs_at_once(
    batch: list[EncodedPrompt], token_budget: int, max_sites: int | None
) -> None:
    slots = tokens_at_once(batch, rows=len(batch), token_budget=token_budget)
    given = limits(1 + slots, rows=len(batch), token_budget=token_budget, max_sites=max_sites)
    assert sum(pack.used for pack, _ in planned(batch, given)) + fed(batch) <= slots


@given(batch=request_lists(), rows=st.integers(1, 12), token_budget=st.integers(1, 40))
@example(batch=[request(0, (2, 3, 4), 9)], rows=1, token_budget=1)
def test_the_pool_that_is_asked_for_has_room_for_a_plan_that_is_made_anew_while_slots_are_in_use(
    batch: list[EncodedPrompt], rows: int, token_budget: int
) -> None:
    given = limits(1 + tokens_at_once(batch, rows=rows, token_budget=token_budget), rows=rows)
    assert sum(len(numbers) for _, numbers in planned(batch, given, empty=False)) == len(batch)


def test_one_answer_that_may_get_long_leaves_the_packs_of_short_ones_as_they_are() -> None:
    short = [request(i, (2 + i,) * 8, 2) for i in range(64)]
    long = request(64, (100,) * 8, 400)
    given = {"rows": 32, "token_budget": 64}
    alone, beside = (
        [numbers for _, numbers in planned(batch, limits(1 + 8 + 800, **given), empty=False)]
        for batch in (short, [*short, long])
    )
    assert max(len(numbers) for numbers in alone) == 8
    assert beside == [[64], *alone]


def test_where_not_all_are_at_it_at_once_a_pack_has_a_quarter_of_the_rows_at_most() -> None:
    batch = [request(i, (2 + i,), 2) for i in range(17)]
    for rows, most in ((16, 4), (17, 17)):
        assert max(len(numbers) for _, numbers in planned(batch, limits(10_000, rows=rows))) == most


def order(new_tokens: Sequence[int], *, slots: int = 10_000, **given: Any) -> list[int]:
    """New tokens of prompts that share nothing, in the order in which they are read."""
    batch = [request(i, (2 + i,), new) for i, new in enumerate(new_tokens)]
    return [new_tokens[number] for _, numbers in planned(batch, limits(slots, **given)) for number in numbers]


def test_answers_that_may_get_long_come_first_and_those_at_most_twice_as_long_as_others_are_one_group() -> None:
    assert order([4, 7, 8, 5, 15, 6, 1, 9]) == [8, 15, 9, 4, 7, 5, 6, 1]


def test_with_rows_and_slots_for_all_prompts_are_read_in_the_order_of_their_tree() -> None:
    assert order([4, 7, 8, 1], rows=4) == [4, 7, 8, 1]
    all_of_them = 4 + 3 + 6 + 7 + 0
    assert order([4, 7, 8, 1], rows=4, slots=1 + all_of_them) == [4, 7, 8, 1]
    assert order([4, 7, 8, 1], rows=4, slots=all_of_them) == [8, 4, 7, 1]


@pytest.mark.parametrize(("shared", "order"), [(2, [1, 0, 2]), (3, [0, 1, 2])])
def test_groups_are_parted_where_no_more_than_one_token_in_fifty_is_read_again_for_it(
    shared: int, order: list[int]
) -> None:
    beginning, other = (2,) * shared, (3,) * (98 - shared)
    batch = [request(0, (*beginning, 4), 4), request(1, (*beginning, 5), 9), request(2, other, 4)]
    assert tree_size(r.prompt_ids for r in batch).distinct_tokens == 100
    assert [number for _, numbers in planned(batch, limits(10_000, rows=2)) for number in numbers] == order


@given(batch=request_lists(), at_most=st.integers(1, 600))
@example(batch=[request(0, (2,) * 5, 1)], at_most=8)
def test_tokens_are_counted_as_the_prefix_trees_of_all_and_of_each_group_have_them(
    batch: list[EncodedPrompt], at_most: int
) -> None:
    groups: dict[int, list[tuple[int, ...]]] = {}
    for r in batch:
        groups.setdefault(r.max_new_tokens.bit_length(), []).append(r.prompt_ids)
    together, apart = Count(batch).together_and_apart
    assert together == tree_size(r.prompt_ids for r in batch).distinct_tokens
    assert apart == sum(tree_size(prompts).distinct_tokens for prompts in groups.values())
    assert Count(batch).tokens(at_most=at_most) == min(all_tokens(batch), at_most)


@pytest.mark.parametrize(
    ("new_tokens", "walks"),
    [
        pytest.param([50, 50], 0, id="what will be fed is too much already"),
        pytest.param([50, 100], 1, id="two groups, which may share much"),
        pytest.param([1, 2], 1, id="two groups, and all of it may fit"),
    ],
)
def test_a_plan_walks_the_prefix_tree_once_at_most(
    monkeypatch: pytest.MonkeyPatch, new_tokens: list[int], walks: int
) -> None:
    batch = [request(i, (2 + i, 3), new_tokens[i % 2]) for i in range(40)]
    real, walked = _admission.depth_first, []

    def counted(prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, bytes, int]]:
        walked.append(len(prompts))
        return real(prompts)

    monkeypatch.setattr(_admission, "depth_first", counted)
    plan(batch, range(40), limits(500), token_budget=64, empty=True)
    assert walked == [40] * walks


@pytest.mark.parametrize("new_tokens", [1, 2, 9])
def test_a_pool_holds_the_longest_prompt_and_twice_the_most_new_tokens_or_is_refused(new_tokens: int) -> None:
    batch = [request(0, (2, 3, 4, 5, 2), new_tokens), request(1, (2,) * 3, 1)]
    assert len(list(planned(batch, limits(1 + 5 + 2 * new_tokens), empty=False))) > 0
    with pytest.raises(RequestError, match=f"the longest request has 5 with {new_tokens} to come"):
        plan(batch, [0, 1], limits(5 + 2 * new_tokens), token_budget=64, empty=False)
