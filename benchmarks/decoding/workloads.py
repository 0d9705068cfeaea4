"""Which rows are in the batch and what they see, and one layer's queries, keys and values for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.peers.prompts import requests
from evalsuite.attention.pool import PoolLayer
from evalsuite.planning.packs import Ints
from evalsuite.shapes import Shape

EVEN = "even"
SCRATCH_NUMBER = 1e4
"""Stands wherever no row has a key. What reads it is wrong by much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Which rows are in the batch, and what they have seen."""

    name: str
    """Of `WORKLOADS`, or `EVEN`."""
    rows: int
    tokens: int
    """New tokens that each row has; of `EVEN`, keys that each sees."""
    sharing: int = 1
    """Neighbours that have their first `shared` keys in common, of `EVEN`."""
    shared: int = 0

    def __str__(self) -> str:
        sharing = f":{self.sharing}:{self.shared}" if self.shared else ""
        return f"{self.name}:{self.rows}:{self.tokens}{sharing}"

    def sequences(self, vocab: int) -> list[tuple[int, ...]]:
        """The tokens that each row sees. Those of its own are negative, so no other row has them."""
        own = [(-1 - row,) for row in range(self.rows)]
        if self.name == EVEN:
            return [
                (row // self.sharing,) * self.shared + own[row] * (self.tokens - self.shared)
                for row in range(self.rows)
            ]
        prompts = requests(self.name, vocab=vocab, count=self.rows, new_tokens=self.tokens, seed=0)
        return [prompt.prompt_ids + own[row] * self.tokens for row, prompt in enumerate(prompts)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One layer at one step."""

    slots: Ints
    """[rows, width]: slot of each key that a row sees, then 0. Rows share the slots of what they have in common."""
    lengths: Ints
    """[rows]: keys that each sees."""
    query: torch.Tensor
    """[rows, heads, dim]."""
    layer: PoolLayer

    @property
    def device(self) -> torch.device:
        return self.query.device

    @property
    def scale(self) -> float:
        return float(self.query.shape[-1] ** -0.5)

    @property
    def group(self) -> int:
        """Query heads of a key head."""
        return self.query.shape[1] // self.layer.keys.shape[1]

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    @property
    def bytes_per_key(self) -> int:
        """Of a token's keys and values."""
        return sum(tensor[0].nbytes for tensor in (self.layer.keys, self.layer.values))

    def ints(self, numbers: Any) -> torch.Tensor:
        """int32, on the device."""
        return torch.tensor(np.asarray(numbers), dtype=torch.int32, device=self.device)

    def bounds(self, counts: Any) -> torch.Tensor:
        """[rows + 1]: 0, and the sums of `counts` so far."""
        return self.ints(np.concatenate([[0], np.cumsum(counts)]))

    def at(self, slots: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values there: [..., kv heads, dim] each."""
        where = torch.tensor(np.asarray(slots), dtype=torch.int64, device=self.device)
        return self.layer.keys[where], self.layer.values[where]


def case_of(workload: Workload, shape: Shape, *, dtype: str, device: str, seed: int = 0) -> Case:
    """Random queries, keys and values in the shape of one layer."""
    slots, lengths = slots_of(workload.sequences(shape.vocab_size))
    generator = torch.Generator(device=device).manual_seed(seed)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, shape.head_dim, generator=generator, device=device, dtype=getattr(torch, dtype))

    keys, values = (normal(int(slots.max()) + 1, shape.num_key_value_heads) for _ in range(2))
    keys[0] = values[0] = SCRATCH_NUMBER
    query = normal(workload.rows, shape.num_attention_heads)
    return Case(slots=slots, lengths=lengths, query=query, layer=PoolLayer(keys, values, None, None))


def slots_of(sequences: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Slots [rows, longest] and lengths [rows]. Neighbours share what they have in common from the first token on."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int32)
    slots = np.zeros((len(sequences), int(lengths.max())), dtype=np.int32)
    free = 1
    before: tuple[int, ...] = ()
    for row, sequence in enumerate(sequences):
        unlike = (i for i, (a, b) in enumerate(zip(before, sequence, strict=False)) if a != b)
        common = next(unlike, min(len(before), len(sequence)))
        own = len(sequence) - common
        slots[row, :common] = slots[row - 1, :common]
        slots[row, common : len(sequence)] = np.arange(free, free + own)
        free, before = free + own, sequence
    return slots, lengths


def sizes(case: Case) -> dict[str, int]:
    """What the rows see."""
    keys = int(case.lengths.sum())
    distinct = len(np.unique(case.slots[case.slots != 0]))
    return {
        "rows": len(case.lengths),
        "keys": keys,
        "least_keys": int(case.lengths.min()),
        "most_keys": case.longest,
        "needed_bytes": keys * case.bytes_per_key,
        "distinct_keys": distinct,
        "distinct_bytes": distinct * case.bytes_per_key,
    }
