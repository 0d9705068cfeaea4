"""Faults of a packed prefix tree, planted one by one: the verdict must go red, and is green without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from evalsuite import last_layer
from evalsuite.attention.by_segment import SegmentAttention
from evalsuite.attention.interface import RowsOfLayer, TreePass
from evalsuite.config import ExecutionOptions
from evalsuite.planning.packs import Pack, packs
from evalsuite.scoring import _packing
from evalsuite.scoring._packing import PackedRows
from tests.faithful.verdicts import TEXTS, Plant, scoring_verdict
from tests.tiny import ARCHITECTURES, tiny_loaded

SMALL_PACKS = ExecutionOptions(token_budget=60)
"""So small that the texts take several."""


def sees_its_sibling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch attends to everything before it in the pack."""

    def attention(pack: Pack, device: torch.device) -> SegmentAttention:
        ends = [*pack.starts[1:].tolist(), pack.used]
        spans = zip(pack.starts.tolist(), ends, strict=True)
        return SegmentAttention(
            tuple((start, pack.carried + start, torch.arange(pack.carried + end)) for start, end in spans)
        )

    monkeypatch.setattr(_packing, "segment_attention", attention)


def prefix_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch attends to its ancestors but the first, and to the last of them twice."""
    real = Pack.branch_indices

    def branch_indices(self: Pack, segment: int) -> Any:
        indices, before = real(self, segment), int(self.ancestors[segment])
        return np.concatenate([indices[1:before], indices[before - 1 :]]) if before else indices

    monkeypatch.setattr(Pack, "branch_indices", branch_indices)


def positions_count_through_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions do not restart at a branch."""

    def planned(*args: Any, **settings: Any) -> Iterator[Pack]:
        for pack in packs(*args, **settings):
            yield replace(pack, positions=np.arange(pack.used, dtype=np.int32))

    monkeypatch.setattr(_packing, "packs", planned)


def a_boundary_cuts_a_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch that a pack ends in goes on in the next one without what it had before the cut."""
    real = TreePass.run_layer

    def run_layer(self: TreePass, *args: Any) -> torch.Tensor:
        self.kept = [(torch.zeros_like(key), torch.zeros_like(value)) for key, value in self.kept]
        return real(self, *args)

    monkeypatch.setattr(TreePass, "run_layer", run_layer)


def handed_on_in_the_wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a pack hands on is one position off."""
    real = _packing.packs

    def planned(*args: Any, **settings: Any) -> Iterator[Pack]:
        for pack in real(*args, **settings):
            yield replace(
                pack,
                carry=np.concatenate([pack.carry[-1:], pack.carry[:-1]]) if (pack.carry >= 0).all() else pack.carry,
            )

    monkeypatch.setattr(_packing, "packs", planned)


def mapped_to_the_wrong_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for one row of a pack is handed to the next."""
    real = _packing.lay_out

    def laid_out(*args: Any, **settings: Any) -> Iterator[PackedRows]:
        for packed in real(*args, **settings):
            yield PackedRows([*packed.rows[1:], packed.rows[0]], packed.pack, packed.before)

    monkeypatch.setattr(_packing, "lay_out", laid_out)


def last_layer_of_the_row_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed in the last layer for a row is the next token's."""
    real = last_layer._narrowed
    monkeypatch.setattr(
        last_layer, "_narrowed", lambda given, rows, tokens: real(given, (rows + 1).clamp(max=tokens - 1), tokens)
    )


def last_layer_at_other_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the last layer have the positions of the pack's first tokens."""
    real = last_layer._narrowed

    def narrowed(given: Any, rows: torch.Tensor, tokens: int) -> Any:
        return real(given, rows if isinstance(given, torch.Tensor) else torch.arange(len(rows)), tokens)

    monkeypatch.setattr(last_layer, "_narrowed", narrowed)


def rows_of_the_last_layer_trade_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of the last layer attends to what another one should."""
    real = RowsOfLayer.run_layer

    def run_layer(self: RowsOfLayer, *args: Any) -> torch.Tensor:
        return real(replace(self, rows=self.rows.roll(1)), *args)

    monkeypatch.setattr(RowsOfLayer, "run_layer", run_layer)


def last_layer_attends_to_the_layer_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and values of the last layer are another's."""
    real, seen = TreePass.run_layer, []

    def run_layer(self: TreePass, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any) -> Any:
        if self.layers:
            key, value = seen[-1]
        seen.append((key, value))
        return real(self, query, key, value, *args)

    monkeypatch.setattr(TreePass, "run_layer", run_layer)


ROTARY = ("qwen3", "llama")
"""GPT-2 tells its positions to no layer."""
FAULTS: list[tuple[Plant, tuple[str, ...]]] = [
    (sees_its_sibling, ARCHITECTURES),
    (prefix_off_by_one, ARCHITECTURES),
    (positions_count_through_the_pack, ARCHITECTURES),
    (a_boundary_cuts_a_branch, ARCHITECTURES),
    (handed_on_in_the_wrong_order, ARCHITECTURES),
    (mapped_to_the_wrong_owner, ARCHITECTURES),
    (last_layer_of_the_row_beside, ARCHITECTURES),
    (last_layer_at_other_positions, ROTARY),
    (rows_of_the_last_layer_trade_places, ARCHITECTURES),
    (last_layer_attends_to_the_layer_before, ARCHITECTURES),
]


@pytest.mark.parametrize(
    ("plant", "architecture"),
    [
        pytest.param(plant, architecture, id=f"{plant.__name__}-{architecture}")
        for plant, architectures in FAULTS
        for architecture in architectures
    ],
)
def test_a_fault_in_the_tree_goes_red(plant: Plant, architecture: str) -> None:
    texts = [*TEXTS, *TEXTS]  # with duplicates but for the number
    sound = scoring_verdict(tiny_loaded(architecture), "packed", texts=texts, options=SMALL_PACKS)
    assert sound.faithful, sound.summary()
    assert not scoring_verdict(tiny_loaded(architecture), "packed", plant, texts=texts, options=SMALL_PACKS).faithful
