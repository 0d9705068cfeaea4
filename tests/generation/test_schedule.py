"""The schedule's book-keeping against recomputation: a row's slots hold its own tokens, whoever came and went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import RequestError
from evalsuite.generation._schedule import (
    DecodeRound,
    Finished,
    Limits,
    PrefillRound,
    Round,
    Schedule,
    Written,
    tokens_at_once,
)
from evalsuite.generation.stopping import StopWatcher
from evalsuite.planning.packs import Ints
from evalsuite.planning.prefix_tree import tree_size
from evalsuite.types import EncodedPrompt
from tests.tiny import tiny_tokenizer

EOS, VOCAB = 1, 6
TOKENIZER = tiny_tokenizer()
# Few tokens, so that prompts share beginnings and end in the midst of one another.
prompt = st.lists(st.integers(2, VOCAB - 1), min_size=1, max_size=14).map(tuple)


@st.composite
def requests(draw: st.DrawFn) -> list[EncodedPrompt]:
    bodies = draw(st.lists(prompt, min_size=1, max_size=12))
    return [
        EncodedPrompt(id=str(i), prompt_ids=body, max_new_tokens=draw(st.integers(1, 7)))
        for i, body in enumerate(bodies)
    ]


def next_token(sequence: Sequence[int]) -> int:
    """A model: any function of all that came before."""
    return hash(tuple(sequence)) % (VOCAB - 1) + 1


def written(ids: Ints) -> Written:
    return Written(lambda: (ids, np.zeros(ids.shape, dtype=np.float32)))


def answer(request: EncodedPrompt) -> list[int]:
    written: list[int] = []
    while len(written) < request.max_new_tokens and (not written or written[-1] != EOS):
        written.append(next_token([*request.prompt_ids, *written]))
    return written


class Machine:
    """Carries out rounds on a pool of tokens in place of keys, and looks at it through the tables alone."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.pool = np.full(schedule.slots.count, -1, dtype=np.int64)
        self.computed = 0
        self.steps = 0

    def run(self, round_: Round) -> Written:
        if isinstance(round_, PrefillRound):
            return self.prefill(round_)
        ids = np.zeros((round_.steps, len(round_.batch)), dtype=np.int32)
        for column, row in enumerate(round_.batch):
            request = self.schedule.requests[row.number]
            done = int(self.schedule.written[row.place])
            fed = [*request.prompt_ids, *self.schedule.tokens[row.place, :done].tolist()]
            for step in range(round_.steps):
                position = len(fed) - 1
                if position < len(row.slots):  # later ones go to the scratch
                    self.pool[row.slots[position]] = fed[-1]
                    assert self.pool[row.slots[: position + 1]].tolist() == fed
                fed.append(next_token(fed))
                ids[step, column] = fed[-1]
        self.steps += round_.steps
        return written(ids)

    def prefill(self, round_: PrefillRound) -> Written:
        tables = round_.tables
        self.pool[tables.own] = round_.pack.tokens
        self.computed += len(tables.own)
        for start, length, before, path in zip(
            tables.starts, tables.lengths, tables.ancestors, tables.paths, strict=True
        ):
            # What attention will see: the branch's tokens in order, at positions that count from its root.
            branch = np.concatenate([tables.path[path : path + before], tables.own[start : start + length]])
            assert (self.pool[branch] >= 0).all()
            assert round_.pack.positions[start : start + length].tolist() == list(range(before, before + length))
        first = []
        for row, site in zip(round_.admitted, round_.sites, strict=True):
            sequence = self.pool[row.slots[: row.prompt]].tolist()
            assert tuple(sequence) == self.schedule.requests[row.number].prompt_ids
            assert round_.pack.positions[round_.pack.sites[site]] == row.prompt - 1
            first.append(next_token(sequence))
        return written(np.array([first], dtype=np.int32))


def schedule(batch: Sequence[EncodedPrompt], *, slots: int | None = None, **limits: Any) -> Schedule:
    given = {"rows": 4, "token_budget": 16, "max_sites": None, "steps": 1} | limits
    wanted = 1 + tokens_at_once(batch, rows=given["rows"], token_budget=given["token_budget"])
    return Schedule(
        batch,
        Limits(slots=slots or wanted, **given),
        eos_ids=frozenset({EOS}),
        watcher=StopWatcher(TOKENIZER),
    )


def played(machine: Machine, refused: Iterator[bool] | None = None) -> dict[int, Finished]:
    """All rounds, of which those that `refused` names do not fit at first."""
    finished: dict[int, Finished] = {}
    rounds = iter(machine.schedule)
    while (round_ := next(rounds, None)) is not None:
        if refused is not None and next(refused, False) and machine.schedule.smaller(round_) == []:
            continue
        machine.schedule.done(round_, machine.run(round_))
        collect(machine.schedule, finished)
    collect(machine.schedule, finished)
    return finished


def collect(plan: Schedule, finished: dict[int, Finished]) -> None:
    for done in plan.ended():
        assert done.number not in finished
        finished[done.number] = done


@given(
    batch=requests(),
    rows=st.integers(1, 6),
    token_budget=st.integers(1, 40),
    max_sites=st.none() | st.integers(1, 4),
    steps=st.integers(1, 4),
    spare=st.integers(0, 20),
    tight=st.booleans(),
    refused=st.lists(st.booleans(), max_size=8),
)
def test_every_row_reads_its_own_tokens_whatever_else_comes_and_goes(
    batch: list[EncodedPrompt],
    rows: int,
    token_budget: int,
    max_sites: int | None,
    steps: int,
    spare: int,
    tight: bool,
    refused: list[bool],
) -> None:
    longest = max(len(request.prompt_ids) for request in batch)
    most_new = max(request.max_new_tokens for request in batch)
    slots = 1 + longest + 2 * most_new + spare if tight else None
    plan = schedule(batch, rows=rows, token_budget=token_budget, max_sites=max_sites, steps=steps, slots=slots)
    machine = Machine(plan)
    finished = played(machine, iter(refused))
    assert {number: done.token_ids for number, done in finished.items()} == {
        number: answer(request) for number, request in enumerate(batch)
    }
    assert plan.slots.used == 0
    assert not plan.running


@given(batch=requests())
def test_with_room_for_all_no_token_of_a_prompt_is_computed_twice(batch: list[EncodedPrompt]) -> None:
    machine = Machine(schedule(batch, rows=len(batch), token_budget=5))
    played(machine)
    assert machine.computed == tree_size(request.prompt_ids for request in batch).distinct_tokens
    assert machine.steps == max(len(answer(request)) for request in batch) - 1 or len(batch) > 1


def test_a_row_that_ends_gives_its_place_to_the_next_prompt() -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=(2, 3 + i % 3, i), max_new_tokens=1 + i % 5) for i in range(20)]
    plan = schedule(batch, rows=4)
    machine = Machine(plan)
    most = 0
    for round_ in plan:
        plan.done(round_, machine.run(round_))
        most = max(most, len(plan.running))
    assert most == 4


def test_a_batch_is_kept_while_few_of_it_have_ended_and_what_they_write_is_waste() -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=(2, i), max_new_tokens=2 if i == 9 else 12) for i in range(3, 20)]
    plan = Schedule(
        batch,
        Limits(rows=32, slots=400, token_budget=64, max_sites=None, steps=3),
        eos_ids=frozenset(),
        watcher=StopWatcher(TOKENIZER),
    )
    machine = Machine(plan)
    made = set()
    for round_ in plan:
        plan.done(round_, machine.run(round_))
        if isinstance(round_, DecodeRound):
            made.add(round_.batch_number)
    assert len(made) == 1
    assert plan.wasted == 11 - 1  # one row of 17 goes on to the others' end


def test_answers_that_may_get_long_are_begun_first_so_that_none_of_them_is_left_over() -> None:
    # In the tree's order the long ones, whose prompts sort last, would come when all others have ended.
    batch = [
        EncodedPrompt(id=str(i), prompt_ids=(2 + i // 12, i), max_new_tokens=40 if i >= 12 else 4) for i in range(16)
    ]
    plan = Schedule(
        batch,
        Limits(rows=8, slots=2_000, token_budget=64, max_sites=None, steps=1),
        eos_ids=frozenset(),
        watcher=StopWatcher(TOKENIZER),
    )
    machine = Machine(plan)
    finished = played(machine)
    assert [len(finished[i].token_ids) for i in range(16)] == [4] * 12 + [40] * 4
    # Each row's first token comes from its prompt: the four long ones take 39 steps, and within these the twelve short
    # ones, four at a time, are done.
    assert machine.steps == 39


def test_prompts_that_share_much_stay_together_however_long_their_answers_may_get() -> None:
    passages = [tuple(range(10 * i, 10 * i + 10)) for i in range(8)]
    batch = [
        EncodedPrompt(id=f"{i} {most}", prompt_ids=(*passage, 100 + most), max_new_tokens=most)
        for i, passage in enumerate(passages)
        for most in (4, 40)
    ]
    machine = Machine(schedule(batch, rows=4))
    played(machine)
    assert machine.computed == tree_size(request.prompt_ids for request in batch).distinct_tokens


def test_a_request_that_cannot_fit_is_named_by_its_size() -> None:
    batch = [EncodedPrompt(id="a", prompt_ids=(2,) * 30, max_new_tokens=8)]
    with pytest.raises(RequestError, match="of 20 tokens fit into the memory, and the longest request has 30 with 8"):
        schedule(batch, slots=21)
