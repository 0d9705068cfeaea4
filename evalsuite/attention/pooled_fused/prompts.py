"""Attention of packs of prompts over a pool.

It is the kernel of `fused.py`, whose results do not depend on company. A pack's many tiles read a key many times, so
that kernel knows no 8-bit numbers: of a pool of them it is handed a copy of what the pack attends to, in the model's
dtype and with scales applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from evalsuite.attention.fused import MOST_ELEMENTS, Tiles, launch, on_device
from evalsuite.attention.interface import NoTreeAttention, ScoreRule
from evalsuite.attention.pool import FAR, KeysAndValues, LayerShape, PoolAttend, PoolLayer, PoolPack
from evalsuite.attention.pooled_plain import gathered


@dataclass(frozen=True, slots=True)
class PooledTiles:
    """`PoolAttend` over one pack."""

    pack: PoolPack
    device: torch.device
    tiles: Tiles
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    """Those of `pack` that were wanted, int32 on the device, by name."""

    def __call__(
        self,
        query: torch.Tensor,
        layer: PoolLayer,
        fresh: KeysAndValues,
        rule: ScoreRule,
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        # Of a pool that rounds, the pack's own keys are read back: a prompt sees what the steps after it will see.
        own = fresh if layer.key_scales is None else self._copied(layer, "own", query.dtype)
        query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, *own))
        if layer.key_scales is None and layer.most_numbers <= MOST_ELEMENTS:
            kept, path, carried = (layer.keys.transpose(0, 1), layer.values.transpose(0, 1)), "near", FAR
        else:
            path, carried = "indices", len(self.pack.before)
            kept = self._copied(layer, "before", query.dtype) if carried else (key, value)
        if (most := max(x.numel() for x in (query, key, value, *kept))) > MOST_ELEMENTS:
            raise NoTreeAttention(
                f"{most:,} numbers in a pack's queries, or in what they see; use a smaller --token-budget"
            )
        out = query.new_empty(tokens, heads, value.shape[-1])
        out[self.pack.used :].zero_()  # the padding: what comes of it is written to the pool's scratch
        tiles = self.tiles.for_group(heads // len(key))
        launch(query, key, value, *kept, out, tiles, self._table(path), carried, rule)
        return out

    def _copied(self, layer: PoolLayer, name: str, dtype: torch.dtype) -> KeysAndValues:
        """Keys and values at the slots of a table, their scales applied: numbers in `dtype`, each rounded once."""
        keys, values = gathered(layer, self._table(name), dtype)
        return keys.transpose(0, 1), values.transpose(0, 1)

    def _table(self, name: str) -> torch.Tensor:
        if name not in self.tables:
            self.tables[name] = on_device(getattr(self.pack, name), self.device)
        return self.tables[name]


def fused_prefill(pack: PoolPack, device: torch.device) -> PoolAttend:
    """The tables of a pack on a device. Tokens of the padding behind a pack attend to nothing and come out as 0."""
    return PooledTiles(pack=pack, device=device, tiles=Tiles(pack, device))


def copied_bytes(shapes: Sequence[LayerShape], *, tokens: int) -> int:
    """What the copy takes that is made of what a pack attends to, where the pool keeps 8-bit numbers. (Of one of more
    than `MOST_ELEMENTS`, too, something is copied: little beside what such a pool takes, and not counted.)

    Args:
        shapes: of the layers, one of which is copied at a time.
        tokens: most that a pack has and is handed from before it.
    """
    return tokens * max(_copied_bytes_per_token(shape) for shape in shapes)


def _copied_bytes_per_token(shape: LayerShape) -> int:
    """Of a layer's keys and values; and while one of both is made, 8-bit numbers, and fp32 without and with scales."""
    made = shape.dtype.itemsize * (shape.dim + shape.value_dim) + (1 + 4 + 4) * max(shape.dim, shape.value_dim)
    return shape.heads * made
