"""A plain-torch twin of transformers' Qwen3ForCausalLM for training: same parameter names, no padding mask.

Rows are padded on the right and attention is causal, so no real token sees padding and no mask is needed.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evalsuite.nano.shards import PROMPT_WEIGHT


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # x: [..., size]
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * wide).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(hidden, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, hidden, bias=False)
        self.q_norm = RMSNorm(head_dim)
        self.k_norm = RMSNorm(head_dim)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # x: [B, T, hidden]; cos, sin: [T, head_dim]
        b, t, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, t, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(b, t, self.kv_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        groups = self.heads // self.kv_heads
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        mixed = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(b, t, self.heads * self.head_dim))
        return out


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class MLP(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int, inner: int) -> None:
        super().__init__()
        self.self_attn = Attention(hidden, heads, kv_heads, head_dim)
        self.mlp = MLP(hidden, inner)
        self.input_layernorm = RMSNorm(hidden)
        self.post_attention_layernorm = RMSNorm(hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Body(nn.Module):
    def __init__(
        self, vocab: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int, inner: int
    ) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, kv_heads, head_dim, inner) for _ in range(layers))
        self.norm = RMSNorm(hidden)


class Twin(nn.Module):
    """`Twin(...).state_dict()` loads into Qwen3ForCausalLM with tied embeddings."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        *,
        vocab: int,
        hidden: int,
        layers: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        inner: int,
        max_length: int = 1024,
        rope_theta: float = 10_000.0,
    ) -> None:
        super().__init__()
        self.model = Body(vocab, hidden, layers, heads, kv_heads, head_dim, inner)
        angles = torch.outer(torch.arange(max_length), rope_theta ** (-torch.arange(0, head_dim, 2) / head_dim))
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                std = 0.02 if "embed" in name else 0.7 / math.sqrt(parameter.shape[1])
                if "o_proj" in name or "down_proj" in name:
                    std /= math.sqrt(2 * layers)
                nn.init.normal_(parameter, std=std)

    def forward(self, ids: Tensor) -> Tensor:  # ids: [B, T] -> logits: [B, T, vocab]
        return F.linear(self.hidden(ids), self.model.embed_tokens.weight)

    def hidden(self, ids: Tensor) -> Tensor:  # ids: [B, T] -> [B, T, hidden], normed
        t = ids.shape[1]
        cos, sin = self.cos[:t], self.sin[:t]
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        normed: Tensor = self.model.norm(x)
        return normed

    def loss(self, ids: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean cross-entropy of each next token. ids, weights: [B, T]."""
        logits = self(ids)[:, :-1].float()
        each = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="none")
        w = weights[:, 1:].reshape(-1)
        return (each * w).sum() / w.sum()

    def answer_loss(self, ids: Tensor, weights: Tensor) -> Tensor:
        """The loss over tokens that weigh more than a prompt's. ids, weights: [B, T]."""
        counted = weights[:, 1:] > PROMPT_WEIGHT
        logits = F.linear(self.hidden(ids)[:, :-1][counted], self.model.embed_tokens.weight).float()
        w = weights[:, 1:][counted]
        return (F.cross_entropy(logits, ids[:, 1:][counted], reduction="none") * w).sum() / w.sum()
