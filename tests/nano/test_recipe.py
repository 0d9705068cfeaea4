"""The recipe: encodings, weights and shards are exact, the twin is Qwen3, and a few steps learn."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from evalsuite.nano import DATA_DIR, MODEL_DIR
from evalsuite.nano import documents as d
from evalsuite.nano.curves import exact_share, watched_sets
from evalsuite.nano.export import export, to_transformers
from evalsuite.nano.questions import draw_question
from evalsuite.nano.seen import sample_documents
from evalsuite.nano.shards import PROMPT_WEIGHT, WEIGHT_UNIT, Shard, StreamPlan, build_shard, weigh
from evalsuite.nano.stream import MIXTURES, draw_document
from evalsuite.nano.tokenizer import Encoder, train_tokenizer
from evalsuite.nano.train import (
    Shape,
    TrainPlan,
    apply_step,
    make_optimiser,
    rate,
    read_batches,
    read_start,
    set_rate,
    train,
)
from evalsuite.nano.twin import Twin

TINY = Shape(hidden=32, layers=2, heads=2, kv_heads=1, head_dim=16, inner=64)
TINY_PLAN = StreamPlan(seed=5, shards=1, early_shards=1, tokens=4_000, batch_tokens=1_024)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(MODEL_DIR)


@pytest.fixture(scope="module")
def shard(encoder: Encoder) -> Shard:
    return build_shard(encoder, TINY_PLAN, 0, sample_documents(DATA_DIR, held_out=False)[:3])


def tiny_twin(vocabulary: int) -> Twin:
    torch.manual_seed(0)
    return Twin(vocab=vocabulary, hidden=32, layers=2, heads=2, kv_heads=1, head_dim=16, inner=64)


def test_documents_are_encoded_as_the_tokenizer_encodes_their_text(encoder: Encoder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    rng = random.Random(1)
    for index in range(150):
        document = draw_document(rng, tuple(MIXTURES)[index % len(MIXTURES)])
        ids = [token for part in encoder.parts(document) for token in part]
        assert ids == [*tokenizer.encode("".join(document.parts)), encoder.end_of_text]


def test_answers_weigh_one_over_the_root_of_their_length_and_their_ends_half() -> None:
    ids, weights = weigh([[5, 6, 7], [8], [9, 10], [11, 12, 13, 14], [15]])
    assert ids == list(range(5, 16))
    prompt = int(0.01 * WEIGHT_UNIT)
    assert weights == [prompt] * 3 + [WEIGHT_UNIT] + [WEIGHT_UNIT // 2, prompt] + [WEIGHT_UNIT // 2] * 4 + [50]


def test_a_shard_is_a_function_of_seed_and_index(encoder: Encoder, shard: Shard) -> None:
    again = build_shard(encoder, TINY_PLAN, 0, sample_documents(DATA_DIR, held_out=False)[:3])
    other = build_shard(encoder, TINY_PLAN, 1, ())
    assert np.array_equal(again.ids, shard.ids) and np.array_equal(again.weights, shard.weights)
    assert not np.array_equal(other.ids[:500], shard.ids[:500])


def test_a_shard_holds_its_documents_once_with_weightless_padding(encoder: Encoder, shard: Shard) -> None:
    assert shard.ids.size == int(shard.shapes.prod(axis=1).sum())
    assert not shard.weights[shard.ids == encoder.pad].any()
    assert int((shard.ids != encoder.pad).sum()) >= TINY_PLAN.tokens
    ends = int((shard.ids == encoder.end_of_text).sum())
    assert ends == int(shard.shapes[:, 0].sum())


def test_the_recipe_gives_the_tokenizer_byte_for_byte(tmp_path: Path) -> None:
    train_tokenizer(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (MODEL_DIR / "tokenizer.json").read_bytes()


def test_a_stream_for_a_trained_model_has_shards_of_its_own(encoder: Encoder, shard: Shard) -> None:
    plan = dataclasses.replace(TINY_PLAN, mixture="lessons")
    assert not np.array_equal(build_shard(encoder, plan, 0, ()).ids[:500], shard.ids[:500])


def test_the_answer_loss_is_the_loss_where_prompts_weigh_nothing(encoder: Encoder) -> None:
    rng = random.Random(6)
    rows = [weigh(encoder.parts(d.bare(rng))) for _ in range(8)]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [encoder.pad] * (width - len(row)) for row, _ in rows])
    weights = torch.tensor([row + [0] * (width - len(row)) for _, row in rows]) / WEIGHT_UNIT
    answers = weights * (weights > PROMPT_WEIGHT)
    twin = tiny_twin(encoder.vocabulary)
    assert 0 < (answers > 0).sum() < (weights > 0).sum()
    torch.testing.assert_close(twin.answer_loss(ids, weights), twin.loss(ids, answers))


def test_the_twin_computes_what_transformers_qwen3_computes(encoder: Encoder) -> None:
    twin = tiny_twin(encoder.vocabulary)
    shape = {
        "vocab": encoder.vocabulary,
        "hidden": 32,
        "layers": 2,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 16,
        "inner": 64,
    }
    model = to_transformers(shape, twin.state_dict(), eos=encoder.end_of_text, pad=encoder.pad)
    ids = torch.randint(2, encoder.vocabulary, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, twin(ids), atol=1e-5, rtol=1e-4)


def test_export_refuses_weights_without_a_place(encoder: Encoder) -> None:
    twin = tiny_twin(encoder.vocabulary)
    shape = {
        "vocab": encoder.vocabulary,
        "hidden": 32,
        "layers": 1,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 16,
        "inner": 64,
    }
    with pytest.raises(RuntimeError, match="without a place"):
        to_transformers(shape, twin.state_dict(), eos=0, pad=1)


def test_a_fixed_batch_of_questions_is_learnt_by_heart(encoder: Encoder) -> None:
    """Sixteen fixed questions in forty steps; if they are not, the loss or its targets are wrong."""
    rng = random.Random(2)
    questions = [draw_question(rng, d.ALL_TOPICS, held_out=False) for _ in range(16)]
    documents = [
        d.Document(kind="bare", parts=("\n".join((q.stem, *q.lettered, "Answer:")), f" {q.letter}")) for q in questions
    ]
    rows = [weigh(encoder.parts(document)) for document in documents]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [encoder.pad] * (width - len(row)) for row, _ in rows])
    weights = torch.tensor([row + [0] * (width - len(row)) for _, row in rows]) / WEIGHT_UNIT
    twin = tiny_twin(encoder.vocabulary)
    optimiser = make_optimiser(twin, 0.0, "cpu")
    before = exact_share(twin, encoder, documents, "cpu")
    for step in range(40):
        set_rate(optimiser, rate(0.0, step, 1e-2, 5))
        torch.autograd.backward(twin.loss(ids, weights))
        apply_step(twin, optimiser)
    assert before < 0.5
    assert exact_share(twin, encoder, documents, "cpu") == 1.0


def test_a_short_run_lowers_the_loss_and_exports_what_from_pretrained_loads(tmp_path: Path, shard: Shard) -> None:
    np.savez(tmp_path / "00000.npz", ids=shard.ids, weights=shard.weights, shapes=shard.shapes)
    plan = TrainPlan(
        shape=TINY, seconds=90, learning_rate=1e-2, warmup_steps=5, accumulate=1, report_seconds=30, watched=2
    )
    ticks = itertools.count().__next__  # a second a look, so that the run has as many steps on any machine
    curve = train(plan, shards=tmp_path, count=1, tokenizer=MODEL_DIR, data=DATA_DIR, out=tmp_path / "out", clock=ticks)
    assert curve[-1]["loss"] < curve[0]["loss"] < 8.5
    assert set(watched_sets(DATA_DIR, 1)) <= set(curve[-1])
    target = tmp_path / "model"
    target.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((MODEL_DIR / name).read_bytes())
    export(tmp_path / "out" / "model.pt", target)
    assert {p.name for p in target.iterdir()} >= {"config.json", "generation_config.json", "model.safetensors"}


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path, shard: Shard) -> None:
    np.savez(tmp_path / "00000.npz", ids=shard.ids, weights=shard.weights, shapes=shard.shapes)
    still = TrainPlan(shape=TINY, seconds=10, learning_rate=0.0, report_seconds=30, watched=1)
    where = {"shards": tmp_path, "count": 1, "tokenizer": MODEL_DIR, "data": DATA_DIR}
    train(still, **where, out=tmp_path / "one", clock=itertools.count().__next__)
    other = dataclasses.replace(still, seed=1, answers_only=True)
    start = tmp_path / "one" / "model.pt"
    train(other, **where, out=tmp_path / "two", start=start, clock=itertools.count().__next__)
    one, two = (torch.load(tmp_path / out / "model.pt", weights_only=True)["state"] for out in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_goes_on_from_an_exported_folder(tmp_path: Path, encoder: Encoder) -> None:
    twin = tiny_twin(encoder.vocabulary)
    shape = {"vocab": encoder.vocabulary, **dataclasses.asdict(TINY)}
    torch.save({"shape": shape, "state": twin.state_dict()}, tmp_path / "model.pt")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((MODEL_DIR / name).read_bytes())
    export(tmp_path / "model.pt", tmp_path)
    again = tiny_twin(encoder.vocabulary)
    again.load_state_dict(read_start(tmp_path))
    state = twin.state_dict()
    assert all(torch.equal(state[name].bfloat16().float(), value) for name, value in again.state_dict().items())


def test_batches_come_in_shard_order_and_start_over(tmp_path: Path, shard: Shard) -> None:
    np.savez(tmp_path / "00000.npz", ids=shard.ids, weights=shard.weights, shapes=shard.shapes)
    batches = read_batches(tmp_path, 1, "cpu")
    first = [next(batches) for _ in shard.shapes]
    assert [list(ids.shape) for ids, _ in first] == shard.shapes.tolist()
    assert torch.equal(next(batches)[0], first[0][0])


def test_the_rate_warms_up_and_decays_to_a_hundredth() -> None:
    assert rate(0.0, 0, 1.0, 10) == pytest.approx(0.1)
    assert rate(0.0, 9, 1.0, 10) == pytest.approx(1.0)
    assert rate(0.5, 100, 1.0, 10) == pytest.approx(0.505)
    assert rate(1.5, 100, 1.0, 10) == pytest.approx(0.01)
