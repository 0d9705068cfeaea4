"""Score rows in one padded forward, projecting only the positions that are read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch

from evalsuite.padding import pad_right
from evalsuite.planning.rows import ScoringRow
from evalsuite.runner import ModelRunner


def score_rows(runner: ModelRunner, rows: Sequence[ScoringRow]) -> list[dict[int, float]]:
    """For each row, choice index to log-probability in nats.

    Only the sites that are read are projected, and their log-softmax is taken in fp32: over `[rows, tokens, 152k]`
    in bf16 it would cost tens of GB, and round near-equal choices to ties. One copy to the host for the whole batch.
    """
    sites: dict[tuple[int, int], int] = {}  # (row, column) -> index among the sites
    reads: list[tuple[int, int]] = []  # (index among the sites, token id), in the order of rows, choices, tokens
    for r, row in enumerate(rows):
        for _, continuation in row.choices:
            for k, token in enumerate(continuation):
                reads.append((sites.setdefault((r, row.first_read + k), len(sites)), token))
    input_ids, padding_tokens = pad_right([row.input_ids for row in rows], pad_id=runner.pad_id, device=runner.device)
    where = torch.tensor(list(sites), device=runner.device)  # [sites, 2]
    logits = runner.logits_at(input_ids, where[:, 0], where[:, 1])
    runner.counters.padding_tokens += padding_tokens
    logprobs = torch.log_softmax(logits.float(), dim=-1)  # [sites, vocab]
    read = torch.tensor(reads, device=runner.device)  # [reads, 2]
    values = iter(logprobs[read[:, 0], read[:, 1]].tolist())
    return [{index: sum(islice(values, len(continuation))) for index, continuation in row.choices} for row in rows]
