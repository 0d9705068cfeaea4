"""Which rounds prompts are answered in: packs of prompts that are read, and steps of decoding for all that are at it.

Everything here is book-keeping on the host: which row stands at which place, which slots its tokens have, what it has
written. A round is a pure function of the prompts and of what was written in earlier rounds, so rounds that an earlier
process ran can be taken from its journal and the rest goes on from there. Which prompts make a pack is up to
`_admission.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from evalsuite.attention.pool import PoolPack, at_indices
from evalsuite.determinism import NotDeterministic
from evalsuite.errors import EvalsuiteError
from evalsuite.generation._admission import Limits, plan
from evalsuite.generation.stopping import StopWatcher
from evalsuite.planning.packs import Ints, Pack
from evalsuite.planning.slots import Slots
from evalsuite.types import EncodedPrompt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
NO_SLOTS = np.empty(0, dtype=np.int32)
_NOBODY = np.empty(0, dtype=np.int64)
DEAD_SHARE = 8
"""A batch that is kept while rows finish is made anew when more than one in so many has."""


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """A prompt that is being answered."""

    number: int
    """Of the request."""
    place: int
    """Which of the rows' states is its own."""
    prompt: int
    """Tokens of the prompt."""
    slots: Ints
    """[prompt + most new tokens - 1]: of each of its tokens; the last new one is never fed."""


class Written:
    """What rows wrote in a round; asked for only when it is wanted, since the device may still be at it."""

    def __init__(self, arrays: Callable[[], tuple[Ints, Floats]]) -> None:
        self._arrays = arrays
        self._known: tuple[Ints, Floats] | None = None

    @property
    def token_ids(self) -> Ints:
        """[steps, rows], in the order of the round's rows. A row that has ended goes on until the round is over."""
        return self._read()[0]

    @property
    def logprobs(self) -> Floats:
        """[steps, rows], nats."""
        return self._read()[1]

    def _read(self) -> tuple[Ints, Floats]:
        if self._known is None:
            self._known = self._arrays()
        return self._known


@dataclass(frozen=True, eq=False, slots=True)
class PrefillRound:
    """A pack of prompts; each row then writes its first token."""

    rows: tuple[str, ...]
    """Ids of the requests that are read in it, in the order of the pack's placements."""
    admitted: tuple[Row, ...]
    """The same."""
    sites: Ints
    """[rows]: for each the index into `pack.sites`."""
    pack: Pack
    tables: PoolPack
    carry_slots: Ints
    """Slots that the next pack's prompts go on from."""


@dataclass(frozen=True, eq=False, slots=True)
class DecodeRound:
    """So many steps, in each of which every row of the batch is fed the token that it wrote last."""

    batch: tuple[Row, ...]
    """In the order of admission, so that neighbours share what their prompts share."""
    places: Places
    """[batch]: `place` of each."""
    steps: int
    batch_number: int
    """New whenever the batch is."""
    written: Ints
    """[batch]: how many tokens each row has written."""
    ids: Sequence[str]
    """Of all requests, by number."""

    @property
    def rows(self) -> list[tuple[str, int]]:
        """What the round is known by."""
        return [(self.ids[row.number], written) for row, written in zip(self.batch, self.written.tolist(), strict=True)]


Round = PrefillRound | DecodeRound


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """An answer, whole."""

    number: int
    token_ids: list[int]
    logprobs: list[float]


class Schedule:
    """Rounds one after the other: `next_round`, then `done`, or `smaller` if it did not fit into memory.

    What was written in packs of prompts is looked at when there is no room for another, so that the device has the next
    one when it is done with this. Then, and after each step, `ended` has the answers that are whole.

    Raises:
        RequestError: one request has more tokens than the pool has slots.
    """

    def __init__(
        self,
        requests: Sequence[EncodedPrompt],
        limits: Limits,
        *,
        eos_ids: frozenset[int],
        watcher: StopWatcher,
        resizable: bool = True,
    ) -> None:
        """
        Args:
            requests: each with at least one new token to write.
            resizable: whether packs may become smaller; False where results must not depend on their size.
        """
        self.requests = requests
        self.slots = Slots(limits.slots)
        self._limits = limits
        self._resizable = resizable
        self._watcher = watcher
        self._eos_ids = np.fromiter(eos_ids, dtype=np.int32, count=len(eos_ids))
        self._ids = [request.id for request in requests]
        self._waiting = dict.fromkeys(range(len(requests)))
        most_new = max((request.max_new_tokens for request in requests), default=0)
        self.tokens: Ints = np.zeros((limits.rows, most_new), dtype=np.int32)
        """By place: what each row has written."""
        self._logprobs: Floats = np.zeros((limits.rows, most_new), dtype=np.float32)
        self.written: Ints = np.zeros(limits.rows, dtype=np.int32)
        self._limit: Ints = np.zeros(limits.rows, dtype=np.int32)
        self._stops = list(dict.fromkeys(request.stop for request in requests))
        """All lists of stop strings that there are."""
        self._stop_number = {stop: number for number, stop in enumerate(self._stops)}
        self._stop_at: Ints = np.zeros(limits.rows, dtype=np.int32)
        """By place: which of these."""
        self._free_places = list(range(limits.rows - 1, -1, -1))
        self.running: dict[int, Row] = {}
        """By place, in the order of admission."""
        self._at_it = np.zeros(limits.rows, dtype=np.bool_)
        """By place: whether it is in `running`."""
        self._batch: tuple[Row, ...] = ()
        self._batch_places = _NOBODY
        self._batch_number = 0
        self._most_at_once = limits.rows
        self.carried: tuple[Ints, Ints] = (NO_SLOTS, NO_SLOTS)
        """Slots and tokens that the next pack goes on from."""
        self.wasted = 0
        """Tokens that rows wrote after they had ended."""
        self._unread: list[tuple[PrefillRound, Written]] = []
        self._ended: list[Finished] = []
        self._plan_anew(limits.token_budget)

    def __iter__(self) -> Iterator[Round]:
        while (round_ := self.next_round()) is not None:
            yield round_

    def next_round(self) -> Round | None:
        """A pack as soon as there is room for it, else a step of all that are at it; None when all is done."""
        pack = self._plan.peek()
        if pack is not None and not self._fits(pack):
            self._look()  # some may have ended by their first token
        if pack is not None and self._fits(pack):
            self._plan.ahead = None
            return self._admit(pack)
        self._look()
        if self.running:
            return self._decode()
        if pack is not None:
            raise EvalsuiteError("a pack of prompts does not fit into an empty pool; this is a defect of the schedule")
        return None

    @property
    def most_rows(self) -> int:
        """Of any batch that is still to come."""
        return min(self._most_at_once, len(self._waiting) + len(self.running))

    @property
    def pack_budget(self) -> int:
        """Most tokens in a pack by the plan in force."""
        return self._plan.token_budget

    def plan_ahead(self) -> None:
        """Plan the next pack, for when there is time: it is planned when it is wanted otherwise."""
        self._plan.peek()

    def done(self, round_: Round, written: Written) -> None:
        """Note that a round has been run, and what its rows wrote."""
        if isinstance(round_, DecodeRound):
            self._take(round_.batch, round_.places, written)
            return
        for row in round_.admitted:
            del self._waiting[row.number]
            self.running[row.place] = row
            self._at_it[row.place] = True
            self.written[row.place] = 0
        self.slots.release(round_.tables.own)
        self.slots.release(self.carried[0])
        pack = round_.pack
        tokens = at_indices(pack.carry, pack, before=self.carried[1], own=pack.tokens)
        self.carried = round_.carry_slots, tokens
        self._forget_batch()
        self._unread.append((round_, written))

    def ended(self) -> list[Finished]:
        """Answers that are whole and were not handed out yet."""
        ended, self._ended = self._ended, []
        return ended

    def _look(self) -> None:
        """Read what prompts wrote as their first tokens."""
        unread, self._unread = self._unread, []
        for round_, written in unread:
            self._take(round_.admitted, _places(round_.admitted), written)

    def _take(self, rows: tuple[Row, ...], places: Places, written: Written) -> None:
        began = self._at_it[places]
        at_it = began.copy()
        self.wasted += written.token_ids.size
        for token_ids, logprobs in zip(written.token_ids, written.logprobs, strict=True):
            self.wasted -= int(at_it.sum())
            at_it[at_it] = ~self._write(places[at_it], token_ids[at_it], logprobs[at_it])
        self._ended += [self._finish(rows[i]) for i in np.flatnonzero(began & ~at_it).tolist()]

    def smaller(self, round_: Round) -> list[Round]:
        """Take back a round that did not fit into memory. Rounds that do are still to come, so none is returned.

        `[round_]` where there can be no smaller one.
        """
        if isinstance(round_, DecodeRound):
            if len(round_.batch) == 1:
                return [round_]
            self._refuse_where_fixed("a step does not fit into memory; use a smaller --batch-size from the start")
            self._most_at_once = max(1, len(round_.batch) // 2)
            self._forget_batch()
            return []
        if round_.pack.used <= self._limits.least_pack:
            return [round_]
        self._refuse_where_fixed("a pack does not fit into memory; use a smaller --token-budget from the start")
        self._cancel(round_)
        self._plan_anew(round_.pack.used // 2)
        return []

    def _forget_batch(self) -> None:
        self._batch, self._batch_places = (), _NOBODY

    def _cancel(self, round_: PrefillRound) -> None:
        """Take back a round that did not come to an end."""
        for row in round_.admitted:
            self.slots.release(row.slots)
            self._free_places.append(row.place)
        self.slots.release(round_.carry_slots)
        self.slots.release(round_.tables.own)

    def row_tokens(self, row: Row) -> Ints:
        """What a row has been fed so far: its prompt, and all that it has written but the last token."""
        prompt = np.array(self.requests[row.number].prompt_ids, dtype=np.int32)
        return np.concatenate([prompt, self.tokens[row.place, : max(self.written[row.place] - 1, 0)]])

    def _refuse_where_fixed(self, reason: str) -> None:
        if not self._resizable:
            raise NotDeterministic(reason)

    def _plan_anew(self, token_budget: int) -> None:
        self.slots.release(self.carried[0])
        self.carried = (NO_SLOTS, NO_SLOTS)
        waiting, empty = list(self._waiting), not self.slots.used
        self._plan = plan(self.requests, waiting, self._limits, token_budget=token_budget, empty=empty)

    def _fits(self, pack: Pack) -> bool:
        requests = [self.requests[number] for number in self._plan.numbers]
        needed = pack.used + sum(request.max_new_tokens - 1 for request in requests)
        return len(requests) <= len(self._free_places) and needed <= self.slots.free

    def _admit(self, pack: Pack) -> PrefillRound:
        own = self.slots.take(pack.used)
        before = self.carried[0]
        tables = PoolPack.of(pack, before=before, own=own)
        admitted = []
        for number, placement in zip(self._plan.numbers, pack.placements, strict=True):
            last = int(pack.sites[placement.sites[-1]])
            segment = int(np.searchsorted(pack.starts, last, side="right")) - 1
            start, first = int(pack.starts[segment]), int(pack.paths[segment])
            prompt = np.concatenate([tables.path[first : first + int(pack.ancestors[segment])], own[start : last + 1]])
            self.slots.share(prompt)
            new = self.slots.take(self.requests[number].max_new_tokens - 1)
            place = self._free_places.pop()
            self._limit[place] = self.requests[number].max_new_tokens
            self._stop_at[place] = self._stop_number[self.requests[number].stop]
            slots = np.concatenate([prompt, new])
            admitted.append(Row(number=number, place=place, prompt=len(prompt), slots=slots))
        carry_slots = at_indices(pack.carry, pack, before=before, own=own)
        self.slots.share(carry_slots)
        return PrefillRound(
            rows=tuple(self._ids[row.number] for row in admitted),
            admitted=tuple(admitted),
            sites=np.array([placement.sites[-1] for placement in pack.placements], dtype=np.int32),
            pack=pack,
            tables=tables,
            carry_slots=carry_slots,
        )

    def _decode(self) -> DecodeRound:
        dead = len(self._batch) - int(self._at_it[self._batch_places].sum())
        if not self._batch or dead * DEAD_SHARE > len(self._batch) or (dead and self._limits.steps == 1):
            # Where not all fit at once, the later ones wait until the earlier ones have finished.
            self._batch = tuple(islice(self.running.values(), self._most_at_once))
            self._batch_number += 1
            self._batch_places = _places(self._batch)
        places = self._batch_places
        live = places[self._at_it[places]]
        left = int((self._limit[live] - self.written[live]).max())
        return DecodeRound(
            batch=self._batch,
            places=places,
            steps=min(self._limits.steps, left),
            batch_number=self._batch_number,
            written=self.written[places],
            ids=self._ids,
        )

    def _write(self, places: Places, token_ids: Ints, logprobs: Floats) -> npt.NDArray[np.bool_]:
        """A token for each of some rows that are at it; returns which have ended by it."""
        at = self.written[places]
        self.tokens[places, at] = token_ids
        self._logprobs[places, at] = logprobs
        self.written[places] = at + 1
        ended: npt.NDArray[np.bool_] = np.isin(token_ids, self._eos_ids) | (at + 1 >= self._limit[places])
        kinds = self._stop_at[places]
        for kind in np.unique(kinds[~ended]).tolist():
            if not (stop := self._stops[kind]):
                continue
            of_kind = np.flatnonzero(~ended & (kinds == kind))
            for i in of_kind[self._watcher.may_stop(token_ids[of_kind], stop)].tolist():
                ended[i] = self._watcher.stops(self.tokens[places[i], : at[i] + 1].tolist(), stop)
        return ended

    def _finish(self, row: Row) -> Finished:
        del self.running[row.place]
        self._at_it[row.place] = False
        self.slots.release(row.slots)
        self._free_places.append(row.place)
        count = int(self.written[row.place])
        return Finished(
            number=row.number,
            token_ids=self.tokens[row.place, :count].tolist(),
            logprobs=self._logprobs[row.place, :count].tolist(),
        )


def _places(rows: Sequence[Row]) -> Places:
    return np.array([row.place for row in rows], dtype=np.int64)
