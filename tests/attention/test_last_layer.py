"""The last layer is computed for the rows that are read, gives what it gives in full, and says when it cannot."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM, PhiConfig, PhiForCausalLM

from evalsuite import last_layer
from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import NAME, NoTreeAttention, RowsOfLayer, ScoreRule, attention_configs, tree_pass
from evalsuite.attention.pool import KeyValuePool, PoolPack
from evalsuite.config import ExecutionOptions
from evalsuite.determinism import NotDeterministic
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation._pooled import PooledForward
from evalsuite.last_layer import LastLayer
from evalsuite.loading.fusing import decoder_layers
from evalsuite.planning.packs import Branch, Pack, packs
from evalsuite.planning.rows import shared_rows
from evalsuite.runner import ModelRunner
from evalsuite.scoring import STRATEGIES
from evalsuite.scoring._packing import PackForward
from evalsuite.types import EncodedChoices
from tests.scoring.test_packed import COMMON, FAMILIES, family
from tests.tiny import ARCHITECTURES, WINDOW, make_model, wrap

_SHAPE = {**COMMON, "intermediate_size": 48, "max_position_embeddings": WINDOW}
BUDGET = 48
TOLERANCE = 2e-5
QUESTIONS = [
    EncodedChoices(
        id=str(i), context_ids=(2, 3, 4, *[5 + i] * (6 + i % 4)), continuation_ids=((9,), (11, 12)[: 1 + i % 2])
    )
    for i in range(12)
]


def model_of(name: str) -> Any:
    torch.manual_seed(0)
    if name in ARCHITECTURES:
        return make_model(name)
    if name == "phi":  # attention and MLP side by side
        return PhiForCausalLM(PhiConfig(**_SHAPE)).eval()
    if name == "mixtral":
        config = MixtralConfig(**_SHAPE, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
        return MixtralForCausalLM(config).eval()
    return family(name)


@contextmanager
def computed_in_full() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(last_layer, "MOST_ROWS", 0)
        yield


class Seen:
    """How many rows came to each layer's MLP and to the last norm, forward by forward."""

    def __init__(self, model: Any) -> None:
        self.mlps: list[list[int]] = []
        self.norm: list[int] = []
        layers = decoder_layers(model)
        for layer in layers:
            rows: list[int] = []
            self.mlps.append(rows)
            layer.mlp.register_forward_pre_hook(lambda _, args, rows=rows: rows.append(args[0].shape[-2]))
        within = {id(module) for layer in layers for module in layer.modules()}
        [norm] = [m for m in model.modules() if "norm" in type(m).__name__.lower() and id(m) not in within]
        norm.register_forward_pre_hook(lambda _, args: self.norm.append(args[0].shape[-2]), prepend=True)
        norm.register_forward_hook(lambda _, args, output: self.norm.append(args[0].shape[-2]))


def score(model: Any, *, afresh: bool = False) -> tuple[list[dict[int, float]], list[Pack], ModelRunner]:
    """Log-probabilities of the questions, the packs that they took, and who ran them.

    Args:
        afresh: each pack as by another process, which has to compute again what it is handed.
    """
    scores, done = {}, []
    with ModelRunner(wrap(model), ExecutionOptions(token_budget=BUDGET)) as runner, torch.inference_mode():
        forward = PackForward(runner)
        rows = [(number, row) for number, question in enumerate(QUESTIONS) for row in shared_rows(question)]
        for packed in forward.plan(rows):
            if afresh:
                forward = PackForward(runner)
            for number, choices in forward.score(packed):
                scores.setdefault(number, {}).update(choices)
            done.append(packed.pack)
    return [scores[number] for number in range(len(QUESTIONS))], done, runner


@pytest.mark.parametrize("name", [*ARCHITECTURES, *FAMILIES, "phi", "mixtral"])
def test_each_row_is_what_it_is_in_full_and_only_rows_that_are_read_are_computed(name: str) -> None:
    model = model_of(name)
    with computed_in_full():
        expected, _, whole = score(model)
    seen = Seen(model)
    got, done, runner = score(model)
    assert len(done) > 2 and any(pack.carried for pack in done)
    for number, choices in enumerate(expected):
        assert got[number] == pytest.approx(choices, abs=TOLERANCE)
    narrowed = [len(pack.sites) <= last_layer.MOST_ROWS * pack.used for pack in done]
    assert sum(narrowed) > 1
    read = [len(pack.sites) if fewer else pack.used for pack, fewer in zip(done, narrowed, strict=True)]
    assert seen.mlps == [[pack.used for pack in done], read]
    # Another's hook comes before ours or behind: the norm itself has the rows.
    assert seen.norm[1::2] == read
    assert runner.counters == whole.counters


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma2"])
def test_what_another_process_computed_is_computed_again_for_one_row(name: str) -> None:
    model = model_of(name)
    expected = score(model)[0]
    seen = Seen(model)
    got, done, runner = score(model, afresh=True)
    for number, choices in enumerate(expected):
        assert got[number] == pytest.approx(choices, abs=TOLERANCE)
    again = sum(pack.carried > 0 for pack in done)
    assert runner.recomputed_tokens > 0
    assert seen.mlps[-1].count(1) >= again > 0


@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma2"])
def test_keys_and_values_of_all_tokens_are_in_the_pool(name: str) -> None:
    def read(model: Any) -> tuple[torch.Tensor, KeyValuePool]:
        tokens = [(2, 3, *[5 + i] * 8) for i in range(6)]
        branches = [Branch(tokens=each, reads=(len(each) - 1,)) for each in tokens]
        [pack] = packs(branches, token_budget=WINDOW)
        own = np.arange(1, pack.used + 1, dtype=np.int32)
        with ModelRunner(wrap(model), ExecutionOptions()) as runner, torch.inference_mode():
            forward = PooledForward(runner, rows=6, width=16)
            forward.start(KeyValuePool(pack.used + 1, forward.layer_shapes, device=runner.device))
            tables = PoolPack.of(pack, before=own[:0], own=own)
            return forward._read(pack.tokens, pack.positions, tables, pack.sites), forward.pool

    model = model_of(name)
    with computed_in_full():
        expected, whole = read(model)
    seen = Seen(model)
    got, pool = read(model)
    assert seen.mlps[-1][-1] == 6, "after the one of the probe"
    assert torch.allclose(got, expected, atol=TOLERANCE)
    for layer, whole_layer in zip(pool.layers, whole.layers, strict=True):
        assert torch.allclose(layer.keys, whole_layer.keys, atol=TOLERANCE)
        assert torch.allclose(layer.values, whole_layer.values, atol=TOLERANCE)
        assert layer.keys[1:].any(-1).all(), "of every token"


def logits(
    model: Any, sites: list[int], *, tokens: int = 20, on_failure: Callable[[str], object] = pytest.fail
) -> torch.Tensor:
    """Logits at sites of one branch."""
    [pack] = packs([Branch(tokens=range(2, 2 + tokens), reads=(tokens - 1,))], token_budget=tokens)
    configs, at = attention_configs(model), torch.tensor(sites, dtype=torch.int64)
    with (
        ModelRunner(wrap(model), ExecutionOptions()) as runner,
        torch.inference_mode(),
        tree_pass(model, configs, pack, segment_attention(pack, runner.device)) as run,
        LastLayer(model, configs).only_at(at, tokens, run, on_failure=on_failure),
    ):
        positions = torch.arange(tokens)[None]
        return runner.logits_at(positions + 2, torch.zeros_like(at), at, position_ids=positions)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("sites", [[9, 2, 5], [7, 3, 7, 0, 0, 0], [19], []], ids=["unordered", "padded", "one", "none"])
def test_sites_come_in_any_order_and_number(name: str, sites: list[int]) -> None:
    model, tokens = model_of(name), 32
    with computed_in_full():
        expected = logits(model, sites, tokens=tokens)
    seen = Seen(model)
    assert torch.allclose(logits(model, sites, tokens=tokens), expected, atol=TOLERANCE)
    assert seen.mlps == [[tokens], [max(len(sites), 1)]]


def not_named(model: Any) -> None:
    model._no_split_modules = None


def called_with_what_cannot_be_told_apart(model: Any) -> None:
    decoder_layers(model)[-1].register_forward_pre_hook(
        lambda _, args, kwargs: (args, {**kwargs, "what": object()}), with_kwargs=True
    )


@pytest.mark.parametrize("change", [not_named, called_with_what_cannot_be_told_apart])
def test_a_model_of_which_it_cannot_be_told_is_computed_in_full(change: Any) -> None:
    model = model_of("qwen3")
    expected, seen = logits(model, [19, 4]), Seen(model)
    change(model)
    assert torch.allclose(logits(model, [19, 4]), expected, atol=TOLERANCE)
    assert seen.mlps == [[20], [20]]


def test_where_most_rows_are_read_all_are_computed() -> None:
    seen = Seen(model := model_of("qwen3"))
    logits(model, list(range(6)))
    assert seen.mlps == [[20], [20]]


@pytest.mark.parametrize(
    ("given", "narrowed"),
    [
        (torch.arange(6), torch.tensor([4, 1])),
        (torch.arange(6)[None], torch.tensor([[4, 1]])),
        ((torch.arange(6.0).reshape(1, 6, 1), None), (torch.tensor([[[4.0], [1.0]]]), None)),
        ({"full": torch.arange(6)[None]}, {"full": torch.tensor([[4, 1]])}),
        (torch.ones(1, 3), torch.ones(1, 3)),
        (True, True),
        (UserDict(), UserDict()),
    ],
    ids=["flat", "positions", "embeddings", "by name", "of no token", "a flag", "nothing in it"],
)
def test_what_belongs_to_tokens_is_narrowed(given: Any, narrowed: Any) -> None:
    assert last_layer._can_be_narrowed(given, 6)
    torch.testing.assert_close(last_layer._narrowed(given, torch.tensor([4, 1]), 6), narrowed)


@pytest.mark.parametrize(
    "given",
    [torch.ones(1, 2, 6, 4), torch.ones(3, 6), [torch.ones(6, 6)], object(), UserDict(keys=(torch.ones(1, 2, 6, 4),))],
    ids=["keys", "several rows", "a mask", "an object", "shared keys"],
)
def test_what_may_belong_to_tokens_in_another_way_is_not(given: Any) -> None:
    assert not last_layer._can_be_narrowed(given, 6)


def test_a_layer_that_attends_twice_is_still_found_out() -> None:
    model = model_of("qwen3")
    attention = decoder_layers(model)[-1].self_attn
    once = attention.forward
    attention.forward = lambda *args, **kwargs: (once(*args, **kwargs), once(*args, **kwargs))[1]
    with pytest.raises(NoTreeAttention, match="3 of 2 layers"):
        logits(model, [19])


def test_a_forward_that_fails_leaves_the_model_as_it_was() -> None:
    model = model_of("qwen3")
    last = decoder_layers(model)[-1]
    expected, name = logits(model, [19]), model.config._attn_implementation

    def fails(*_: object) -> None:
        assert model.config._attn_implementation == NAME
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = last.mlp.register_forward_pre_hook(fails)
    with pytest.raises(torch.OutOfMemoryError):
        logits(model, [19])
    hook.remove()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.config._attn_implementation == name
    assert torch.equal(logits(model, [19]), expected)


def test_where_keys_and_values_do_not_compile_alone_the_layer_is_computed_in_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, reasons = model_of("qwen3"), []
    with computed_in_full():
        expected = logits(model, [19, 4])

    def fails(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("no such graph")

    monkeypatch.setattr(last_layer, "part_of_layer", lambda *_: fails)
    seen = Seen(model)
    assert torch.allclose(logits(model, [19, 4], on_failure=reasons.append), expected, atol=TOLERANCE)
    assert seen.mlps == [[20], [20]]
    assert reasons == ["no such graph"]


def test_a_run_goes_on_and_records_that_the_last_layer_is_computed_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("no such graph")

    monkeypatch.setattr(last_layer, "part_of_layer", lambda *_: fails)
    asked = [EncodedChoices(id=str(i), context_ids=(2 + i,) * 30, continuation_ids=((9,), (11,))) for i in range(6)]
    with TransformersEngine(wrap(model_of("qwen3")), ExecutionOptions(token_budget=60)) as engine:
        assert len(list(engine.score(asked, "packed"))) == 6
        assert [str(f.what) for f in engine.fallbacks] == ["last_layer"]
    options = ExecutionOptions(token_budget=60, deterministic=True)
    with (
        ModelRunner(wrap(model_of("qwen3")), options) as runner,
        pytest.raises(NotDeterministic, match="no such graph"),
    ):
        list(STRATEGIES["packed"](runner, asked))


def test_hooks_of_others_see_all_tokens() -> None:
    model, shapes = model_of("qwen3"), []
    last = decoder_layers(model)[-1]
    for module in (last, model.model.norm):
        module.register_forward_hook(lambda _, args, output: shapes.append((*output.shape[:2],)))
        module.register_forward_pre_hook(lambda _, args: shapes.append((*args[0].shape[:2],)))
    seen = Seen(model)
    logits(model, [19, 4])
    assert shapes == [(1, 20)] * 4
    assert seen.mlps == [[20], [2]]


def test_attention_of_rows_is_that_of_all_at_the_rows() -> None:
    class Recorded:
        def run_layer(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: ScoreRule) -> torch.Tensor:
            assert key is keys and value is keys
            return query.transpose(0, 1) + torch.arange(6.0)[:, None, None]

    keys, query = torch.zeros(1, 6, 4), torch.ones(2, 3, 4)
    out = RowsOfLayer(Recorded(), torch.tensor([5, 0, 2]), keys, keys).run_layer(query, query, query, ScoreRule(1.0))
    assert out.shape == (3, 2, 4)
    assert out[:, 0, 0].tolist() == [6.0, 1.0, 3.0]
