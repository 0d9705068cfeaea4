"""Which rows a padded batch must hold to score a question, and where each continuation is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evalsuite.types import EncodedChoices


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringRow:
    """One token sequence to feed, and the continuations whose log-probabilities are read off it.

    The logits that predict continuation token k stand at position `first_read + k`.
    """

    input_ids: tuple[int, ...]
    first_read: int
    """Position of the context's last token: the first whose logits are read."""
    choices: tuple[tuple[int, tuple[int, ...]], ...]
    """(index of the choice, its token ids), each readable from this row."""


def row_per_choice(request: EncodedChoices) -> Iterator[ScoringRow]:
    """One row for each choice, the plain way: the context is computed once for each of them."""
    for index, continuation in enumerate(request.continuation_ids):
        yield _row(request, continuation[:-1], [index])


def shared_rows(request: EncodedChoices) -> Iterator[ScoringRow]:
    """As few rows as score every choice.

    A choice is read off the row of any other that begins with all of its fed tokens: the four letters
    of a question, one token each, feed nothing beyond the context and share one row.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    longest_first = sorted(range(len(request.continuation_ids)), key=lambda i: -len(request.continuation_ids[i]))
    for index in longest_first:
        fed = request.continuation_ids[index][:-1]
        home = next((row for row in rows if row[: len(fed)] == fed), fed)
        rows.setdefault(home, []).append(index)
    for fed, indices in rows.items():
        yield _row(request, fed, sorted(indices))


def _row(request: EncodedChoices, fed: tuple[int, ...], indices: list[int]) -> ScoringRow:
    return ScoringRow(
        input_ids=request.context_ids + fed,
        first_read=len(request.context_ids) - 1,
        choices=tuple((index, request.continuation_ids[index]) for index in indices),
    )
