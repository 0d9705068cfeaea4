"""Which slots of a pool are in use, and by how many users at once."""

from __future__ import annotations

import numpy as np

from evalsuite.errors import EvalsuiteError
from evalsuite.planning.packs import Ints


class NotEnoughSlots(EvalsuiteError):
    """More slots were asked for than are free."""


class Slots:
    """Hands out slots 1 to `count - 1`; slot 0 is the scratch and never handed out.

    A slot has as many users as share it: it is free again when the last of them has released it.
    """

    def __init__(self, count: int) -> None:
        self._users = np.zeros(count, dtype=np.int32)
        # A stack with the lowest on top: fresh pools hand out neighbours, which are read in one go.
        self._stack = np.arange(count - 1, 0, -1, dtype=np.int32)
        self._free = count - 1

    @property
    def count(self) -> int:
        return len(self._users)

    @property
    def free(self) -> int:
        return self._free

    @property
    def used(self) -> int:
        return len(self._stack) - self._free

    def take(self, count: int) -> Ints:
        """[count]: slots that nobody uses, each with one user from now on. Raises `NotEnoughSlots`."""
        if count > self._free:
            raise NotEnoughSlots(f"expected {count} free slots, got {self._free} of {len(self._stack)}")
        taken = self._stack[self._free - count : self._free][::-1].copy()
        self._free -= count
        self._users[taken] = 1
        return taken

    def share(self, slots: Ints) -> None:
        """One more user for each of `slots`, which are different ones and in use."""
        self._users[slots] += 1

    def release(self, slots: Ints) -> None:
        """One user less for each of `slots`, which are different ones and in use."""
        self._users[slots] -= 1
        free = slots[self._users[slots] == 0][::-1]
        self._stack[self._free : self._free + len(free)] = free
        self._free += len(free)

    def users(self, slots: Ints) -> Ints:
        """[slots]: how many use each."""
        return self._users[slots]
