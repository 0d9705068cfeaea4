"""Every position of every row is in one entry, and rows share an item where their keys stand in the same slots."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning.packs import Ints
from evalsuite.planning.spans import ALIGNED, StepPlan, fixed_spans, parting_spans

Drawn = tuple[Ints, Ints, Ints]
LENGTHS = st.sampled_from([ALIGNED, 2 * ALIGNED, 4 * ALIGNED])
TOKENS = st.sampled_from([n * ALIGNED + off for n in range(4) for off in (-1, 0, 1)][1:]) | st.integers(1, 5 * ALIGNED)
"""How many: at and beside what is aligned, or any."""


@st.composite
def batches(draw: st.DrawFn) -> Drawn:
    """(slots [rows, width], rows [batch], ends [batch]) of a random prefix tree; the last row is the dummy's."""
    made: list[list[int]] = []
    fresh = iter(range(1, 100_000))
    for _ in range(draw(st.integers(0, 8))):
        parent = draw(st.sampled_from([[], *made]))
        shared = parent[: draw(TOKENS | st.just(0))]
        made.append([*shared, *(next(fresh) for _ in range(draw(TOKENS)))])
    width = max([len(row) for row in made], default=0) + draw(st.integers(1, 3))
    slots = np.zeros((len(made) + 1, width), dtype=np.int32)
    for number, row in enumerate(made):
        slots[number, : len(row)] = row
    places = draw(st.permutations(range(len(made)))) if draw(st.booleans()) else list(range(len(made)))
    places = [*places, *[len(made)] * draw(st.integers(0, 2))]
    ends = [len(made[row]) if row < len(made) else 0 for row in places]
    return slots, np.array(places, dtype=np.int64), np.array(ends, dtype=np.int32)


@st.composite
def plans(draw: st.DrawFn) -> tuple[Drawn, StepPlan, int]:
    drawn, length, most_members = draw(batches()), draw(LENGTHS), draw(st.integers(1, 4))
    if draw(st.booleans()):
        return drawn, fixed_spans(*drawn, length=length, most_members=most_members), most_members
    plan = parting_spans(*drawn, length=length, most_members=most_members, most_cells=10**6)
    return drawn, plan, most_members


def spans_of(plan: StepPlan) -> Iterator[tuple[int, int, int, int, int]]:
    """(cell, place, row, begin, end) of every entry, cell by cell."""
    found = [
        (cell, place, row, begin, end)
        for first, count, begin, end in plan.items.tolist()
        for place, row, cell in plan.entries[first : first + count].tolist()
    ]
    assert len(found) == len(plan.entries)
    yield from sorted(found)


@given(planned=plans())
def test_a_places_cells_are_its_positions_in_order(planned: tuple[Drawn, StepPlan, int]) -> None:
    (_, rows, ends), plan, _ = planned
    found = list(spans_of(plan))
    assert [cell for cell, *_ in found] == list(range(len(found)))
    assert plan.cells[0] == 0 and plan.cells[-1] == len(found)
    for place, end in enumerate(ends.tolist()):
        own = found[plan.cells[place] : plan.cells[place + 1]]
        assert {(at, row) for _, at, row, _, _ in own} <= {(place, rows[place])}
        assert [position for *_, begin, stop in own for position in range(begin, stop)] == list(range(end))
        assert all(begin % ALIGNED == 0 and begin < stop for *_, begin, stop in own)


@given(planned=plans())
def test_rows_of_an_item_have_its_slots_in_common(planned: tuple[Drawn, StepPlan, int]) -> None:
    (slots, _, _), plan, most_members = planned
    for first, count, begin, end in plan.items.tolist():
        assert 1 <= count <= most_members
        places, rows, _ = plan.entries[first : first + count].T
        assert places.tolist() == list(range(places[0], places[0] + count))
        span = slots[rows, begin:end]
        assert span.all() and (span == span[0]).all()


@given(planned=plans())
def test_shared_items_come_first_and_of_each_kind_the_longest(planned: tuple[Drawn, StepPlan, int]) -> None:
    _, plan, _ = planned
    assert (plan.items[: plan.shared, 1] > 1).all() and (plan.items[plan.shared :, 1] == 1).all()
    order = [(count == 1, begin - end) for _, count, begin, end in plan.items.tolist()]
    assert order == sorted(order)


@given(drawn=batches(), length=LENGTHS, most_members=st.integers(1, 4))
def test_fixed_spans_are_a_rows_own_in_any_company(drawn: Drawn, length: int, most_members: int) -> None:
    slots, rows, ends = drawn
    plan = fixed_spans(slots, rows, ends, length=length, most_members=most_members)
    for _, place, _, begin, end in spans_of(plan):
        assert begin % length == 0 and end == min(begin + length, ends[place])


@given(drawn=batches(), length=LENGTHS, most_members=st.integers(1, 4))
def test_fixed_spans_are_shared_wherever_neighbours_have_them(drawn: Drawn, length: int, most_members: int) -> None:
    slots, rows, ends = drawn
    plan = fixed_spans(slots, rows, ends, length=length, most_members=most_members)
    item_of = {
        (begin, place): item
        for item, (first, count, begin, _) in enumerate(plan.items.tolist())
        for place in plan.entries[first : first + count, 0].tolist()
    }
    for (begin, place), item in item_of.items():
        above, end = item_of.get((begin, place - 1)), begin + length
        if above is None or above == item or min(ends[place - 1 : place + 1]) < end:
            continue
        if (slots[rows[place - 1], :end] == slots[rows[place], :end]).all():
            assert plan.items[above, 1] == most_members, "parted for no reason"


@given(drawn=batches(), length=LENGTHS)
def test_parting_spans_read_hardly_more_keys_than_there_are(drawn: Drawn, length: int) -> None:
    """Of rows in the order of a walk through the tree, each slot once, but for the alignment of where rows part."""
    slots, rows, ends = drawn
    order = sorted(range(len(rows)), key=lambda place: slots[rows[place]].tolist())
    rows, ends = rows[order], ends[order]
    plan = parting_spans(slots, rows, ends, length=length, most_members=100, most_cells=10**6)
    read = int((plan.items[:, 3] - plan.items[:, 2]).sum())
    distinct = len({*slots[rows].ravel().tolist()} - {0})
    assert distinct <= read <= distinct + max(len(rows) - 1, 0) * (ALIGNED - 1)


@given(drawn=batches(), length=LENGTHS)
def test_cells_are_never_more_than_there_is_room_for(drawn: Drawn, length: int) -> None:
    slots, rows, ends = drawn
    own = int((-(-ends // length)).sum())
    plan = parting_spans(slots, rows, ends, length=length, most_members=4, most_cells=own)
    assert len(plan.entries) <= own


@pytest.mark.parametrize(("common", "shared"), [(30, 0), (31, 0), (32, 32), (33, 32), (63, 32), (64, 64), (80, 64)])
def test_rows_share_whole_blocks_as_far_as_they_are_alike(common: int, shared: int) -> None:
    slots = np.zeros((3, 90), dtype=np.int32)
    slots[0, :80] = range(1, 81)
    slots[1, :80] = [*range(1, common + 1), *range(100, 180 - common)]
    rows, ends = np.array([0, 1]), np.full(2, 80, dtype=np.int32)
    parting = parting_spans(slots, rows, ends, length=128, most_members=4, most_cells=100)
    assert [(begin, end) for _, count, begin, end in parting.items.tolist() if count == 2] == [(0, shared)][
        : shared > 0
    ]
    fixed = fixed_spans(slots, rows, ends, length=32, most_members=4)
    assert sorted(end for _, count, _, end in fixed.items.tolist() if count == 2) == list(range(32, shared + 1, 32))


def test_slots_that_are_not_there_yet_are_shared_by_nobody() -> None:
    slots, rows, ends = np.zeros((3, 80), dtype=np.int32), np.arange(3), np.full(3, 70, dtype=np.int32)
    for plan in (
        fixed_spans(slots, rows, ends, length=32, most_members=3),
        parting_spans(slots, rows, ends, length=32, most_members=3, most_cells=100),
    ):
        assert not plan.shared and (plan.items[:, 1] == 1).all()


@pytest.mark.parametrize(("batch", "width", "bound"), [(1_024, 640, 0.010), (512, 32_768, 0.060)])
def test_it_takes_less_than_a_step(batch: int, width: int, bound: float) -> None:
    """Rows in groups of five that share all but their last 128 positions; seconds, of the best of ten."""
    slots = np.arange(1, batch * width + 1, dtype=np.int32).reshape(batch, width)
    slots[:, : width - 128] = slots[np.arange(batch) // 5 * 5, : width - 128]
    rows, ends = np.arange(batch), np.full(batch, width, dtype=np.int32)
    for plan in (
        lambda: fixed_spans(slots, rows, ends, length=128, most_members=8),
        lambda: parting_spans(slots, rows, ends, length=256, most_members=8, most_cells=10**6),
    ):
        seconds = []
        for _ in range(10):
            begin = time.process_time()
            plan()
            seconds.append(time.process_time() - begin)
        assert min(seconds) < bound, seconds
