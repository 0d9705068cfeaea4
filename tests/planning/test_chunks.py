"""Every chunk of every row is in one item, and rows share an item where their keys stand in the same slots."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning.chunks import decode_items
from evalsuite.planning.packs import Ints

Drawn = tuple[Ints, Ints]


def lasts_of(slots: Ints, chunk: int) -> Ints:
    """Slots at the last position of each whole chunk."""
    return slots[:, chunk - 1 :: chunk]


@st.composite
def tables(draw: st.DrawFn) -> Drawn:
    """(slots [batch, width], ends [batch]) of a random prefix tree."""
    rows: list[list[int]] = []
    fresh = iter(range(1, 10_000))
    for _ in range(draw(st.integers(0, 8))):
        parent = draw(st.sampled_from([[], *rows]))
        shared = parent[: draw(st.integers(0, len(parent)))]
        rows.append([*shared, *(next(fresh) for _ in range(draw(st.integers(0, 14))))])
    width = max([len(row) for row in rows], default=0) + draw(st.integers(0, 3))
    slots = np.zeros((len(rows), width), dtype=np.int32)
    for place, row in enumerate(rows):
        slots[place, : len(row)] = row
    return slots, np.array([len(row) for row in rows], dtype=np.int32)


@given(drawn=tables(), chunk=st.integers(1, 6), most_members=st.integers(1, 4))
def test_every_chunk_of_every_row_is_in_one_item(drawn: Drawn, chunk: int, most_members: int) -> None:
    slots, ends = drawn
    items, members = decode_items(lasts_of(slots, chunk), ends, chunk, most_members)
    held = sorted((number, place) for first, n, number in items for place in members[first : first + n])
    assert held == sorted((number, place) for place, end in enumerate(ends) for number in range(-(-end // chunk)))
    assert sorted(index for first, n, _ in items for index in range(first, first + n)) == list(range(len(members)))


@given(drawn=tables(), chunk=st.integers(1, 6), most_members=st.integers(1, 4))
def test_rows_share_a_chunk_just_where_it_is_the_same(drawn: Drawn, chunk: int, most_members: int) -> None:
    slots, ends = drawn
    items, members = decode_items(lasts_of(slots, chunk), ends, chunk, most_members)
    item_of = {
        (int(number), int(place)): index
        for index, (first, n, number) in enumerate(items)
        for place in members[first : first + n]
    }
    sizes = items[:, 1]
    assert sizes.max(initial=1) <= most_members
    for first, n, number in items:
        places = members[first : first + n]
        assert places.tolist() == list(range(places[0], places[0] + n))
        if n > 1:
            span = slots[places, number * chunk : (number + 1) * chunk]
            assert span.shape[1] == chunk and (ends[places] >= (number + 1) * chunk).all()
            assert (span == span[0]).all()
    for (number, place), index in item_of.items():
        above = item_of.get((number, place - 1))
        end = (number + 1) * chunk
        if above is None or above == index or min(ends[place - 1 : place + 1]) < end:
            continue
        if (slots[place - 1, :end] == slots[place, :end]).all():
            assert sizes[above] == most_members, "parted for no reason"


@given(drawn=tables(), chunk=st.integers(1, 6), most_members=st.integers(1, 4))
def test_shared_items_come_first_and_then_chunk_by_chunk(drawn: Drawn, chunk: int, most_members: int) -> None:
    items, members = decode_items(lasts_of(drawn[0], chunk), drawn[1], chunk, most_members)
    order = [(n == 1, number, members[first]) for first, n, number in items.tolist()]
    assert order == sorted(order)


def test_slots_that_are_not_there_yet_are_shared_by_nobody() -> None:
    items, _ = decode_items(np.zeros((3, 2), dtype=np.int32), np.full(3, 8, dtype=np.int32), 4, 3)
    assert (items[:, 1] == 1).all()


@pytest.mark.parametrize(("batch", "chunks", "bound"), [(1_024, 5, 0.005), (512, 256, 0.030)])
def test_it_takes_less_than_a_step(batch: int, chunks: int, bound: float) -> None:
    """Rows that share all but their last chunk; seconds, of the best of ten."""
    slots = np.arange(1, batch * chunks * 128 + 1, dtype=np.int32).reshape(batch, -1)
    slots[:, : (chunks - 1) * 128] = slots[0, : (chunks - 1) * 128]
    ends = np.full(batch, chunks * 128, dtype=np.int32)
    seconds = []
    for _ in range(10):
        begin = time.process_time()
        decode_items(lasts_of(slots, 128), ends, 128, 8)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < bound
