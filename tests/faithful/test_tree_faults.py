"""Faults of a packed prefix tree, planted one by one: the verdict must go red, and is green without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from evalsuite.attention.by_segment import SegmentAttention
from evalsuite.config import ExecutionOptions
from evalsuite.planning.packs import Branch, Pack, packs
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
        return SegmentAttention(
            tuple((start, start, torch.arange(end)) for start, end in zip(pack.starts.tolist(), ends, strict=True))
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
    """The first branch of every pack but the first goes on where it was cut, without its beginning."""

    def planned(branches: Sequence[Branch], **settings: Any) -> Iterator[Pack]:
        cut = {pack.placements[0].branch for pack in list(packs(branches, **settings))[1:]}
        assert cut, "packs are small enough that there is a boundary"
        yield from packs([_without_beginning(b) if i in cut else b for i, b in enumerate(branches)], **settings)

    monkeypatch.setattr(_packing, "packs", planned)


def _without_beginning(branch: Branch) -> Branch:
    half = len(branch.tokens) // 2
    return Branch(tokens=branch.tokens[half:], reads=tuple(read - half for read in branch.reads))


def mapped_to_the_wrong_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read for one row of a pack is handed to the next."""
    real = _packing.lay_out

    def laid_out(*args: Any, **settings: Any) -> Iterator[PackedRows]:
        for packed in real(*args, **settings):
            yield PackedRows([*packed.rows[1:], packed.rows[0]], packed.pack)

    monkeypatch.setattr(_packing, "lay_out", laid_out)


FAULTS: list[tuple[Plant, tuple[str, ...]]] = [
    (sees_its_sibling, ARCHITECTURES),
    (prefix_off_by_one, ARCHITECTURES),
    (positions_count_through_the_pack, ARCHITECTURES),
    (a_boundary_cuts_a_branch, ARCHITECTURES),
    (mapped_to_the_wrong_owner, ARCHITECTURES),
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
