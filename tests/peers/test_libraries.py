"""What a library gives is measured on the model as it is, compared with ours, and recorded also where it fails."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.peers import generation, libraries
from benchmarks.peers.libraries import Library, LibraryFailure, LibraryRun, chosen, run_library, try_library
from benchmarks.peers.prompts import requests
from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.loading import LoadedModel, load
from evalsuite.types import EncodedPrompt

WARM_UP = requests("viquad", vocab=1_000, count=2, new_tokens=3, seed=1)
PROMPTS = requests("viquad", vocab=1_000, count=5, new_tokens=3, seed=0)
GENERATE = Library(name="generate", batch=2)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load(InferenceConfig(model="nano", dtype="float32", device="cpu"))


@pytest.fixture
def unchanged(loaded: LoadedModel) -> Iterator[Any]:
    """The model, which must afterwards be as it was."""
    model = loaded.model
    before = model.generation_config, model.config._attn_implementation, set(vars(model))
    yield model
    assert (model.generation_config, model.config._attn_implementation, set(vars(model))) == before


def test_libraries_answer_what_continuous_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "record.json"
    ours = ["--padded", "--unbatched=0", "--rounds=1", "--device=cpu", "--dtype=float32"]
    theirs = ["--libraries", "generate_batch", "static", "generate", "--library-batches", "2", "--library-prompts=3"]
    attention = ["--library-attention", "auto", "flash_attention_2"]
    workload = ["--model=nano", "--workload", "viquad:5:4", "--out", str(out)]
    generation.main([*workload, *ours, *theirs, *attention])
    first, *entries = json.loads(out.read_text())["results"]
    assert (first["peer"], first["same_answers"], first["same_tokens"]) == ("continuous", 5, 20)
    peers = {
        "transformers generate_batch": 5,
        "transformers generate, static cache, batch 2": 3,
        "transformers generate, batch 2": 3,
    }
    got = {entry["peer"]: entry for entry in entries}
    assert list(got) == [peer + attention for peer in peers for attention in ("", ", flash_attention_2")]
    shown = capsys.readouterr().out
    for peer, prompts in peers.items():
        entry = got[peer]
        assert (entry["prompts"], entry["same_answers"], entry["same_tokens"]) == (prompts, prompts, 4 * prompts)
        assert entry["seconds"] > 0 < entry["times_continuous"]
        assert (entry["graphs_compiled"], entry["fallbacks"]) == ({"warm_up": 0, "timed": 0}, [])
        assert entry["attention"].removeprefix("paged|") == "sdpa"
        failed = got[peer + ", flash_attention_2"]
        assert failed.keys() == {"peer", "workload", "prompts", "failed"}  # there is no flash attention on a CPU
        assert f"{failed['peer']}, viquad:5:4: {failed['failed']}" in shown.splitlines()


def test_each_way_has_each_attention_and_batch_size() -> None:
    ways = chosen(["generate_batch_compiled", "static"], [8, 128], ["auto", "sdpa"])
    assert list(map(str, ways)) == [
        "transformers generate_batch, compiled",
        "transformers generate_batch, compiled, sdpa",
        "transformers generate, static cache, batch 8",
        "transformers generate, static cache, batch 128",
        "transformers generate, static cache, batch 8, sdpa",
        "transformers generate, static cache, batch 128, sdpa",
    ]


@pytest.mark.parametrize("name", ["generate_batch", "static", "generate"])
def test_answers_are_in_the_order_of_the_prompts_and_do_not_stop(
    name: str, loaded: LoadedModel, unchanged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of sequence is set to a token that is written, in both places where transformers looks for one."""
    expected = run_library(loaded, GENERATE, WARM_UP, PROMPTS).answers
    monkeypatch.setattr(unchanged.config, "eos_token_id", expected[0][0])
    monkeypatch.setattr(unchanged.generation_config, "eos_token_id", expected[0][0])
    library = Library(name=name, attention="eager", batch=2 if name in libraries.BATCHED else None)
    run = run_library(loaded, library, WARM_UP, PROMPTS)
    assert run.answers == expected
    assert run.attention.removeprefix("paged|") == "eager"


def test_memory_that_runs_out_is_a_reason(loaded: LoadedModel, unchanged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(*_: Any, **__: Any) -> None:
        unchanged.left_behind = "a cache"
        raise torch.OutOfMemoryError("tried to allocate 2 GiB.\nand so on")

    monkeypatch.setattr(type(unchanged), "generate", generate)
    reason = try_library(loaded, Library(name="static", attention="eager", batch=2), WARM_UP, PROMPTS)
    assert reason == "OutOfMemoryError: tried to allocate 2 GiB"


def test_answers_that_are_too_short_are_no_figures(
    loaded: LoadedModel, unchanged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(unchanged), "generate", lambda self, ids, **_: torch.cat([ids, ids[:, :2]], dim=1))
    reason = try_library(loaded, GENERATE, WARM_UP, PROMPTS)
    assert reason == "LibraryFailure: 5 of 5 answers do not have the 3 tokens asked for"


def test_a_library_is_not_measured_on_our_layers(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = loaded.model.model.layers[0]
    monkeypatch.setattr(layer, "forward", layer.forward)
    with pytest.raises(ConfigError, match="measured without them"):
        run_library(loaded, GENERATE, WARM_UP, PROMPTS)


def test_prompts_of_different_new_tokens_are_refused(loaded: LoadedModel) -> None:
    with pytest.raises(ConfigError, match=r"not of \[3, 4\]"):
        run_library(loaded, GENERATE, requests("viquad", vocab=1_000, count=1, new_tokens=4, seed=1), PROMPTS)


class _Manager:
    """As far as the manager of continuous batching is used; answers the last request first."""

    def __init__(self, errors: dict[str, str] | None = None, ends_after: int | None = None) -> None:
        self.errors = errors or {}
        self.ends_after = ends_after
        self.waiting: list[str] = []
        self.background_thread_status = SimpleNamespace(fatal_error="a kernel is missing")

    def add_requests(self, inputs: list[list[int]], max_new_tokens: int) -> list[str]:
        self.waiting = [f"req_{i}" for i in range(len(inputs))]
        return list(self.waiting)

    def get_result(self, timeout: float) -> Any:
        if not self.is_running():
            return None
        id_ = self.waiting.pop()
        self.ends_after = None if self.ends_after is None else self.ends_after - 1
        tokens = [int(id_.removeprefix("req_"))]
        return SimpleNamespace(
            request_id=id_, generated_tokens=tokens, error=self.errors.get(id_), is_finished=lambda: True
        )

    def is_running(self) -> bool:
        return self.ends_after != 0


def _collect(manager: _Manager) -> list[tuple[int, ...]]:
    return libraries._collected(
        manager, [EncodedPrompt(id=str(i), prompt_ids=(i,), max_new_tokens=1) for i in range(1, 5)], 1
    )


def test_the_managers_answers_are_matched_by_request() -> None:
    assert _collect(_Manager()) == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("manager", "reason"),
    [
        (lambda: _Manager(ends_after=1), "its thread ended after 1 of 4 answers: a kernel is missing"),
        (lambda: _Manager(errors={"req_2": "no block is free"}), "1 of 4 requests failed: no block is free"),
    ],
)
def test_a_manager_that_fails_says_why(manager: Callable[[], _Manager], reason: str) -> None:
    asked = manager()
    with pytest.raises(LibraryFailure, match=reason):
        _collect(asked)
    assert len(asked.waiting) == (3 if "ended" in reason else 0)  # what goes on is waited for


def test_an_attention_keeps_its_name_where_transformers_does_not_replace_it() -> None:
    switch = dataclasses.make_dataclass("Batching", [("auto_switch_to_flash", bool, False)])()
    without = dataclasses.make_dataclass("Batching", [("block_size", int, 256)])()
    assert [libraries._paged(name, switch) for name in ("sdpa", "flash_attention_2")] == ["sdpa", "flash_attention_2"]
    assert [libraries._paged(name, without) for name in ("sdpa", "flash_attention_2")] == [
        "paged|sdpa",
        "flash_attention_2",
    ]


def test_what_the_compiler_gave_up_on_is_kept() -> None:
    logger = logging.getLogger("torch._dynamo.convert_frame")
    with libraries._compiler_limits() as given_up:
        logger.warning("torch._dynamo hit config.%s (%s)\n   function: %s", "recompile_limit", 8, "forward")
        logger.warning("something else")
    logger.warning("torch._dynamo hit config.%s (%s)", "recompile_limit", 8)
    assert given_up == ["torch._dynamo hit config.recompile_limit (8)"]


def test_figures_of_a_library_become_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a card, where libraries compile."""
    run = LibraryRun(
        answers=[(1, 2, 3), (1, 9, 3)],
        seconds=2.0,
        first_seconds=9.0,
        peak_bytes=2**30,
        attention="flash_attention_2",
        graphs=(3, 1),
        given_up=("hit recompile_limit",),
    )
    monkeypatch.setattr(generation, "try_library", lambda *_: run)
    given = SimpleNamespace(library_prompts=2)
    workload = generation.Workload(name="viquad", prompts=4, new_tokens=3)
    reference = {str(number): (1, 2, 3) for number in range(4)}
    entry = generation._by_library(None, Library(name="static", batch=2), workload, given, 1_000, reference)  # type: ignore[arg-type]
    assert entry == {
        "peer": "transformers generate, static cache, batch 2",
        "workload": "viquad:4:3",
        "prompts": 2,
        "seconds": 2.0,
        "prompts_per_second": 1.0,
        "tokens_per_second": 3.0,
        "same_answers": 1,
        "same_tokens": 4,
        "first_seconds": 9.0,
        "attention": "flash_attention_2",
        "graphs_compiled": {"warm_up": 3, "timed": 1},
        "peak_bytes": 2**30,
        "fallbacks": ["hit recompile_limit"],
    }
