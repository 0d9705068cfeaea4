"""Score rows in one left-padded forward, projecting only the positions that are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evalsuite.padding import pad_left
from evalsuite.planning.rows import ScoringRow
from evalsuite.runner import ModelRunner


def score_rows(runner: ModelRunner, rows: Sequence[ScoringRow]) -> list[dict[int, float]]:
    """For each row, choice index to log-probability in nats.

    The log-softmax is taken in fp32 and only on the rows that are read: over `[rows, tokens, 152k]` in
    bf16 it would cost tens of GB and round near-equal choices to ties.
    """
    batch = pad_left([row.input_ids for row in rows], pad_id=runner.pad_id, device=runner.device)
    tail = max(row.tail for row in rows)
    output = runner.forward(
        batch.input_ids,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        logits_to_keep=tail,
        use_cache=False,
    )
    runner.counters.padding_tokens += batch.padding_tokens
    return _read(output.logits, rows, tail)


def _read(logits: torch.Tensor, rows: Sequence[ScoringRow], tail: int) -> list[dict[int, float]]:
    """logits: [rows, tail, vocab]. One gather and one copy to the host for the whole batch."""
    sites: dict[tuple[int, int], int] = {}  # (row, offset in the tail) -> index into the rows that are read
    reads: list[tuple[int, int]] = []  # (index into the rows that are read, token id)
    for r, row in enumerate(rows):
        for _, continuation in row.choices:
            for k, token in enumerate(continuation):
                site = sites.setdefault((r, tail - row.tail + k), len(sites))
                reads.append((site, token))
    device = logits.device
    where = torch.tensor(list(sites), device=device)  # [sites, 2]
    read = torch.tensor(reads, device=device)  # [reads, 2]
    logprobs = torch.log_softmax(logits[where[:, 0], where[:, 1]].float(), dim=-1)  # [sites, vocab]
    values = iter(logprobs[read[:, 0], read[:, 1]].tolist())
    return [{index: sum(next(values) for _ in continuation) for index, continuation in row.choices} for row in rows]
