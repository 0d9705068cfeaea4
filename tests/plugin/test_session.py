"""What the cases of a session share, and what is not tried again for each of them."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import DataError, JudgeError
from evalsuite.harness import session as module
from evalsuite.harness.session import EvaluationSession


def bare_session(**options: Any) -> EvaluationSession:
    return EvaluationSession(SimpleNamespace(**options), results=SimpleNamespace(), progress=SimpleNamespace())


def test_data_that_cannot_be_read_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def read(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise DataError("no such folder")

    monkeypatch.setattr(module, "get_task", lambda _: SimpleNamespace(read=read))
    session = bare_session(data_source=lambda: None, split=None, shots=0)
    for _ in range(2):
        with pytest.raises(DataError, match="no such folder"):
            session.data("mmlu")
    assert asked == [1]


class Model:
    """Something that a case holds while it asks for its questions."""


def test_data_that_cannot_be_read_holds_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise DataError("no such folder")

    monkeypatch.setattr(module, "get_task", lambda _: SimpleNamespace(read=read))
    session = bare_session(data_source=lambda: None, split=None, shots=0)

    def case_with_a_model() -> Callable[[], object]:
        model = Model()
        with pytest.raises(DataError):
            session.data("mmlu")
        return weakref.ref(model)

    for _ in range(2):
        model = case_with_a_model()
        gc.collect()
        assert model() is None


@pytest.mark.parametrize(
    ("asked", "got", "plain"),
    [("auto", "sdpa", "auto"), ("eager", "eager", "eager"), ("auto", "flash_attention_2", "sdpa")],
)
def test_the_reference_runs_without_compiled_graphs_and_flash_kernels(asked: str, got: str, plain: str) -> None:
    session = bare_session()
    loaded = SimpleNamespace(report=SimpleNamespace(got={"attention": got}))
    session.pool = SimpleNamespace(get=lambda config: loaded)
    config = InferenceConfig(attention=asked, torch_compile=True)
    assert session.plain(config) == InferenceConfig(attention=plain, torch_compile=False)


def test_a_judge_that_is_not_there_is_looked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looked = []

    def absent(where: str, **_: Any) -> None:
        looked.append(where)
        raise JudgeError("no server there")

    monkeypatch.setattr(module, "open_judge", absent)
    judge = SimpleNamespace(where="http://h/v1", model=None, api_key=None, timeout_s=1.0, concurrency=1)
    session = bare_session(judge=judge, results=tmp_path, config=InferenceConfig(), execution=ExecutionOptions())
    for _ in range(2):
        with pytest.raises(JudgeError, match="no server there"):
            session.judge()
    assert looked == ["http://h/v1"]
