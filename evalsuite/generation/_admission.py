"""Which prompts are read together, and in which order: packs that find room once enough rows have ended.

A plan is a pure function of the requests that wait and of what there is room for. When a pack of it is read is up to
`_schedule.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from evalsuite.errors import RequestError
from evalsuite.planning.packs import Branch, Pack, packs
from evalsuite.planning.prefix_tree import TOKEN_BYTES, depth_first
from evalsuite.types import EncodedPrompt

READ_AGAIN = 1 / 50
"""Of the prompts' tokens so many may be read twice for the sake of an order; more would cost more than it gains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What there is room for."""

    rows: int
    """Most rows at once."""
    slots: int
    """Of the pool, the scratch included."""
    token_budget: int
    """Most tokens in a pack."""
    max_sites: int | None
    """Most prompts that end in a pack; None for no bound but the rows."""
    steps: int
    """Most steps in a round. More than one only where a batch is also kept while rows finish."""
    least_pack: int = 1
    """A pack that does not fit into memory is halved as long as it is larger."""


@dataclass(slots=True)
class Plan:
    """Packs of the prompts that are still to be read, one pack looked ahead."""

    token_budget: int
    """Most tokens in a pack."""
    source: Iterator[tuple[Pack, list[int]]]
    """Packs as they are planned, each with the requests' numbers."""
    numbers: list[int] = field(default_factory=list)
    """Of the requests that end in the pack that was looked at last, in the order of its placements."""
    ahead: Pack | None = field(default=None)

    def peek(self) -> Pack | None:
        if self.ahead is None:
            self.ahead, self.numbers = next(self.source, (None, []))
        return self.ahead


def tokens_at_once(requests: Sequence[EncodedPrompt], *, rows: int, token_budget: int) -> int:
    """Most tokens whose keys and values are wanted at one time: of all requests, or of the longest that are at it
    together with a pack and the prompt that it goes on from."""
    count = Count(requests)
    longest = sorted((len(r.prompt_ids) + r.max_new_tokens - 1 for r in requests), reverse=True)
    at_it = sum(longest[:rows]) + longest[0] + token_budget
    # What a plan that is made anew needs, too, when it has to do with little.
    return max(count.tokens(at_most=at_it), count.longest + 2 * count.most_new)


def plan(
    requests: Sequence[EncodedPrompt], waiting: Sequence[int], limits: Limits, *, token_budget: int, empty: bool
) -> Plan:
    """Lay out the prompts of all requests that wait.

    Args:
        requests: those that wait and any others; `waiting` are indices into them.
        token_budget: most tokens in a pack; fewer where the pool has no room for so many.
        empty: whether no slot of the pool is in use.

    Raises:
        RequestError: one request has more tokens than the pool has slots.
    """
    count = Count([requests[number] for number in waiting])
    few = len(waiting) <= limits.rows
    roomy = empty and count.tokens(at_most=limits.slots) < limits.slots
    # Where not all prompts are at it at once, packs of few let the others go on beside them.
    most = limits.rows if few else max(1, limits.rows // 4)
    # The prompt that a pack goes on from, a pack, and what its rows write have to fit into an empty pool.
    room = limits.slots - 1 - count.longest
    if not roomy:
        if room < 2 * count.most_new:
            raise RequestError(
                f"keys and values of {limits.slots - 1:,} tokens fit into the memory, and the longest request has "
                f"{count.longest:,} with {count.most_new:,} to come; use a larger --memory-fraction, "
                "--kv-cache-dtype int8, or shorter prompts"
            )
        token_budget = max(1, min(token_budget, room // 2))
    source = []
    for group in [waiting] if few and roomy else _longest_answers_first(requests, waiting, count):
        fed = max((requests[number].max_new_tokens - 1 for number in group), default=0)
        fit = most if roomy else max(1, min(most, room // 2 // max(fed, 1)))
        source.append(_packs(requests, group, token_budget=token_budget, max_sites=limits.max_sites, max_branches=fit))
    return Plan(token_budget, chain.from_iterable(source))


def _packs(
    requests: Sequence[EncodedPrompt],
    numbers: Sequence[int],
    *,
    token_budget: int,
    max_sites: int | None,
    max_branches: int,
) -> Iterator[tuple[Pack, list[int]]]:
    prompts = [requests[number].prompt_ids for number in numbers]
    branches = [Branch(tokens=prompt, reads=(len(prompt) - 1,)) for prompt in prompts]
    for pack in packs(branches, token_budget=token_budget, max_sites=max_sites, max_branches=max_branches):
        yield pack, [numbers[placement.branch] for placement in pack.placements]


class Count:
    """Tokens of some requests. The tree of their prompts is walked once at most, and only if a figure hangs on it."""

    def __init__(self, requests: Sequence[EncodedPrompt]) -> None:
        self._requests = requests
        self.longest = max((len(request.prompt_ids) for request in requests), default=0)
        """Tokens of the longest prompt."""
        self.most_new = max((request.max_new_tokens for request in requests), default=1)

    def tokens(self, *, at_most: int) -> int:
        """Distinct tokens of the prompts, and all that will be fed after them; of equal prompts, which packs may part,
        the last token each time. Or `at_most`, where these are more."""
        fed = sum(request.max_new_tokens - 1 for request in self._requests)
        if fed + self.longest >= at_most:
            return at_most
        twins = len(self._requests) - len({request.prompt_ids for request in self._requests})
        return min(self.together_and_apart[0] + twins + fed, at_most)

    @cached_property
    def together_and_apart(self) -> tuple[int, int]:
        """Distinct tokens of all prompts, and those of each group by `_answer_length` added up."""
        together = apart = 0
        # By group: what the prompt at hand shares with the group's last one. In sorted order that is the least that any
        # prompt from there on shares with the one before it.
        shared_with: defaultdict[int, int] = defaultdict(int)
        for index, key, shared in depth_first([request.prompt_ids for request in self._requests]):
            length = len(key) // TOKEN_BYTES
            for group in shared_with:
                shared_with[group] = min(shared_with[group], shared)
            group = _answer_length(self._requests[index])
            together += length - shared
            apart += length - shared_with[group]
            shared_with[group] = length
        return together, apart


def _answer_length(request: EncodedPrompt) -> int:
    """Equal for requests of one group: none of their answers may get twice as long as another, or longer."""
    return request.max_new_tokens.bit_length()


def _longest_answers_first(
    requests: Sequence[EncodedPrompt], waiting: Sequence[int], count: Count
) -> list[Sequence[int]]:
    """Those of `waiting` that are planned together, by how long their answers may get.

    How long an answer gets is not known before, but how long it may get is. If those that may get longest came last,
    they would be left over in the end, and a step of few rows takes almost as long as one of many. Requests of one task
    mostly have one bound, and are one group. What groups share is read in each, so where that is much they stay
    together.
    """
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for number in waiting:
        groups[_answer_length(requests[number])].append(number)
    if len(groups) > 1:
        together, apart = count.together_and_apart
        if apart > together * (1 + READ_AGAIN):
            return [waiting]
    return [groups[length] for length in sorted(groups, reverse=True)]
