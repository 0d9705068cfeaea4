"""Grouped heads in float32: the same attention, without every score in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from evalsuite.attention.ungrouped import MOST_BYTES_OF_SCORES, Ungrouped, without_all_scores
from tests.tiny import make_model

HEADS, KV_HEADS, DIM = 8, 2, 16


def drawn(tokens: int, *, heads: int = HEADS, kv_heads: int = KV_HEADS, dim: int = DIM) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, n, tokens, dim, generator=generator) for n in (heads, kv_heads, kv_heads)]


class Asked(TorchFunctionMode):
    """Shapes and other arguments of calls of `scaled_dot_product_attention`, as they come in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[set[torch.Size], dict[str, Any]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            given = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            self.calls.append(({given.pop(name).shape for name in ("query", "key", "value")}, given))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("by_name", [False, True])
def test_each_head_has_its_groups_keys_and_values(by_name: bool) -> None:
    query, key, value = drawn(24)
    expected = scaled_dot_product_attention(query, key, value, None, 0.0, True, scale=0.3, enable_gqa=True)
    with Asked() as asked, Ungrouped():
        if by_name:
            got = scaled_dot_product_attention(
                query=query, key=key, value=value, is_causal=True, scale=0.3, enable_gqa=True
            )
        else:
            got = scaled_dot_product_attention(query, key, value, None, 0.0, True, scale=0.3, enable_gqa=True)
    [(shapes, given)] = asked.calls
    assert shapes == {query.shape}
    assert given["is_causal"] and given["scale"] == 0.3 and "enable_gqa" not in given
    torch.testing.assert_close(got, expected)


def test_calls_without_groups_stay_as_they_are() -> None:
    query, key, value = drawn(24, kv_heads=HEADS)
    with Asked() as asked, Ungrouped():
        scaled_dot_product_attention(query, key, value, is_causal=True)
    assert asked.calls == [({key.shape}, {"is_causal": True})]


def test_a_model_gives_the_same_numbers_within() -> None:
    model = make_model("qwen3")
    ids = torch.arange(2, 40)[None]
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        with Asked() as asked, Ungrouped():
            got = model(input_ids=ids).logits
    assert asked.calls
    assert not any(given.get("enable_gqa") for _, given in asked.calls)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("dtype", "device", "tokens", "enters"),
    [
        (torch.float32, "cuda", 32_768, True),
        (torch.float32, "cuda", 128, False),
        (torch.float32, "cpu", 32_768, False),
        (torch.bfloat16, "cuda", 32_768, False),
    ],
)
def test_entered_where_scores_would_take_much_memory(
    dtype: torch.dtype, device: str, tokens: int, enters: bool
) -> None:
    model = SimpleNamespace(dtype=dtype, device=torch.device(device))
    assert isinstance(without_all_scores(model, heads=32, rows=1, tokens=tokens), Ungrouped) == enters


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_long_prompts_fit() -> None:
    tokens, heads = 8_192, 32
    query, key, value = (x.cuda() for x in drawn(tokens, heads=heads, kv_heads=8, dim=128))
    assert heads * tokens**2 * 4 > MOST_BYTES_OF_SCORES
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with Ungrouped():
        got = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    assert torch.cuda.max_memory_allocated() - before < MOST_BYTES_OF_SCORES
    last = [x[:, :, -64:] if x is query else x for x in (query, key, value)]
    exact = scaled_dot_product_attention(
        *(x.double().cpu() for x in last),
        attn_mask=torch.ones(64, tokens, dtype=torch.bool).tril(tokens - 64),
        enable_gqa=True,
    )
    torch.testing.assert_close(got[:, :, -64:].double().cpu(), exact, rtol=1e-5, atol=1e-6)
