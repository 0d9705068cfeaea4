"""What rows see is what a workload's text says, and what they have in common they share."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from benchmarks.decoding import __main__ as command
from benchmarks.decoding.layouts import pages
from benchmarks.decoding.workloads import Case, Workload, case_of, sizes, slots_of
from tests.decoding.made import SHAPE


@pytest.mark.parametrize("text", ["viquad:1024:64", "vietnews:512:1", "even:8:460", "even:10:460:5:400"])
def test_a_workload_is_what_its_text_says(text: str) -> None:
    assert str(command._workload(text)) == text


@pytest.mark.parametrize(
    "text", ["viquad", "viquad:8", "else:8:4", "viquad:8:4:2:2", "even:8:4:2:4", "even:0:4", "even:a:4"]
)
def test_a_workload_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected viquad\|vietnews\|judge:ROWS:WRITTEN, even:ROWS"):
        command._workload(text)


def test_rows_share_the_slots_of_what_they_have_in_common() -> None:
    slots, lengths = slots_of([(7, 7, 1), (7, 7, 2, 2), (7, 2, 2)])
    assert slots.tolist() == [[1, 2, 3, 0], [1, 2, 4, 5], [1, 6, 7, 0]]
    assert lengths.tolist() == [3, 4, 3]


def test_rows_of_one_length_share_their_first_keys_and_no_others() -> None:
    slots, lengths = slots_of(Workload(name="even", rows=4, tokens=5, sharing=2, shared=3).sequences(10))
    assert slots.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 6, 7], [8, 9, 10, 11, 12], [8, 9, 10, 13, 14]]
    assert lengths.tolist() == [5] * 4


def test_rows_of_a_passage_share_it_and_not_what_they_wrote() -> None:
    case = case_of(Workload(name="viquad", rows=10, tokens=3), SHAPE, dtype="float32", device="cpu")
    seen = sizes(case)
    assert seen["keys"] == case.lengths.sum()
    assert seen["distinct_bytes"] == seen["distinct_keys"] * 2 * 2 * 32 * 4  # keys and values, heads, dim, bytes
    assert seen["distinct_keys"] < seen["keys"] / 2  # five questions a passage
    ends = case.slots[np.arange(10), case.lengths - 1]
    assert len(set(ends.tolist())) == 10


def test_pages_hold_the_rows_and_whole_ones_are_shared(case: Case) -> None:
    keys, values, table = pages(case)
    for row, length in enumerate(case.lengths):
        own = keys[table[row].long()].flatten(0, 1)[:length], values[table[row].long()].flatten(0, 1)[:length]
        assert all(map(torch.equal, own, case.at(case.slots[row, :length])))
    assert table[1, 0] == table[2, 0]
    assert table[1, 1] != table[2, 1]
    assert len(keys) == 8  # one each of the three rows that are shorter than a page, two of the last, and three
