"""Are a request's numbers the same, bit for bit, alone and in any company? Tried out rather than argued.

Requests share beginnings of many lengths, have one or several choices of one or several tokens, and some occur twice:
what could change a neighbour's numbers is there. They are answered all together, in companies drawn at random, in
other orders, and some alone: choices by `packed`, prompts by `continuous`.
"""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evalsuite.types import ChoiceScores, EncodedChoices, EncodedPrompt, Generation

SCORING, GENERATION = "packed", "continuous"
FINGERPRINT_DIGITS = 12
Numbers = tuple[float, ...]
"""All that was found out about a request: log-probabilities, after the tokens where they were generated."""


class Engine(Protocol):
    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]: ...
    def generate(self, requests: Sequence[EncodedPrompt], strategy: str) -> Iterator[Generation]: ...


Requests = Sequence[EncodedChoices] | Sequence[EncodedPrompt]


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
    """Requests any of whose numbers has other bits."""
    largest: float
    """Largest absolute difference, nats; infinite where other tokens were generated."""


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


def draw_prompts(
    count: int, *, vocabulary: int, seed: int, new_tokens: int, window: int = 1_500
) -> list[EncodedPrompt]:
    """The contexts of `draw_requests`, each with 1 to `new_tokens` tokens to come."""
    rng = random.Random(f"{seed} new tokens")
    return [
        EncodedPrompt(id=request.id, prompt_ids=request.context_ids, max_new_tokens=rng.randint(1, max(1, new_tokens)))
        for request in draw_requests(count, vocabulary=vocabulary, seed=seed, window=window)
    ]


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


def compare(
    engine: Engine, requests: Requests, asked: Sequence[Company], together: Mapping[str, Numbers] | None = None
) -> Iterator[Comparison]:
    """Answer all requests, unless what they have `together` is known, then each company, and compare bit for bit."""
    by_id: dict[str, Any] = {request.id: request for request in requests}
    if together is None:
        together = numbers_by_id(engine, requests)
    for company in asked:
        yield against(together, engine, [by_id[id_] for id_ in company.ids], name=company.name)


def against(together: Mapping[str, Numbers], engine: Engine, requests: Requests, *, name: str) -> Comparison:
    """Answer some requests and compare with what they have in `together`."""
    found = numbers_by_id(engine, requests)
    return Comparison(
        company=Company(name=name, ids=tuple(found)),
        differing=tuple(id_ for id_, numbers in found.items() if together[id_] != numbers),
        largest=max(_distance(together[id_], numbers) for id_, numbers in found.items()),
    )


def numbers_by_id(engine: Engine, requests: Requests) -> dict[str, Numbers]:
    """Every request's numbers, all answered together."""
    choices = [request for request in requests if isinstance(request, EncodedChoices)]
    prompts = [request for request in requests if isinstance(request, EncodedPrompt)]
    found: dict[str, Numbers] = {}
    if choices:
        found |= {outcome.id: outcome.logprobs for outcome in engine.score(choices, SCORING)}
    if prompts:
        found |= {o.id: (*map(float, o.token_ids), *o.logprobs) for o in engine.generate(prompts, GENERATION)}
    return found


def fingerprint(numbers: Mapping[str, Numbers]) -> str:
    """Twelve hex digits that any bit of any request's numbers changes, in whatever order they were found."""
    digest = hashlib.sha256()
    for id_, found in sorted(numbers.items()):
        digest.update(f"{id_} {len(found)} ".encode() + struct.pack(f"<{len(found)}d", *found))
    return digest.hexdigest()[:FINGERPRINT_DIGITS]


def _distance(left: Numbers, right: Numbers) -> float:
    if len(left) != len(right):
        return math.inf
    # A token's number is whole, and no log-probability lies a whole nat beside its own.
    largest = max(abs(a - b) for a, b in zip(left, right, strict=True))
    return math.inf if largest >= 1 else largest


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
