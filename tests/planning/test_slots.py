"""Slots against a model of them: a slot is handed out once, and comes back when its last user has gone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evalsuite.planning.slots import NotEnoughSlots, Slots


class SlotsMachine(RuleBasedStateMachine):
    """Sequences that append, fork and go, as requests do."""

    @initialize(count=st.integers(1, 40))
    def start(self, count: int) -> None:
        self.count = count
        self.slots = Slots(count)
        self.sequences: list[list[int]] = []

    @rule(more=st.integers(0, 12), data=st.data())
    def append(self, more: int, data: st.DataObject) -> None:
        if more > self.slots.free:
            with pytest.raises(NotEnoughSlots, match=f"expected {more} free slots, got {self.slots.free}"):
                self.slots.take(more)
            return
        new = self.slots.take(more).tolist()
        if self.sequences and data.draw(st.booleans()):
            data.draw(st.sampled_from(self.sequences)).extend(new)
        else:
            self.sequences.append(new)

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        parent = data.draw(st.sampled_from(self.sequences))
        shared = parent[: data.draw(st.integers(0, len(parent)))]
        self.slots.share(np.array(shared, dtype=np.int32))
        self.sequences.append(list(shared))

    @precondition(lambda self: self.sequences)
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        gone = self.sequences.pop(data.draw(st.integers(0, len(self.sequences) - 1)))
        self.slots.release(np.array(gone, dtype=np.int32))

    @invariant()
    def every_slot_is_accounted_for(self) -> None:
        users = np.zeros(self.count, dtype=np.int32)
        for sequence in self.sequences:
            assert len(set(sequence)) == len(sequence)
            users[sequence] += 1
        assert users[0] == 0
        assert (self.slots.users(np.arange(self.count, dtype=np.int32)) == users).all()
        assert self.slots.used == (users > 0).sum()
        assert self.slots.free == self.count - 1 - self.slots.used


TestSlots = SlotsMachine.TestCase


def test_a_fresh_pool_hands_out_neighbours() -> None:
    slots = Slots(9)
    assert slots.take(3).tolist() == [1, 2, 3]
    assert slots.take(2).tolist() == [4, 5]
