"""Tree attention in plain torch, segment by segment: exact work on any device, and the oracle of the fused kernel.

A segment's queries attend to the keys of its own branch, gathered in the branch's order. On the CPU, where a call costs
little beside the work in it, this is the quick way too: a dense mask over the pack would compute every pair of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.nn.functional import scaled_dot_product_attention

from evalsuite.attention.interface import Kept, ScoreRule
from evalsuite.planning.packs import Pack


@dataclass(frozen=True, slots=True)
class SegmentAttention:
    """`Attend` over one pack."""

    spans: tuple[tuple[int, int, torch.Tensor], ...]
    """(start, ancestors, indices of the branch [ancestors + own], int64 on the device), one a segment. Indices count
    from the first token that was carried in."""
    masks: dict[tuple[int, int, int | None], torch.Tensor] = field(default_factory=dict)
    """By (own tokens, branch, window): every layer asks for the same ones."""

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kept: Kept | None,
        rule: ScoreRule,
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        all_keys, all_values = key, value
        if kept is not None:
            all_keys, all_values = torch.cat([kept[0], key], 1), torch.cat([kept[1], value], 1)
        out = query.new_zeros(tokens, heads, value.shape[-1])
        for start, before, branch in self.spans:
            end = start + len(branch) - before
            if before:
                keys, values = all_keys[:, branch], all_values[:, branch]
            else:
                keys, values = key[:, start:end], value[:, start:end]
            out[start:end] = self.over_branch(query[:, start:end], keys, values, rule)
        return out

    def over_branch(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rule: ScoreRule) -> torch.Tensor:
        """The last positions of a branch, query [heads, own, dim], over all of it, key [kv heads, branch, dim]: [own,
        heads, value dim]."""
        group = query.shape[0] // key.shape[0]
        if group > 1:
            key, value = key.repeat_interleave(group, 0), value.repeat_interleave(group, 0)
        query, key, value = query[None], key[None], value[None]
        own, branch = query.shape[2], key.shape[2]
        if rule.softcap is None and own == branch and (rule.window is None or rule.window >= branch):
            # Plain causality: kernels know that case.
            out = scaled_dot_product_attention(query, key, value, is_causal=own > 1, scale=rule.scale)
        else:
            out = masked(query, key, value, self._seen(own, branch, rule.window, query.device), rule)
        return out[0].transpose(0, 1)

    def _seen(self, own: int, branch: int, window: int | None, device: torch.device) -> torch.Tensor:
        """[own, branch]: which keys of a branch each of its last `own` positions sees."""
        key = own, branch, window
        if key not in self.masks:
            queries = torch.arange(branch - own, branch, device=device)[:, None]
            keys = torch.arange(branch, device=device)[None]
            seen = keys <= queries
            self.masks[key] = seen if window is None else seen & (queries - keys < window)
        return self.masks[key]


def masked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor | None,
    rule: ScoreRule,
) -> torch.Tensor:
    """query [..., queries, dim] over the keys [..., keys, dim] that each has `seen`: [..., queries, keys] or fewer
    numbers that spread to it; None where all are. The rule's window is in `seen` already."""
    if rule.softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=rule.scale)
    # No kernel of torch takes a soft cap.
    scores = query.float() @ key.float().transpose(-1, -2) * rule.scale
    scores = rule.softcap * torch.tanh(scores / rule.softcap)
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ value.float()).to(value.dtype)


def segment_attention(pack: Pack, device: torch.device) -> SegmentAttention:
    """The tables of a pack on a device. Tokens of the padding behind a pack attend to nothing and come out as 0."""
    spans = []
    for segment, (start, before) in enumerate(zip(pack.starts.tolist(), pack.ancestors.tolist(), strict=True)):
        branch = torch.from_numpy(pack.branch_indices(segment) + pack.carried).to(device, torch.int64)
        spans.append((start, before, branch))
    return SegmentAttention(tuple(spans))
