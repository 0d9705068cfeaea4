"""Which tokens a draw would give if the logits were a little otherwise, and how much otherwise that is.

`sampling.choose` gives the token in whose interval of the cumulative distribution the draw u lies. Let each
log-probability be off by at most e nats. The mass on the left of a boundary is then off by a factor of at most
exp(e / temperature), and so is the mass on its right: the log-odds of the boundary move by at most
2 e / temperature. So no error below

    temperature * |log-odds of the boundary - log-odds of u| / 2

brings the boundary to u. Twice that is the *reach* of a token: how far u is from its interval. It is 0 for the token
that is drawn, and for two tokens and u = 1/2 it is the distance between their log-probabilities, which is what a greedy
flip is judged by.

Filters take tokens in or out within e, too. Their part is bounded: at e, some tokens are certainly kept and some
possibly, and the boundaries lie between those of the two extremes. That is worked out for reaches of `LEVELS`, and a
reach that rests on it is rounded up to the next of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from evalsuite.generation.sampling import Sampling, kept

KEPT = 64
"""So many tokens of the smallest reach are kept at each position. Where tokens are filtered, a flip to any other is not
called rounding."""
LEVELS = tuple(0.25 * 2.0**-n for n in range(14, -1, -1))
"""Nats, from 1.5e-5 to the most that noise may amount to (`faithful.NOISE_CAP`)."""
ROWS = 16
"""Positions worked on at a time: each takes some copies of the vocabulary in float64."""


def reach(
    logits: torch.Tensor, draws: Sequence[float], sampling: Sampling, tokens: Sequence[int]
) -> tuple[Mapping[int, float], ...]:
    """At each position, token ids to their reach in nats: the `KEPT` smallest, and that of the position's own token.

    Where nothing is filtered, thousands of unlikely tokens may lie between two likely ones. There reach grows with the
    distance in ids from the token that is drawn, so the outermost ids within each level are kept as well, and bound the
    reach of all between them (`between`).

    Args:
        logits: [positions, vocab], fp32.
        draws: [positions], what was drawn at each, in [0, 1).
        tokens: [positions], what was chosen there; left out of a mapping where nothing within the levels gives it.
    """
    if logits.device.type == "mps":  # has no float64
        logits = logits.cpu()
    found: list[Mapping[int, float]] = []
    for start in range(0, len(tokens), ROWS):
        rows = slice(start, start + ROWS)
        u = torch.tensor(draws[rows], dtype=torch.float64, device=logits.device)
        reaches = _reaches(logits[rows], u, sampling)
        ids = [torch.tensor(tokens[rows], device=logits.device)[:, None]]
        ids.append(reaches.topk(min(KEPT, reaches.shape[-1]), dim=-1, largest=False).indices)
        if sampling.keeps_all:
            ids += [_outermost(reaches <= level) for level in LEVELS]
        kept_ids = torch.cat(ids, dim=1)
        for row_ids, values in zip(kept_ids.tolist(), reaches.gather(1, kept_ids).tolist(), strict=True):
            found.append({id_: value for id_, value in zip(row_ids, values, strict=True) if value < float("inf")})
    return tuple(found)


def between(kept_reach: Mapping[int, float], token: int) -> float | None:
    """A bound on the reach of a token that was not kept, where nothing is filtered: that of the next id outwards."""
    drawn = min(kept_reach, key=kept_reach.__getitem__, default=token)
    outwards = (value for id_, value in kept_reach.items() if (drawn < token < id_) or (id_ < token < drawn))
    return min(outwards, default=None)


def _outermost(mask: torch.Tensor) -> torch.Tensor:
    """First and last True of each row, [rows, 2]; of a row without any, the first and last there are."""
    first, after_last = (end.to(torch.uint8).argmax(dim=-1) for end in (mask, mask.flip(-1)))
    return torch.stack([first, mask.shape[-1] - 1 - after_last], dim=-1)


def _reaches(logits: torch.Tensor, draws: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """[rows, vocab], float64, infinite where no level gives the token. `draws` [rows]."""
    scaled = logits.double() / sampling.temperature
    mass = (scaled - scaled.amax(dim=-1, keepdim=True)).exp()
    odds = draws.logit()[:, None]
    mask = kept(logits, sampling)
    reaches = _distance(mass, mask, mask, odds) * sampling.temperature
    if sampling.keeps_all:
        return reaches
    ranked, order = logits.double().sort(dim=-1, descending=True)
    by_rank = mass.gather(-1, order)
    for level in LEVELS:
        within = _kept_within(ranked, by_rank, level, sampling)
        certain, possible = (torch.zeros_like(mask).scatter(-1, order, ranks) for ranks in within)
        distance = _distance(mass, certain, possible, odds) * sampling.temperature
        reaches = reaches.minimum(distance.clamp(min=level))
    return reaches


def _distance(mass: torch.Tensor, certain: torch.Tensor, possible: torch.Tensor, odds: torch.Tensor) -> torch.Tensor:
    """How far the log-odds of a draw are from each token's interval; infinite for tokens that are not possible.

    Args:
        mass: [rows, vocab], unnormalised probability.
        certain, possible: [rows, vocab] bool; the first is part of the second.
        odds: [rows, 1], log-odds of the draws.
    """
    least, most = mass * certain, mass * possible
    # The lowest place of an interval's start, and the highest of its end.
    start = _log_odds(_before(least), _before(most.flip(-1)).flip(-1) + most)
    end = _log_odds(_before(most) + most, _before(least.flip(-1)).flip(-1))
    below = (start - odds).masked_fill(start == -torch.inf, -torch.inf)  # also where the draw is 0, its odds infinite
    above = (odds - end).masked_fill(end == -torch.inf, torch.inf)  # a token without mass is not reached
    return torch.maximum(below, above).clamp(min=0.0).masked_fill(~possible, torch.inf)


def _before(mass: torch.Tensor) -> torch.Tensor:
    """The mass of all tokens before each; summed without it, so that nothing small is lost beside a large one."""
    return torch.nn.functional.pad(mass.cumsum(dim=-1)[:, :-1], (1, 0))


def _log_odds(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Without mass on the left, minus infinity, where no draw is below; without mass on the right, infinity."""
    return torch.where(left <= 0, -torch.inf, torch.where(right <= 0, torch.inf, left.log() - right.log()))


def _kept_within(
    ranked: torch.Tensor, mass: torch.Tensor, level: float, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens the filters keep for certain, and which possibly, where two logits may draw nearer by `level`.

    Logits, mass and the results are [rows, vocab] in the order of rank, the likeliest first.
    """
    count = ranked.shape[-1] if sampling.top_k is None else min(sampling.top_k, ranked.shape[-1])
    possible = ranked >= ranked[:, count - 1 : count] - level
    first_out = ranked[:, count : count + 1]
    certain = ranked - level >= first_out if first_out.numel() else torch.ones_like(possible)
    if sampling.top_p < 1.0:
        low, high = mass * certain, mass * possible
        # A token is kept while the mass above it is less than top_p. Which tokens within `level` of it are above it is
        # open: none of them at the least, all of them at the most.
        further = torch.searchsorted(-ranked, -(ranked + level), right=False)
        nearer = torch.searchsorted(-ranked, -(ranked - level), right=True)
        least, most = _sum_of_first(low, further), _sum_of_first(high, nearer) - high
        beside_least = high.sum(dim=-1, keepdim=True) - least
        beside_most = low.sum(dim=-1, keepdim=True) - (_sum_of_first(low, nearer) - low)
        share, moved = math.log(sampling.top_p / (1 - sampling.top_p)), level / sampling.temperature
        possible = possible & (_log_odds(least, beside_least) - moved < share)
        certain = certain & (_log_odds(most, beside_most) + moved < share)
    return certain, possible


def _sum_of_first(mass: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """The mass of the first `number` of each row; both [rows, vocab]."""
    sums = torch.nn.functional.pad(mass.cumsum(dim=-1), (1, 0))
    return sums.gather(-1, number)
