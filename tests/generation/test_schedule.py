"""The schedule's book-keeping against recomputation: a row's slots hold its own tokens, whoever came and went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalsuite.determinism import NotDeterministic
from evalsuite.errors import RequestError
from evalsuite.generation._admission import Limits, tokens_at_once
from evalsuite.generation._schedule import DecodeRound, Finished, PrefillRound, Round, Schedule, Written
from evalsuite.generation.stopping import StopWatcher
from evalsuite.planning.packs import Ints
from evalsuite.planning.prefix_tree import tree_size
from evalsuite.types import EncodedPrompt
from tests.generation.test_admission import request_lists
from tests.tiny import tiny_tokenizer

EOS, VOCAB = 1, 6
MOST_ROUNDS = 5_000
"""More than any list of requests needs here, of which each round is refused a few times."""
TOKENIZER = tiny_tokenizer()


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
        self.computed = self.steps = self.written = self.most_rows = 0

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
        self.written += ids.size
        self.most_rows = max(self.most_rows, len(round_.batch))
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
        self.written += len(first)
        return written(np.array([first], dtype=np.int32))


def schedule(
    batch: Sequence[EncodedPrompt],
    *,
    slots: int | None = None,
    resizable: bool = True,
    eos_ids: frozenset[int] = frozenset({EOS}),
    watcher: StopWatcher | None = None,
    **limits: Any,
) -> Schedule:
    given = {"rows": 4, "token_budget": 16, "max_sites": None, "steps": 1} | limits
    wanted = 1 + tokens_at_once(batch, rows=given["rows"], token_budget=given["token_budget"])
    return Schedule(
        batch,
        Limits(slots=slots or wanted, **given),
        eos_ids=eos_ids,
        watcher=watcher or StopWatcher(TOKENIZER),
        resizable=resizable,
    )


def played(machine: Machine, refused: Iterator[bool] | None = None) -> dict[int, Finished]:
    """All rounds, of which those that `refused` names do not fit at first."""
    finished: dict[int, Finished] = {}
    for count, round_ in enumerate(machine.schedule):
        assert count < MOST_ROUNDS, "the schedule does not come to an end"
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
    batch=request_lists(),
    rows=st.integers(1, 12),
    token_budget=st.integers(1, 200),
    max_sites=st.none() | st.integers(1, 4),
    steps=st.integers(1, 4),
    spare=st.none() | st.integers(0, 60),
    refused=st.lists(st.booleans(), min_size=1, max_size=6),
)
def test_every_row_reads_its_own_tokens_whatever_else_comes_and_goes(
    batch: list[EncodedPrompt],
    rows: int,
    token_budget: int,
    max_sites: int | None,
    steps: int,
    spare: int | None,
    refused: list[bool],
) -> None:
    longest = max(len(request.prompt_ids) for request in batch)
    most_new = max(request.max_new_tokens for request in batch)
    slots = None if spare is None else 1 + longest + 2 * most_new + spare
    plan = schedule(batch, rows=rows, token_budget=token_budget, max_sites=max_sites, steps=steps, slots=slots)
    machine = Machine(plan)
    finished = played(machine, cycle(refused))
    assert {number: done.token_ids for number, done in finished.items()} == {
        number: answer(request) for number, request in enumerate(batch)
    }
    assert plan.slots.used == 0
    assert not plan.running
    assert machine.most_rows <= rows
    assert plan.wasted == machine.written - sum(len(done.token_ids) for done in finished.values())


@given(batch=request_lists())
@example(batch=[EncodedPrompt(id=str(i), prompt_ids=(2, 3, 4, 5, 2), max_new_tokens=2) for i in range(3)])
def test_with_room_for_all_every_prompt_is_read_before_the_first_step(batch: list[EncodedPrompt]) -> None:
    machine = Machine(schedule(batch, rows=len(batch), token_budget=5))
    played(machine)
    assert machine.steps == max(len(answer(request)) for request in batch) - 1


@given(batch=request_lists())
def test_with_room_for_all_no_token_of_a_prompt_is_computed_twice(batch: list[EncodedPrompt]) -> None:
    batch = list({request.prompt_ids: request for request in batch}.values())  # equal ones may be parted
    machine = Machine(schedule(batch, rows=len(batch), token_budget=5))
    played(machine)
    assert machine.computed == tree_size(request.prompt_ids for request in batch).distinct_tokens


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
    plan = schedule(batch, rows=32, slots=400, token_budget=64, steps=3, eos_ids=frozenset())
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
    machine = Machine(schedule(batch, rows=8, slots=2_000, token_budget=64, eos_ids=frozenset()))
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


def alike(count: int, *, tokens: int = 8, new_tokens: int = 6) -> list[EncodedPrompt]:
    """Prompts that share nothing."""
    return [EncodedPrompt(id=str(i), prompt_ids=(2 + i,) * tokens, max_new_tokens=new_tokens) for i in range(count)]


def test_a_pack_that_does_not_fit_is_halved_down_to_the_least() -> None:
    plan = schedule(alike(10), rows=10, token_budget=64, least_pack=10)
    sizes = []
    for round_ in plan:
        assert isinstance(round_, PrefillRound)
        sizes.append((plan.pack_budget, round_.pack.used))
        if plan.smaller(round_) == [round_]:
            break
    assert sizes == [(64, 64), (32, 32), (16, 16), (8, 8)]


def test_a_batch_that_does_not_fit_is_halved_down_to_one_row_and_the_others_come_later() -> None:
    plan = schedule(alike(9), rows=9, token_budget=200)
    machine = Machine(plan)
    machine.run(first := next(iter(plan)))
    plan.done(first, written(np.full((1, 9), EOS + 1, dtype=np.int32)))  # none has ended yet
    sizes = []
    for round_ in plan:
        assert isinstance(round_, DecodeRound)
        sizes.append(len(round_.batch))
        if plan.smaller(round_) == [round_]:
            break
    assert sizes == [9, 4, 2, 1]
    assert len(played(machine)) == 9
    assert machine.most_rows == 1


def test_where_results_must_not_depend_on_it_no_round_becomes_smaller() -> None:
    plan = schedule(alike(4), resizable=False, token_budget=200)
    pack = next(iter(plan))
    assert isinstance(pack, PrefillRound)
    with pytest.raises(NotDeterministic, match="use a smaller --token-budget"):
        plan.smaller(pack)
    plan.done(pack, Machine(plan).run(pack))
    step = next(iter(plan))
    assert isinstance(step, DecodeRound)
    with pytest.raises(NotDeterministic, match="use a smaller --batch-size"):
        plan.smaller(step)


class Asked(StopWatcher):
    """Notes which lists of stop strings it was asked about."""

    def __init__(self) -> None:
        super().__init__(TOKENIZER)
        self.stops_asked: set[tuple[str, ...]] = set()

    def may_stop(self, token_ids: Ints, stop: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        self.stops_asked.add(stop)
        return super().may_stop(token_ids, stop)


def test_each_row_ends_at_its_own_stop_string_and_no_other_is_looked_for() -> None:
    letters = "aeiou"
    ids = [TOKENIZER.encode(letter, add_special_tokens=False)[-1] for letter in letters]
    assert [TOKENIZER.decode([token_id]) for token_id in ids] == list(letters)
    # Three rows at a time; each list occurs once, but for that without a stop string.
    stops: list[tuple[str, ...]] = [(), ("e",), ("o", "i"), (), ("aeiou",), ("x",), ("ae",), ("ia",), ("u",)]
    batch = [EncodedPrompt(id=str(i), prompt_ids=(2, i), max_new_tokens=5, stop=stop) for i, stop in enumerate(stops)]
    watcher = Asked()
    plan = schedule(batch, rows=3, watcher=watcher)
    ends: dict[int, Finished] = {}
    for round_ in plan:
        collect(plan, ends)
        watcher.stops_asked.clear()
        if isinstance(round_, PrefillRound):
            plan.done(round_, written(np.full((1, len(round_.rows)), ids[0], dtype=np.int32)))
        else:
            plan.done(round_, written(np.array([[ids[at] for at in round_.written]], dtype=np.int32)))
            assert watcher.stops_asked <= {stops[row.number] for row in round_.batch} - {()}
    collect(plan, ends)
    assert [len(ends[i].token_ids) for i in range(len(stops))] == [5, 2, 3, 5, 5, 5, 2, 5, 5]
