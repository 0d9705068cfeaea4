"""Documents are the same each time; what a machine cannot hold is skipped by name, or fails where it is required."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import side_by_side as module
from benchmarks.documents import documents
from benchmarks.side_by_side import named_skips, side_by_side
from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError, RequestError
from evalsuite.evaluation import Workload
from evalsuite.harness.case import ExecutionPath
from evalsuite.harness.plan import CannotRun
from evalsuite.tasks import get_task
from evalsuite.tasks.base import TaskData
from evalsuite.types import EncodedPrompt

LONGEST = 6


def a_workload(lengths: list[int]) -> Workload:
    """Prompts of different tokens: those of the i-th are i."""
    prompts = [EncodedPrompt(id=str(i), prompt_ids=(i,) * n, max_new_tokens=9) for i, n in enumerate(lengths)]
    data = TaskData(task="vietnews", split="test", examples=(), shots={}, source="", shots_source=(), excluded={})
    return Workload(
        task=get_task("vietnews"),
        data=data,
        uses_chat=False,
        prompts=tuple(prompts),
        prompt_hashes={},
        examples={},
        shots_shown={},
    )


@given(lengths=st.lists(st.integers(1, LONGEST), min_size=2, max_size=7), data=st.data())
def test_documents_are_as_long_as_asked_end_in_a_prompt_and_begin_differently(
    lengths: list[int], data: st.DataObject
) -> None:
    workload = a_workload(lengths)
    tokens = data.draw(st.integers(LONGEST, 60))
    number = data.draw(st.integers(1, len(lengths) * (len(lengths) - 1)))
    made = documents(workload, tokens=tokens, number=number, new_tokens=3).prompts
    assert made == documents(workload, tokens=tokens, number=number, new_tokens=3).prompts
    assert len({prompt.id for prompt in made}) == number
    for prompt in made:
        last = workload.prompts[prompt.prompt_ids[-1]].prompt_ids
        assert (len(prompt.prompt_ids), prompt.prompt_ids[-len(last) :], prompt.max_new_tokens) == (tokens, last, 3)
    # Which article they begin with, and which comes next, belong to one document alone; short ones hold only one.
    if tokens >= 3 * LONGEST and len(lengths) > 2:
        beginnings = [tuple(dict.fromkeys(prompt.prompt_ids[: -lengths[prompt.prompt_ids[-1]]])) for prompt in made]
        assert len({beginning[:2] for beginning in beginnings}) == number


def test_more_documents_than_can_differ_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 prompts of vietnews do not make 3 different documents"):
        documents(a_workload([1, 2]), tokens=9, number=3, new_tokens=1)


def test_a_document_shorter_than_its_prompt_is_refused() -> None:
    with pytest.raises(ConfigError, match="alone has 6 tokens; expected at most 5"):
        documents(a_workload([6, 1]), tokens=5, number=1, new_tokens=1)


@pytest.mark.parametrize(
    ("error", "required", "outcome", "said"),
    [
        (CannotRun("attention", "flash_attention_2", "none"), "cuda", "Skipped", "attention flash_attention_2: none"),
        (CannotRun("attention", "flash_attention_2", "none"), "cuda,flash_attn", "Failed", "--require flash_attn: "),
        (RequestError("out of memory on a single request of 9 tokens"), "cuda", "Skipped", "out of memory on a single"),
        (RequestError("q1: the context is empty"), "cuda", "RequestError", "q1: the context is empty"),
    ],
    ids=["not here", "required", "too large", "a fault"],
)
def test_what_cannot_run_is_skipped_by_name(error: Exception, required: str, outcome: str, said: str) -> None:
    config = SimpleNamespace(getoption={"--require": [required]}.__getitem__)
    with pytest.raises(BaseException) as raised, named_skips(config):  # type: ignore[arg-type]
        raise error
    assert type(raised.value).__name__ == outcome
    assert str(raised.value).startswith(said)


def test_times_are_kept_before_the_reference_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take minutes, and a time limit that ends the process leaves what stands in the folder."""
    kept: list[Mapping[str, Any]] = []
    loaded = SimpleNamespace(device="cpu", report=SimpleNamespace(fallbacks=(), got={}))

    @contextmanager
    def engine(path: ExecutionPath) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(loaded=loaded, fallbacks=())

    session: Any = SimpleNamespace(
        engine=engine,
        pool=SimpleNamespace(get=lambda _: loaded, bytes_beside=lambda _: 0),
        results=SimpleNamespace(add_case=lambda _, record: kept.append(record)),
    )

    def pedantic(run: Callable[[], object], *, setup: Callable[[], object], rounds: int) -> None:
        for _ in range(rounds):
            setup()
            run()

    class Judge:
        def verdict(self, *_: object, **__: object) -> None:
            assert len(kept) == len(ways) + 1, "once for each way, and once with all that is known"
            assert "peak_bytes" not in kept[0] and kept[-1]["peak_bytes"].keys() == ways.keys()
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "answer", lambda *_: {})
    workload = a_workload([3])
    path = ExecutionPath(config=InferenceConfig(), execution=ExecutionOptions(), strategy="padded")
    ways = {"plain": (path, workload), "fast": (path, workload)}
    benchmark = SimpleNamespace(enabled=False, extra_info={}, pedantic=pedantic)
    with pytest.raises(KeyboardInterrupt):
        side_by_side(session, benchmark, "case", ways, judge=Judge(), about=set())  # type: ignore[arg-type]
