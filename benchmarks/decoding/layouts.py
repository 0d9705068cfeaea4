"""Ways to lay a case's keys and values out that several candidates want."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.decoding.workloads import Case
from evalsuite.planning.packs import Ints

BLOCK = 128
"""Keys of a block of FlexAttention's mask. Rows of one width are as long as the longest row, up to a multiple of it."""
PAGE = 256
"""The least that FlashAttention 2 takes."""


def padded_slots(case: Case) -> Ints:
    """[rows, width]: one width for all."""
    return np.pad(case.slots, ((0, 0), (0, -case.longest % BLOCK)))


def static_cache(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """As transformers' StaticCache has them: [rows, kv heads, width, dim] each, contiguous."""
    keys, values = case.at(padded_slots(case))
    return keys.transpose(1, 2).contiguous(), values.transpose(1, 2).contiguous()


def pages(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Keys and values [pages, PAGE, kv heads, dim], and the table [rows, most of a row], int32."""
    table = np.zeros((len(case.slots), -(-case.longest // PAGE)), dtype=np.int32)
    numbers: dict[int, int] = {}
    content: list[Ints] = []
    for row, (slots, length) in enumerate(zip(case.slots, case.lengths.tolist(), strict=True)):
        for place, start in enumerate(range(0, length, PAGE)):
            own = slots[start : min(start + PAGE, length)]
            number = numbers.setdefault(int(own[-1]), len(content))  # equal there means equal before
            if number == len(content):
                content.append(np.pad(own, (0, PAGE - len(own))))
            table[row, place] = number
    return *case.at(np.stack(content)), case.ints(table)
