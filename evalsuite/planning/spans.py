"""Work of one step of decoding: the spans of positions that rows attend to, each once for the rows that share it.

A slot stands for a node of the prefix tree of all prompts, so two rows whose slots are equal at a position have equal
slots from the root to there. Rows that share a span read its keys once and stand in one tile beside each other; what a
row gets from each of its spans goes into a cell of its own, and its cells are merged in the order of positions.

There are two ways to cut. Spans at fixed positions depend on nothing but the row, so that it has the same bits in any
company. Spans that end where rows part leave the fewest keys to be read and the fewest cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalsuite.planning.packs import Ints

Indices = npt.NDArray[np.integer[Any]]

ALIGNED = 32
"""Spans begin at multiples of it, as the blocks of keys that a kernel reads. A span that is shared is also at least so
long: what two more cells cost is as much as reading a dozen keys."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Items of work for one batch. A place's cells are neighbours, in the order of positions."""

    items: Ints
    """[n, 4]: first entry, entries, first position, position behind the last. Those of several entries come first;
    within each kind the longest do."""
    shared: int
    """Items of several entries."""
    entries: Ints
    """[m, 3]: place in the batch, row, cell."""
    cells: Ints
    """[batch + 1]: first cell of each place."""


def fixed_spans(slots: Ints, rows: Indices, ends: Ints, *, length: int, most_members: int) -> StepPlan:
    """Spans of `length` positions from 0 on.

    Args:
        slots: [rows, width]: slot of each position of each row; 0 where it has none.
        rows: [batch]: the row at each place.
        ends: [batch]: most keys that each will see before a plan is made again. A place with 0 has no spans.
        length: of a span, a multiple of `ALIGNED`.
        most_members: most rows in an item.
    """
    most = int(ends.max(initial=0))
    begins = np.arange(0, most, length, dtype=np.int32)
    spans, place = np.nonzero(begins[:, None] < ends)
    begin, own_end = begins[spans], ends[place]
    # Neighbours share a span that both have in whole.
    alike = np.zeros(len(place), dtype=np.bool_)
    alike[1:] = (spans[1:] == spans[:-1]) & (place[1:] == place[:-1] + 1)
    alike &= begin + length <= np.minimum(own_end, np.roll(own_end, 1))
    last = slots[rows[place], np.minimum(begin + length, slots.shape[1]) - 1]
    alike &= (last == np.roll(last, 1)) & (last != 0)
    return _plan(rows, np.flatnonzero(~alike), place, begin, np.minimum(begin + length, own_end), most_members)


def parting_spans(
    slots: Ints, rows: Indices, ends: Ints, *, length: int, most_members: int, most_cells: int
) -> StepPlan:
    """Spans that end where rows part, of at most about `length` positions.

    Arguments as of `fixed_spans`.

    Args:
        most_cells: in all, at least those of every row by itself. Where sharing took more, nothing at all is shared.
    """
    shares = len(rows) > 1 and most_members > 1
    shared = _shared(slots[rows], ends) if shares else np.zeros((0, 4), dtype=np.int32)
    plan = _cut(rows, ends, shared, length, most_members)
    return plan if len(plan.entries) <= most_cells else _cut(rows, ends, shared[:0], length, most_members)


def _cut(rows: Indices, ends: Ints, shared: Ints, length: int, most_members: int) -> StepPlan:
    own = np.zeros(len(rows), dtype=np.int32)  # where each place is alone from
    for first, places, _, end in shared.tolist():
        np.maximum(own[first : first + places], end, out=own[first : first + places])
    alone = np.flatnonzero(own < ends).astype(np.int32)
    spans = np.concatenate([shared, np.stack([alone, np.ones_like(alone), own[alone], ends[alone]], axis=1)])
    # Into pieces of about the same size.
    whole = spans[:, 3] - spans[:, 2]
    pieces = -(-whole // length)
    piece = -(-whole // np.maximum(pieces, 1) // ALIGNED) * ALIGNED
    pieces = -(-whole // np.maximum(piece, 1))
    number = np.repeat(np.arange(len(spans)), pieces)
    begin = spans[number, 2] + (np.arange(len(number)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * piece[number]
    end = np.minimum(begin + piece[number], spans[number, 3])
    # A row in an entry of its own for each piece.
    places = spans[number, 1]
    starts = np.cumsum(places) - places
    place = np.repeat(spans[number, 0] - starts, places) + np.arange(int(places.sum()))
    return _plan(rows, starts, place, np.repeat(begin, places), np.repeat(end, places), most_members)


def _shared(slots: Ints, ends: Ints) -> Ints:
    """[n, 4]: first place, places, begin and end of every span that neighbours share, nested where rows part again."""
    batch = len(slots)
    common = np.zeros(batch + 1, dtype=np.int64)  # aligned positions that a place shares with the one before it
    if batch > 1:
        lasts = slots[:, ALIGNED - 1 :: ALIGNED]  # equal there means equal before
        alike = ((lasts[1:] == lasts[:-1]) & (lasts[1:] != 0)).sum(1) * ALIGNED
        common[1:batch] = np.minimum(alike, np.minimum(ends[1:], ends[:-1]) // ALIGNED * ALIGNED)
    spans = []
    nested: list[tuple[int, int]] = []  # (first place, shared as far as), outermost first
    for place, height in enumerate(common.tolist()):
        first = place - 1
        while nested and nested[-1][1] > height:
            first, end = nested.pop()
            begin = max(height, nested[-1][1] if nested else 0)
            spans.append((first, place - first, begin, end))
        if height > (nested[-1][1] if nested else 0):
            nested.append((first, height))
    return np.array(spans, dtype=np.int32).reshape(-1, 4)


def _plan(rows: Indices, starts: Indices, place: Indices, begin: Indices, end: Indices, most_members: int) -> StepPlan:
    """Entries [m] in the groups that begin at `starts`; place, begin and end of each entry's span."""
    sizes = np.diff(starts, append=len(place))
    within = np.arange(len(place)) - np.repeat(starts, sizes)
    first = np.flatnonzero(within % most_members == 0)
    count = np.diff(first, append=len(place))
    items = np.stack([first, count, begin[first], end[first]], axis=1)
    items = items[np.lexsort((items[:, 2] - items[:, 3], count == 1))]
    cell = np.empty(len(place), dtype=np.int64)
    cell[np.lexsort((begin, place))] = np.arange(len(place))
    cells = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(np.bincount(place, minlength=len(rows)), out=cells[1:])
    return StepPlan(
        items=np.ascontiguousarray(items, dtype=np.int32),
        shared=int((count > 1).sum()),
        entries=np.stack([place, rows[place], cell], axis=1).astype(np.int32),
        cells=cells.astype(np.int32),
    )
