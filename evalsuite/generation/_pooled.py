"""Rounds of a schedule on a model: packs of prompts written into the pool, and steps of decoding that read from it.

On CUDA a step is replayed as a CUDA graph (`_step_graphs.py`). All that changes from step to step stands in tensors
that keep their addresses; a row that has ended goes on writing until its batch is made anew, at last to the scratch,
and nobody reads it. Elsewhere a step is a plain forward over the rows that are at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evalsuite.attention.interface import attention_from
from evalsuite.attention.pool import (
    SCRATCH,
    DecodeTables,
    KeyValuePool,
    LayerShape,
    PoolAttend,
    PoolPack,
    PoolPass,
    ShapeProbe,
    Store,
    at_indices,
)
from evalsuite.attention.pooled_plain import plain_decode, plain_prefill, plain_store
from evalsuite.errors import ConfigError
from evalsuite.generation._schedule import DecodeRound, Floats, PrefillRound, Row, Schedule, Written
from evalsuite.generation._step_graphs import StepGraphs
from evalsuite.generation.sampling import choose, sampling_of, uniforms
from evalsuite.loading.compiler import compiled
from evalsuite.loading.fusing import quiet_compilation
from evalsuite.planning.packs import Branch, Ints, packs
from evalsuite.runner import ModelRunner, is_out_of_memory
from evalsuite.tree_forward import TreeForward
from evalsuite.types import EncodedPrompt

if TYPE_CHECKING:
    from evalsuite.attention.pooled_fused import DecodeWorkspace

STEPS = 4
"""Steps of a round on CUDA: the host looks at what was written, and the device waits for it, once in so many."""
STEPS_ON_CPU = 1
"""There the host is the device, and a row that has ended need not go on."""
SMALLEST_BATCH = 8
PACK_STEP = 256
"""So that shapes stay few. What it gains or costs has not been measured."""
FP8_CAPABILITY = (8, 9)
"""The first GPUs that convert 8-bit floats."""


class PooledForward(TreeForward):
    """Runs the rounds of one schedule.

    Args:
        rows: most rows in a batch.
        width: most tokens of a row, new ones included.
    """

    def __init__(self, runner: ModelRunner, *, rows: int, width: int) -> None:
        super().__init__(runner)
        if runner.options.kv_cache_dtype == "fp8" and self._cuda:
            _refuse_before(FP8_CAPABILITY, runner.device)
        self._or_without_kernel(self._import_kernel)
        self._rows = rows
        self._sampling = sampling_of(runner.options)
        self._seed = runner.options.sampling_seed
        self.steps = STEPS if self._cuda else STEPS_ON_CPU
        # A row that goes on after its last token comes to two positions that hold the scratch, and stays there.
        self._width = width + 2
        self._places = max(SMALLEST_BATCH, _power_of_two(rows)) if self._cuda else rows
        """Most places in a batch, the dummies' included."""
        self._tables = self._new_tables()
        self._most_keys = self._zeros(rows + 1) + 1
        """By row: how many keys it ever sees, those of the scratch after its last token included; 1 for the dummy."""
        self._next = self._zeros(rows + 1, dtype=torch.int64)
        """By row: the token to feed."""
        self._draws = self._zeros(rows + 1, self._width, dtype=torch.float32) if self._sampling else None
        """By row and position that is fed: the draw for the token after it."""
        self._out_ids = self._zeros(self.steps, self._places, dtype=torch.int64)
        self._out_logprobs = self._zeros(self.steps, self._places, dtype=torch.float32)
        self._step = self._zeros(1, dtype=torch.int64)
        self._host_slots = np.zeros((rows + 1, self._width), dtype=np.int32)
        """The device's tables, of which the host makes its plans."""
        self._sent: dict[int, Row] = {}
        """By place: whose tables the device has."""
        self._composed = -1
        """Which of the schedule's batches the device has."""
        self._size = 0
        """Places in it."""
        self.layer_shapes = self._probe()
        self.pool = KeyValuePool(0, (), device=runner.device)
        self._space: DecodeWorkspace | None = None
        self._graphs = StepGraphs(runner, self._step)
        self._ahead = True

    def tokens(self, round_: PrefillRound | DecodeRound) -> int:
        """Tokens that a forward of the round is computed as."""
        if isinstance(round_, PrefillRound):
            return self.tokens_of_pack(round_.pack.used)
        return self._size_for(len(round_.batch))

    @property
    def least_pack(self) -> int:
        """Tokens that a pack is computed as at least."""
        return PACK_STEP if self._cuda else 1

    def tokens_of_pack(self, used: int) -> int:
        """Tokens that a pack is computed as: on CUDA a multiple of `PACK_STEP`, or always the whole budget where
        results must not depend on it."""
        if self._deterministic or not self._cuda:
            return self.padded_size(used)
        return -(-used // PACK_STEP) * PACK_STEP

    def has_room_for(self, *, rows: int, width: int, slots: int) -> bool:
        """Whether it can run a schedule with so many, with the pool that it has."""
        return rows <= self._rows and width + 2 <= self._width and slots <= self.pool.slots

    def start(self, pool: KeyValuePool) -> None:
        """Keep keys and values in `pool`, which is empty."""
        self.pool = pool
        self._graphs.forget()  # which read another one
        if self._fused_kernel:
            self._workspace()  # not within a capture, whose memory is its own

    def activation_bytes(self) -> int:
        """What a pack's or a step's intermediate numbers take at most, roughly and rather too much."""
        shape, config = self._runner.shape, self._runner.model.config.get_text_config()
        layers, inner = config.num_hidden_layers, getattr(config, "intermediate_size", None) or 4 * shape.hidden
        of_a_layer = (shape.query_width + 2 * shape.kv_width) // layers
        of_a_token = shape.bytes_per_value * (8 * shape.hidden + 4 * inner + 4 * of_a_layer)
        options = self._runner.options
        # Logits in their own dtype, in fp32, and their log-softmax; to draw, integer weights, and for top-p a sort.
        of_a_logit = shape.bytes_per_value + (8 if self._sampling is None else 48 if options.top_p < 1 else 24)
        read = max(self.max_sites or 0, self._places) * shape.vocab * of_a_logit
        return int(max(self.token_budget, self._places) * of_a_token + read + self._workspace_bytes())

    def _workspace_bytes(self) -> int:
        if not self._fused_kernel:
            return 0
        from evalsuite.attention.pooled_fused import workspace_bytes

        return workspace_bytes(
            cells=self._most_cells,
            heads=self._heads,
            value_dim=self._value_dim,
            shapes=self.layer_shapes,
            tokens=self.token_budget + self._width,  # a pack, and the prompt whose beginning was read before
            quantised=self._runner.options.kv_cache_dtype != "auto",
        )

    @property
    def _value_dim(self) -> int:
        return max(shape.value_dim for shape in self.layer_shapes)

    def _probe(self) -> list[LayerShape]:
        """What the model's layers hand over, by a forward of one token."""
        probe, token = ShapeProbe(), torch.zeros((1, 1), dtype=torch.int64, device=self._runner.device)
        with (
            self._runner.uncounted(),
            torch.compiler.set_stance("force_eager"),  # whatever is compiled is so for other shapes
            torch.inference_mode(),
            attention_from(self._runner.model, self._configs, probe),
        ):
            self._runner.forward(token, position_ids=token, use_cache=False)
        return probe.shapes

    # ---- prompts

    def prefill(self, round_: PrefillRound, schedule: Schedule) -> Written:
        """Read a pack of prompts; each of its rows writes its first token."""
        if not round_.admitted:  # all of it is the beginning of a longer prompt
            with self._on_device():
                self._read(round_.pack.tokens, round_.pack.positions, round_.tables, round_.pack.sites)
            return Written(lambda: (np.zeros((1, 0), dtype=np.int32), np.zeros((1, 0), dtype=np.float32)))
        draws = None
        if self._sampling is not None:
            first = [self._draws_of(schedule.requests[row.number], 1)[0] for row in round_.admitted]
            draws = self._to_device(np.array(first, dtype=np.float32))
        with self._on_device():
            logits = self._read(round_.pack.tokens, round_.pack.positions, round_.tables, round_.pack.sites)
            read = logits[self._to_device(round_.sites.astype(np.int64))]
            chosen, logprobs = self._choose(read, draws)
            written = self._written(chosen[None], logprobs[None])
            schedule.plan_ahead()  # while the device is at it
            self._capture_ahead(schedule)
            return written

    def _choose(self, logits: torch.Tensor, draws: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """As `choose`; on CUDA in one go over the logits where it need not be the same bits for any number of rows."""
        if self._fused_layers and not self._deterministic and self._sampling is None:
            with quiet_compilation():
                return _compiled_choose()(logits, None, None)  # type: ignore[no-any-return]
        if self._deterministic and logits.shape[-1] % 4:
            # Reductions read four numbers at a time, from wherever a row's first aligned one stands.
            logits = torch.nn.functional.pad(logits, (0, -logits.shape[-1] % 4), value=float("-inf"))
        return choose(logits, draws, self._sampling)

    def _written(self, token_ids: torch.Tensor, logprobs: torch.Tensor) -> Written:
        """Copies of [steps, rows] that are on their way to the host."""
        if not self._cuda:
            ids, floats = token_ids.numpy().astype(np.int32), logprobs.float().numpy().copy()
            return Written(lambda: (ids, floats))
        host_ids, host_logprobs = (
            torch.empty(tensor.shape, dtype=dtype, pin_memory=True)
            for tensor, dtype in ((token_ids, torch.int64), (logprobs, torch.float32))
        )
        host_ids.copy_(token_ids, non_blocking=True)
        host_logprobs.copy_(logprobs, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()

        def read() -> tuple[Ints, Floats]:
            copied.synchronize()
            return host_ids.numpy().astype(np.int32), host_logprobs.numpy()

        return Written(read)

    def _read(self, token_ids: Ints, positions: Ints, tables: PoolPack, sites: Ints) -> torch.Tensor:
        """Logits at sites of a pack, [sites, vocab]; keys and values of the whole pack are in the pool then."""
        size = self.tokens_of_pack(len(token_ids))
        self._runner.counters.padding_tokens += size - len(token_ids)
        ids = self._padded(token_ids, size, fill=self._runner.pad_id)
        at = self._padded(positions, size)
        slots = self._padded(tables.own, size, fill=SCRATCH)
        columns = self._padded(sites, self.max_sites or len(sites))

        def forward() -> torch.Tensor:
            run = PoolPass(self.pool, slots, self._prefill_attention(tables), self._store())
            with self._layers(dynamic=not self._deterministic), attention_from(self._runner.model, self._configs, run):
                return self._logits_at(columns, ids, at, run)

        return self._or_without_kernel(forward)

    def catch_up(self, schedule: Schedule) -> None:
        """Compute keys and values of all that is under way, where earlier rounds were not run by this process.

        Counted by the runner, and in no counter.
        """
        sequences = [(row.slots, schedule.row_tokens(row)) for row in schedule.running.values()]
        sequences.append(schedule.carried)
        sequences = [(slots[: len(tokens)], tokens) for slots, tokens in sequences if len(tokens)]
        token_of = np.zeros(self.pool.slots, dtype=np.int32)
        for slots, tokens in sequences:
            token_of[slots] = tokens
        # A slot stands for a node of the prefix tree, so sequences of slots share what the tokens' share.
        branches = [Branch(tokens=slots.tolist(), reads=(len(slots) - 1,)) for slots, _ in sequences]
        before = np.empty(0, dtype=np.int32)
        with self._runner.uncounted() as work, self._on_device():
            for pack in packs(branches, token_budget=schedule.pack_budget, max_sites=self.max_sites):
                tables = PoolPack.of(pack, before=before, own=pack.tokens)
                self._read(token_of[pack.tokens], pack.positions, tables, pack.sites[:1])
                before = at_indices(pack.carry, pack, before=before, own=pack.tokens)
        self._runner.recomputed_tokens += work.tokens_computed

    # ---- steps

    def decode(self, round_: DecodeRound, schedule: Schedule) -> Written:
        """The round's steps for its batch."""
        try:
            with self._on_device():
                if round_.batch_number != self._composed:
                    self._compose(round_, schedule)
                rows, steps = len(round_.batch), round_.steps
                self._step.zero_()
                for _ in range(steps):
                    self._graphs.run(self._size, self._step_forward)
                self._runner.counters.padding_tokens += (self._size - rows) * steps
                return self._written(self._out_ids[:steps, :rows], self._out_logprobs[:steps, :rows])
        except BaseException:
            self.forget_batch()  # some rows may have gone on and others not
            raise

    def forget_batch(self) -> None:
        """Make the next round's batch anew, state and all."""
        self._composed = -1
        self._sent.clear()

    def _compose(self, round_: DecodeRound, schedule: Schedule) -> None:
        """Tell the device whom the next steps are for, and where they stand."""
        batch, tables = round_.batch, self._tables
        size = self._size_for(len(batch))
        if self._wants_graph(size):
            self._capture(size)
        rows = round_.places
        places = np.full(size, self._rows, dtype=np.int64)
        places[: len(batch)] = rows
        new = [row for row in batch if self._sent.get(row.place) is not row]
        for row in new:
            self._sent[row.place] = row
            self._host_slots[row.place] = SCRATCH
            self._host_slots[row.place, : len(row.slots)] = row.slots
        if new:
            at = np.array([row.place for row in new], dtype=np.int64)
            where = self._to_device(at)
            tables.slots.index_copy_(0, where, self._to_device(self._host_slots[at]))
            if self._draws is not None:
                self._draws.index_copy_(0, where, self._to_device(self._fed_draws(new, schedule)))
        most = np.array([len(row.slots) + 1 for row in batch], dtype=np.int32)
        fed = np.array([row.prompt for row in batch], dtype=np.int32) + schedule.written[rows] - 1
        last = schedule.tokens[rows, schedule.written[rows] - 1].astype(np.int64)
        where = self._to_device(rows)
        tables.lengths.index_copy_(0, where, self._to_device(fed))
        self._most_keys.index_copy_(0, where, self._to_device(most))
        self._next.index_copy_(0, where, self._to_device(last))
        tables.active[:size].copy_(self._to_device(places))
        if self._fused_kernel:
            ends = np.zeros(size, dtype=np.int32)
            ends[: len(batch)] = most
            plan = self._workspace().plan(self._host_slots, places, ends, kv_heads=self._kv_heads)
            tables.items[: len(plan.items)].copy_(self._to_device(plan.items))
            tables.item_counts.copy_(self._to_device(np.array([0, plan.shared, len(plan.items)], dtype=np.int32)))
            tables.entries[: len(plan.entries)].copy_(self._to_device(plan.entries))
            tables.cells[: len(plan.cells)].copy_(self._to_device(plan.cells))
        self._composed, self._size = round_.batch_number, size

    def _fed_draws(self, rows: Sequence[Row], schedule: Schedule) -> np.ndarray[Any, Any]:
        """[rows, width]: at each position that is fed, the draw for the token after it."""
        draws = np.zeros((len(rows), self._width), dtype=np.float32)
        for i, row in enumerate(rows):
            request = schedule.requests[row.number]
            draws[i, row.prompt : row.prompt + request.max_new_tokens - 1] = self._draws_of(
                request, request.max_new_tokens
            )[1:]
        return draws

    def _draws_of(self, request: EncodedPrompt, count: int) -> np.ndarray[Any, Any]:
        return uniforms(self._seed, request.id, count)

    def _step_forward(self, size: int) -> None:
        """Feed each row of the batch the token that it wrote last. On CUDA the host looks at no tensor here."""
        tables = self._tables
        rows = tables.active[:size]
        positions = tables.lengths[rows].long()
        slots = tables.slots[rows, positions].long()
        ids = self._next[rows]
        tables.lengths.index_copy_(0, rows, torch.minimum(positions.int() + 1, self._most_keys[rows]))
        # Rows that go on to the end of a round may leave the model's window.
        at = positions if self._runner.window is None else positions.clamp(max=self._runner.window - 1)
        run = PoolPass(self.pool, slots, self._decode_attention(size), self._store())
        with self._layers(dynamic=not self._deterministic), attention_from(self._runner.model, self._configs, run):
            output = self._runner.forward(ids[None], position_ids=at[None], use_cache=False)
        draws = None if self._draws is None else self._draws[rows, positions]
        chosen, logprobs = self._choose(output.logits[0], draws)
        self._next.index_copy_(0, rows, chosen)
        self._out_ids[:, :size].index_copy_(0, self._step, chosen[None])
        self._out_logprobs[:, :size].index_copy_(0, self._step, logprobs[None])
        self._step += 1

    def _capture_ahead(self, schedule: Schedule) -> None:
        """Capture the step of the batch that is to be expected while the device reads prompts."""
        size = self._size_for(schedule.most_rows)
        if not self._ahead or self._composed >= 0 or not self._wants_graph(size):
            return
        try:
            self._capture(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._ahead = False  # there may be room when it is wanted; then the batch is halved if there is not

    def _wants_graph(self, size: int) -> bool:
        return self._uses_graphs and not self._graphs.settled(size)

    def _capture(self, size: int) -> None:
        """Keep a step for batches of `size` as a CUDA graph; where that fails, steps are launched kernel by kernel."""
        self._tables.active[:size].fill_(self._rows)  # the dummy alone: what it writes goes to the scratch
        self._tables.item_counts.zero_()
        self._tables.cells.zero_()
        with self._runner.uncounted():
            self._or_without_kernel(lambda: self._graphs.warm_up(size, self._step_forward))
            if self._uses_graphs:  # the kernel was not dropped
                self._graphs.capture(size, self._step_forward, step_bytes=self.activation_bytes())

    def _size_for(self, rows: int) -> int:
        """Places of a batch: on CUDA powers of two, so that graphs stay few, or where results must not depend on the
        batch always the same."""
        if not self._cuda:
            return rows
        return self._places if self._deterministic else min(self._places, max(SMALLEST_BATCH, _power_of_two(rows)))

    @property
    def _uses_graphs(self) -> bool:
        return self._fused_kernel and not self._graphs.failed

    # ---- attention

    def _import_kernel(self) -> None:
        if self._fused_kernel:
            import evalsuite.attention.pooled_fused  # noqa: F401

    def _prefill_attention(self, tables: PoolPack) -> PoolAttend:
        if not self._fused_kernel:
            return plain_prefill(tables, self._runner.device)
        from evalsuite.attention.pooled_fused import fused_prefill

        return fused_prefill(tables, self._runner.device)

    def _store(self) -> Store:
        if not self._fused_kernel:
            return plain_store
        from evalsuite.attention.pooled_fused import fused_store

        return fused_store

    def _decode_attention(self, size: int) -> PoolAttend:
        if not self._fused_kernel:
            return plain_decode(replace(self._tables, active=self._tables.active[:size]))
        from evalsuite.attention.pooled_fused import fused_decode

        return fused_decode(self._tables, self._workspace())

    def _workspace(self) -> DecodeWorkspace:
        """What spans of keys hand on within a step; made for the widest layer, once."""
        if self._space is None:
            from evalsuite.attention.pooled_fused import decode_workspace, most_members

            self._space = decode_workspace(
                self._runner.device,
                cells=self._most_cells,
                heads=self._heads,
                value_dim=self._value_dim,
                members=most_members(self._heads, self._kv_heads, fixed=self._deterministic),
                fixed=self._deterministic,
            )
        return self._space

    @property
    def _heads(self) -> int:
        return int(self._runner.model.config.get_text_config().num_attention_heads)

    @property
    def _kv_heads(self) -> int:
        return getattr(self._runner.model.config.get_text_config(), "num_key_value_heads", None) or self._heads

    @property
    def _most_cells(self) -> int:
        """Of the kernels' plans."""
        if not self._fused_kernel:
            return 0
        from evalsuite.attention.pooled_fused import most_cells

        return most_cells(self._places, self._width, fixed=self._deterministic)

    def _new_tables(self) -> DecodeTables:
        return DecodeTables(
            slots=self._zeros(self._rows + 1, self._width),
            lengths=self._zeros(self._rows + 1),
            active=self._zeros(self._places, dtype=torch.int64),
            items=self._zeros(self._most_cells, 4),
            item_counts=self._zeros(3),
            entries=self._zeros(self._most_cells, 3),
            cells=self._zeros(self._places + 1),
        )

    def _zeros(self, *shape: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
        return torch.zeros(*shape, dtype=dtype, device=self._runner.device)


@cache
def _compiled_choose() -> Any:
    return compiled(choose, dynamic=True)


def _refuse_before(needed: tuple[int, int], device: torch.device) -> None:
    has = torch.cuda.get_device_capability(device)
    if has < needed:
        raise ConfigError(
            f"kv_cache_dtype: fp8 needs a GPU of compute capability {needed[0]}.{needed[1]} or more, and {device} has "
            f"{has[0]}.{has[1]}; use int8"
        )


def _power_of_two(number: int) -> int:
    """The smallest that is not less than `number`."""
    return 1 << (number - 1).bit_length()
