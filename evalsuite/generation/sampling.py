"""Which token comes next: the likeliest, or one drawn from the filtered distribution by the request's own draw.

A draw belongs to a request: draw t is a function of the seed, the request's id and t alone, whatever the request is
answered beside and on which machine (`uniforms`). The token is found by inverting the cumulative distribution over the
vocabulary in the order of its ids, so that a small change of the logits moves each boundary by little, and only a draw
beside a boundary gives another token; in the order of probability, any two tokens that nearly tie would change places.

Sums over a vocabulary round by their order, and a device's order may depend on how many rows there are. So weights are
turned into integers (`WEIGHT_BITS`), whose sums are exact in any order: a row gives the same token in any company
wherever its logits are the same bits, and the last interval ends exactly where the draws do. Nothing here waits for
the device or has a shape that depends on data, so a step that samples can be captured in a CUDA graph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from evalsuite.config import ExecutionOptions
from evalsuite.types import EncodedPrompt

WEIGHT_BITS = 40
"""The likeliest token weighs 2**40, so one that is less likely by more than 28 nats is never drawn, and what 2**18
tokens lose to rounding is less than a millionth of it; their sum stays below 2**59."""
DRAW_BITS = 24
"""A draw is a multiple of 2**-24, as fp32 holds all of them in [0, 1) exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the distribution is shaped before a token is drawn from it, in this order."""

    temperature: float
    """Above 0; logits are divided by it."""
    top_k: int | None = None
    """Only so many of the likeliest tokens, and those equal to the last of them; None for all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together reach this share, and those equal to the last of them."""

    @property
    def keeps_all(self) -> bool:
        return self.top_k is None and self.top_p >= 1.0


def sampling_of(options: ExecutionOptions) -> Sampling | None:
    """None where the likeliest token is taken."""
    if not options.temperature:
        return None
    return Sampling(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p)


def uniforms(seed: int, request_id: str, count: int) -> npt.NDArray[np.float32]:
    """The first `count` draws of a request, [count] float32 in [0, 1), multiples of 2**-24.

    SHA-256 over seed and id is the key of a Philox generator, a counter-based one (Salmon et al. 2011), and each draw
    is the upper 24 bits of its next word. NumPy promises the words of a bit generator for all its releases and
    platforms (NEP 19), though not what its `Generator` makes of them, so that is not used.
    """
    digest = hashlib.sha256(f"{seed}\0{request_id}".encode("utf-8", "surrogatepass")).digest()
    words = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(count)
    return (words >> np.uint64(64 - DRAW_BITS)).astype(np.float32) * np.float32(2.0**-DRAW_BITS)


def draws_of(options: ExecutionOptions, request: EncodedPrompt) -> list[float]:
    """A request's draws, one for each token that it may have; none where the likeliest token is taken."""
    if not options.temperature:
        return []
    return uniforms(options.sampling_seed, request.id, request.max_new_tokens).tolist()  # type: ignore[no-any-return]


def choose(
    logits: torch.Tensor, draws: torch.Tensor | None, sampling: Sampling | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The next token of each row.

    Args:
        logits: [rows, vocab], any floating dtype.
        draws: [rows] float32 in [0, 1), each row's own draw for this step. Not read where `sampling` is None.
        sampling: None takes the likeliest token, the first of equals.

    Returns:
        Token ids [rows], int64, and their log-probabilities [rows], float32: the log-softmax of the logits as they
        came, without temperature and filters.
    """
    chosen = logits.argmax(dim=-1) if sampling is None or draws is None else draw_tokens(logits, draws, sampling)
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return chosen, logprobs.gather(-1, chosen[:, None])[:, 0]


def draw_tokens(logits: torch.Tensor, draws: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The token, [rows] int64, in whose interval of the cumulative distribution each row's draw lies.

    Shapes as in `choose`. A row of NaN gives some token of the vocabulary; its log-probability is NaN.
    """
    logits = logits.float()
    weights = _weights(logits, sampling.temperature)  # [rows, vocab]
    if not sampling.keeps_all:
        weights = weights.masked_fill(~kept(logits, sampling), 0)
    ends = weights.cumsum(dim=-1)  # of each token's interval, which does not hold its end
    aim = _share(ends[:, -1:], (draws[:, None] * 2**DRAW_BITS).long())
    return torch.searchsorted(ends, aim, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def kept(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Which tokens the filters leave, [rows, vocab] bool; `logits` [rows, vocab] float32.

    They are those of transformers' TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper in this order, but
    for tokens of equal logits at top-p's end: all of them stay here, and there those that its sort puts first.
    """
    if sampling.keeps_all:
        return torch.ones_like(logits, dtype=torch.bool)
    vocab = logits.shape[-1]
    count = vocab if sampling.top_k is None else min(sampling.top_k, vocab)
    ranked = logits.topk(count, dim=-1).values  # [rows, count], the likeliest first
    if sampling.top_p < 1.0:
        of_all = (
            _weights(logits, sampling.temperature).masked_fill(logits < ranked[:, -1:], 0).sum(dim=-1, keepdim=True)
        )
        weights = _weights(ranked, sampling.temperature)
        above = weights.cumsum(dim=-1) - weights
        share = torch.full_like(of_all, max(1, round(sampling.top_p * 2**DRAW_BITS)))
        number = (above < _share(of_all, share)).sum(dim=-1, keepdim=True).clamp(min=1)  # at least the likeliest
        ranked = ranked.gather(-1, number - 1)
    return logits >= ranked[:, -1:]


def _weights(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """exp(logit / temperature) as integers, of which the row's largest is 2**WEIGHT_BITS; int64. NaN weighs nothing."""
    likeliest = logits.amax(dim=-1, keepdim=True)
    relative = ((logits - likeliest) / temperature).exp().nan_to_num(nan=0.0)
    return (relative * 2.0**WEIGHT_BITS).long()  # scaling fp32 by a power of two is exact


def _share(total: torch.Tensor, numerator: torch.Tensor) -> torch.Tensor:
    """floor(total * numerator / 2**DRAW_BITS), all int64, in two parts since the product has more than 63 bits."""
    high: torch.Tensor = total >> DRAW_BITS
    low: torch.Tensor = total & (2**DRAW_BITS - 1)
    carried: torch.Tensor = (low * numerator) >> DRAW_BITS
    return high * numerator + carried
