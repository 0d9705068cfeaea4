"""A small case, and a candidate's figures on it without a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.decoding.interface import Candidate
from benchmarks.decoding.reference import TOLERANCES, reference
from benchmarks.decoding.timing import Timing, measure
from benchmarks.decoding.workloads import SCRATCH_NUMBER, Case, slots_of
from evalsuite.attention.pool import PoolLayer
from evalsuite.shapes import Shape

SHAPE = Shape(
    hidden_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    intermediate_size=64,
    tie_word_embeddings=True,
    vocab_size=1_000,
)
TOLERANCE = TOLERANCES["float32"]


def case_from(sequences: list[tuple[int, ...]]) -> Case:
    """Random numbers in the shape of `SHAPE`, float32, of rows that see these tokens."""
    slots, lengths = slots_of(sequences)
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(int(slots.max()) + 1, 2, 32, generator=generator) for _ in range(2))
    keys[0] = values[0] = SCRATCH_NUMBER
    layer = PoolLayer(keys, values, None, None)
    return Case(slots=slots, lengths=lengths, query=torch.randn(len(slots), 4, 32, generator=generator), layer=layer)


def clock(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
    """Stands for the clock of a card, by which every call takes 2 ms."""
    return Timing(seconds=2e-3, fastest=1e-3, slowest=3e-3, calls=3, not_replayed=None, out=call())


def measured(make: Candidate, case: Case) -> dict[str, Any]:
    """Its figures by `clock`."""
    return measure(make, case, reference(case), tolerance=TOLERANCE, clock=clock)
