"""Cut requests into padded batches: alike lengths together, at most so many tokens in each."""

from __future__ import annotations

from collections.abc import Sequence


def batches_by_length(lengths: Sequence[int], *, token_budget: int, batch_size: int | None = None) -> list[list[int]]:
    """Indices of `lengths` in batches of at most `token_budget` tokens, padding included.

    Longest first: the batch that needs most memory runs first, so running out of it shows at once, and
    a progress bar errs on the safe side. A sequence longer than the budget gets a batch of its own.

    Args:
        lengths: tokens of each sequence.
        token_budget: most tokens in a batch, counted as rows times the longest of them.
        batch_size: most rows in a batch; None for no bound but the budget.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])  # stable: equal lengths keep input order
    batches: list[list[int]] = []
    longest = 0
    for index in order:
        if not batches or not _fits(len(batches[-1]) + 1, longest, token_budget, batch_size):
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return batches


def _fits(rows: int, longest: int, token_budget: int, batch_size: int | None) -> bool:
    return rows * longest <= token_budget and (batch_size is None or rows <= batch_size)
