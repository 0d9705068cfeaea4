"""Are a request's numbers the same, bit for bit, alone and in any company? Tried out rather than argued.

Requests share beginnings of many lengths, have one or several choices of one or several tokens, and some occur twice:
what could change a neighbour's numbers is there. They are scored all together, in companies drawn at random, in other
orders, and some alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalsuite.types import ChoiceScores, EncodedChoices

STRATEGY = "packed"


class Scorer(Protocol):
    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Company:
    """One way of asking some of the requests."""

    name: str
    ids: tuple[str, ...]
    """In the order asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The numbers in one company beside those of all requests together."""

    company: Company
    differing: tuple[str, ...]
    """Requests any of whose log-probabilities has other bits."""
    largest: float
    """Largest absolute difference, nats."""


def draw_requests(count: int, *, vocabulary: int, seed: int, window: int = 1_500) -> list[EncodedChoices]:
    """Random token ids in the manner of few-shot questions.

    A subject's prefix has up to a third of `window` tokens, a passage within it as many, a question up to a fifth.
    """
    rng = random.Random(seed)

    def tokens(least: int, most: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(rng.randint(least, max(least, most))))

    requests: list[EncodedChoices] = []
    while len(requests) < count:
        prefix = tokens(0, window // 3)
        for _ in range(rng.randint(1, 6)):
            passage = prefix + tokens(0, window // 3)
            for _ in range(rng.randint(1, 4)):
                longest = rng.choice((1, 1, 1, 4))
                choices = tuple(tokens(1, longest) for _ in range(rng.randint(2, 5)))
                context = passage + tokens(1, window // 5)
                requests.append(EncodedChoices(id=str(len(requests)), context_ids=context, continuation_ids=choices))
        twin = rng.choice(requests)
        requests.append(
            EncodedChoices(id=str(len(requests)), context_ids=twin.context_ids, continuation_ids=twin.continuation_ids)
        )
    return requests[:count]


def companies(ids: Sequence[str], *, seed: int, alone: int) -> list[Company]:
    """All again, all backwards, halves and small groups drawn at random, and `alone` requests by themselves."""
    rng = random.Random(seed)

    def drawn(count: int) -> tuple[str, ...]:
        return tuple(rng.sample(list(ids), min(count, len(ids))))

    made = [
        Company(name="all again", ids=tuple(ids)),
        Company(name="all backwards", ids=tuple(reversed(ids))),
        Company(name="a half, shuffled", ids=drawn(len(ids) // 2)),
        *(Company(name=f"a group of {size}", ids=drawn(size)) for size in (2, 3, 10, 50)),
        *(Company(name="alone", ids=(id_,)) for id_ in drawn(alone)),
    ]
    return [company for company in made if company.ids]


def compare(engine: Scorer, requests: Sequence[EncodedChoices], asked: Sequence[Company]) -> Iterator[Comparison]:
    """Score all requests, then each company, and compare bit for bit."""
    by_id = {request.id: request for request in requests}
    together = scores_by_id(engine, requests)
    for company in asked:
        yield against(together, engine, [by_id[id_] for id_ in company.ids], name=company.name)


def against(
    together: Mapping[str, Sequence[float]], engine: Scorer, requests: Sequence[EncodedChoices], *, name: str
) -> Comparison:
    """Score some requests and compare with what they have in `together`."""
    scores = scores_by_id(engine, requests)
    return Comparison(
        company=Company(name=name, ids=tuple(scores)),
        differing=tuple(id_ for id_, logprobs in scores.items() if together[id_] != logprobs),
        largest=max(_distance(together[id_], logprobs) for id_, logprobs in scores.items()),
    )


def scores_by_id(engine: Scorer, requests: Sequence[EncodedChoices]) -> dict[str, tuple[float, ...]]:
    """Log-probabilities of every request's choices, all scored together."""
    return {outcome.id: outcome.logprobs for outcome in engine.score(requests, STRATEGY)}


def _distance(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def summary_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, str, str, str]]:
    """A table: one row a kind of company."""
    rows = [("company", "requests", "with other bits", "largest difference")]
    names = dict.fromkeys(comparison.company.name for comparison in comparisons)
    for name in names:
        of_name = [comparison for comparison in comparisons if comparison.company.name == name]
        rows.append(
            (
                name,
                f"{sum(len(comparison.company.ids) for comparison in of_name):,}",
                f"{sum(len(comparison.differing) for comparison in of_name):,}",
                f"{max(comparison.largest for comparison in of_name):.2g}",
            )
        )
    return rows
