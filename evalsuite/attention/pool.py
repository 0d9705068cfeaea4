"""Keys and values of every token that a run still needs, by slot, and what attention over them is called with.

A slot holds one token of the prefix tree of all sequences, in every layer: a page of one token. A sequence is a list of
slots, so sequences share what they share at any token. Slot 0 is scratch: whatever stands in a batch to fill it up
writes there. Its content is always finite, and no sequence has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from evalsuite.attention.interface import ScoreRule
from evalsuite.planning.packs import Ints, Pack

SCRATCH = 0
FAR = 2**30
"""More than any slot."""
_QUANTISED = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}
"""Name of a format to the dtype that numbers are kept in, and the largest of it that is used."""
SMALLEST_SCALE = 1e-12


@dataclass(frozen=True, slots=True)
class PoolLayer:
    """Keys and values of one layer."""

    keys: torch.Tensor
    """[slots, kv heads, dim], contiguous."""
    values: torch.Tensor
    """[slots, kv heads, value dim]."""
    key_scales: torch.Tensor | None
    """[slots, kv heads], fp32: a key is `keys * key_scales[..., None]`; None where keys are kept as they came."""
    value_scales: torch.Tensor | None

    @property
    def most_numbers(self) -> int:
        """In the larger of both."""
        return max(self.keys.numel(), self.values.numel())


KeysAndValues = tuple[torch.Tensor, torch.Tensor]
"""[kv heads, tokens, dim] each, views in any layout."""

Store = Callable[[PoolLayer, torch.Tensor, torch.Tensor, torch.Tensor], None]
"""Keeps keys and values [kv heads, tokens, dim] in a layer at slots [tokens], int64."""


class PoolAttend(Protocol):
    """Attention over a pool, for the tokens of one forward."""

    def __call__(
        self,
        query: torch.Tensor,
        layer: PoolLayer,
        fresh: KeysAndValues,
        rule: ScoreRule,
    ) -> torch.Tensor:
        """query [heads, tokens, dim], a view in any layout; returns [tokens, heads, value dim] in its dtype.

        Args:
            fresh: of the same tokens, as they came; the layer has them, too.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolPack:
    """Where the keys of a pack stand in the pool. Tables as in `planning.packs.Pack`, and their slots."""

    starts: Ints
    """[segments]: where the segment's first token stands in the pack."""
    lengths: Ints
    """[segments]: its tokens."""
    ancestors: Ints
    """[segments]: how many tokens come before it in its branch."""
    paths: Ints
    """[segments]: where in `path` the list of these begins."""
    path: Ints
    """Slots of ancestors, root first."""
    indices: Ints
    """The same ancestors by their index in the pack, -carried to -1 for those that were carried in."""
    near: Ints
    """The same once more: those that stand in the pack by their index in it, the others by their slot less `FAR`."""
    before: Ints
    """[carried]: slots of what was carried in, the only ancestors that stand outside the pack."""
    own: Ints
    """[used]: the slot of each of the pack's tokens."""

    @classmethod
    def of(cls, pack: Pack, *, before: Ints, own: Ints) -> PoolPack:
        """A pack whose tokens stand at `own`, and what was carried into it at `before`."""
        return cls(
            starts=pack.starts,
            lengths=pack.lengths,
            ancestors=pack.ancestors,
            paths=pack.paths,
            path=at_indices(pack.path, pack, before=before, own=own),
            indices=pack.path,
            near=at_indices(pack.path, pack, before=before - FAR, own=np.arange(len(own), dtype=np.int32)),
            before=before,
            own=own,
        )

    @property
    def used(self) -> int:
        return len(self.own)


def at_indices(indices: Ints, pack: Pack, *, before: Ints, own: Ints) -> Ints:
    """What belongs to some of a pack's indices: of its own tokens `own`, of those that were carried in, whose indices
    are negative, `before`."""
    return np.concatenate([before, own])[indices + pack.carried]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeTables:
    """What one step of one token a row reads. Tensors keep their addresses, so that a CUDA graph can read them."""

    slots: torch.Tensor
    """[rows + 1, width], int32: slot of each position of a row; 0 where it has none. The last row is the dummy, which
    fills a batch up."""
    lengths: torch.Tensor
    """[rows + 1], int32: how many keys a row sees in this step, its new one included; 1 for the dummy."""
    active: torch.Tensor
    """[most in a batch], int64: which row stands at each place of the batch."""
    items: torch.Tensor
    """[capacity, 4], int32: what the kernels work on, a plan of `planning.spans`; as its other tables, unread here
    where the kernels are not used."""
    item_counts: torch.Tensor
    """[3], int32: 0, items of several entries, all items."""
    entries: torch.Tensor
    """[capacity, 3], int32."""
    cells: torch.Tensor
    """[most in a batch + 1], int32."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What a layer hands over for a token."""

    heads: int
    """Key heads."""
    dim: int
    value_dim: int
    dtype: torch.dtype


class KeyValuePool:
    """The tensors of a pool, one pair a layer.

    Args:
        slots: how many tokens it holds, the scratch included.
        shapes: of the layers, in the order in which they attend.
        kept_as: "auto" for the dtype that they come in, or "int8" or "fp8": 8 bits, and a scale for each token and
            head, so that the largest number of a head takes the whole range.
    """

    def __init__(
        self, slots: int, shapes: Sequence[LayerShape], *, device: torch.device, kept_as: str = "auto"
    ) -> None:
        self.slots = slots
        self.kept_as = kept_as
        self.layers = [_new_layer(slots, shape, device, kept_as) for shape in shapes]

    @property
    def bytes(self) -> int:
        tensors = [t for layer in self.layers for t in (layer.keys, layer.values, layer.key_scales, layer.value_scales)]
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _new_layer(slots: int, shape: LayerShape, device: torch.device, kept_as: str) -> PoolLayer:
    scaled = kept_as in _QUANTISED
    dtype = _QUANTISED[kept_as][0] if scaled else shape.dtype

    # Zeros, not whatever stood there: a key that is masked is still multiplied by 0.
    def zeros(*last: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(slots, shape.heads, *last, dtype=dtype, device=device)

    return PoolLayer(
        keys=zeros(shape.dim, dtype=dtype),
        values=zeros(shape.value_dim, dtype=dtype),
        key_scales=zeros(dtype=torch.float32) if scaled else None,
        value_scales=zeros(dtype=torch.float32) if scaled else None,
    )


@dataclass(slots=True)
class ShapeProbe:
    """A forward that finds out what the layers hand over, and attends to nothing."""

    shapes: list[LayerShape] = field(default_factory=list)
    layers: int = 0
    windows: int = 0

    def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        self.layers += 1
        self.windows += rule.window is not None
        self.shapes.append(LayerShape(key.shape[0], key.shape[-1], value.shape[-1], key.dtype))
        return query.new_zeros(query.shape[1], query.shape[0], value.shape[-1])


def bytes_per_token(shapes: Sequence[LayerShape], *, kept_as: str) -> int:
    """Of keys and values of one token in all layers."""
    numbers = sum(shape.heads * (shape.dim + shape.value_dim) for shape in shapes)
    if kept_as in _QUANTISED:
        return numbers + sum(2 * 4 * shape.heads for shape in shapes)
    return sum(shape.heads * (shape.dim + shape.value_dim) * shape.dtype.itemsize for shape in shapes)


def largest_of(dtype: torch.dtype) -> float:
    """The largest number that is used of an 8-bit format."""
    return next(largest for kept, largest in _QUANTISED.values() if kept == dtype)


@dataclass(slots=True)
class PoolPass:
    """One forward whose keys and values go into a pool, and come from there."""

    pool: KeyValuePool
    slots: torch.Tensor
    """[tokens], int64 on the device: where each token's keys and values go."""
    attend: PoolAttend
    store: Store
    layers: int = 0
    windows: int = 0

    def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        layer = self.pool.layers[self.layers]
        self.store(layer, self.slots, key, value)
        self.layers += 1
        self.windows += rule.window is not None
        return self.attend(query, layer, (key, value), rule)
