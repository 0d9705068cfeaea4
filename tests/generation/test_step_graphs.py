"""When a step of decoding is captured, and what becomes of it. Graphs, streams and kernels are stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
import torch

from evalsuite.attention.pooled_plain import plain_decode, plain_prefill, plain_store
from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation import _pooled, _step_graphs
from evalsuite.planning.spans import parting_spans
from evalsuite.types import EncodedPrompt, Generation
from tests.generation.test_strategies import generate, same
from tests.tiny import tiny_loaded


@dataclass
class Happened:
    """What was asked of the device, in order."""

    events: list[str] = field(default_factory=list)
    capturing: bool = False
    fails: dict[str, Exception] = field(default_factory=dict)
    """By event: what it raises, once."""

    def note(self, event: str) -> None:
        self.events.append(event)
        if event in self.fails:
            raise self.fails.pop(event)


class Stream:
    def wait_stream(self, other: Stream) -> None:
        pass


class Workspace:
    def plan(self, slots: Any, rows: Any, ends: Any, *, kv_heads: int) -> Any:
        return parting_spans(slots, rows, ends, length=64, most_members=4, most_cells=10**6)


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Happened]:
    seen = Happened()

    class Graph:
        step: Any

        def capture_begin(self, **_: Any) -> None:
            seen.capturing = True
            seen.note("capture")

        def capture_end(self) -> None:
            seen.capturing = False

        def pool(self) -> tuple[int, int]:
            return 0, 1

        def replay(self) -> None:
            self.step()

    def workspace(*_: Any, **__: Any) -> Workspace:
        seen.note("workspace in a capture" if seen.capturing else "workspace")
        return Workspace()

    kernels = ModuleType("evalsuite.attention.pooled_fused")
    for name, stand_in in {
        "decode_workspace": workspace,
        "workspace_bytes": lambda **_: 0,
        "most_cells": lambda places, width, fixed: 4 * places * (1 + width // 32),
        "most_members": lambda heads, kv_heads, fixed: 4,
        "fused_prefill": plain_prefill,
        "fused_decode": lambda tables, _: plain_decode(tables),
        "fused_store": plain_store,
    }.items():
        setattr(kernels, name, stand_in)
    monkeypatch.setitem(sys.modules, "evalsuite.attention.pooled_fused", kernels)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**40, 2**40))
    monkeypatch.setattr(_pooled, "STEPS_ON_CPU", 4)

    forward, graphs = _pooled.PooledForward, _step_graphs.StepGraphs
    captured, begin, warm_up, decode = graphs._captured, forward.__init__, graphs.warm_up, forward.decode

    def with_step(self: Any, size: int, step: Any, step_bytes: int) -> Any:
        graph: Any = captured(self, size, step, step_bytes)
        graph.step = lambda: step(size)
        return graph

    def with_kernels(self: Any, runner: Any, **given: int) -> None:
        begin(self, runner, **given)
        self._fused_kernel = True
        self._tables = self._new_tables()

    def noted_warm_up(self: Any, size: int, step: Any) -> None:
        seen.note(f"warm-up {size}")
        warm_up(self, size, step)

    def noted_decode(self: Any, round_: Any, schedule: Any) -> Any:
        seen.note("steps")
        return decode(self, round_, schedule)

    monkeypatch.setattr(graphs, "_captured", with_step)
    monkeypatch.setattr(forward, "__init__", with_kernels)
    monkeypatch.setattr(graphs, "warm_up", noted_warm_up)
    monkeypatch.setattr(forward, "decode", noted_decode)
    yield seen


def some(count: int, *, length: int = 6, new_tokens: int = 7) -> list[EncodedPrompt]:
    return [
        EncodedPrompt(
            id=str(i), prompt_ids=tuple(2 + (7 * i + j) % 50 for j in range(length)), max_new_tokens=new_tokens
        )
        for i in range(count)
    ]


def references(batch: list[EncodedPrompt]) -> dict[str, Generation]:
    return generate("qwen3", REFERENCE_STRATEGY, batch)


def answers(engine: TransformersEngine, batch: list[EncodedPrompt]) -> dict[str, Generation]:
    return {outcome.id: outcome for outcome in engine.generate(batch, "continuous")}


def test_a_step_is_captured_while_prompts_are_read_and_serves_all_rounds(happened: Happened) -> None:
    batch = some(3)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        same(answers(engine, batch), references(batch))
        assert not engine.fallbacks
    assert happened.events == ["workspace", "warm-up 3", "capture", "steps", "steps"]


def test_a_wider_batch_later_has_its_workspace_before_it_is_captured(happened: Happened) -> None:
    later = some(4, length=20, new_tokens=9)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        answers(engine, some(3))
        happened.events.clear()
        same(answers(engine, later), references(later))
    assert happened.events == ["workspace", "warm-up 4", "capture", "steps", "steps"]


def test_running_out_of_memory_ahead_is_tried_again_when_a_step_is_wanted(happened: Happened) -> None:
    batch = some(3)
    happened.fails["warm-up 3"] = torch.OutOfMemoryError("CUDA out of memory")
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(token_budget=8)) as engine:
        same(answers(engine, batch), references(batch))
        assert not engine.fallbacks
    assert happened.events == ["workspace", "warm-up 3", "steps", "warm-up 3", "capture", "steps"]


def test_no_room_for_a_graph_is_recorded_and_no_batch_is_halved(happened: Happened) -> None:
    batch = some(3)
    happened.fails["capture"] = torch.OutOfMemoryError("CUDA out of memory")
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        same(answers(engine, batch), references(batch))
        assert [(f.what, f.got) for f in engine.fallbacks] == [("cuda_graph", "off for batches of 3")]
    assert happened.events == ["workspace", "warm-up 3", "capture", "steps", "steps"]


def test_a_capture_that_fails_leaves_no_graph_that_read_what_it_gave_back(happened: Happened) -> None:
    batch = [*some(6, new_tokens=3), *some(12, length=9, new_tokens=9)[6:]]
    happened.fails["warm-up 12"] = torch.OutOfMemoryError("CUDA out of memory")  # so that none is captured ahead
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        real, sizes = _step_graphs.StepGraphs._captured, []

        def second_fails(self: Any, size: int, *given: Any) -> Any:
            sizes.append((size, len(self._graphs)))
            if len(sizes) == 2:
                raise RuntimeError("an operation is not permitted")
            return real(self, size, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_step_graphs.StepGraphs, "_captured", second_fails)
            same(answers(engine, batch), references(batch))
        assert [(f.what, f.got) for f in engine.fallbacks] == [("cuda_graph", "off")]
    assert sizes == [(12, 0), (6, 1)]
