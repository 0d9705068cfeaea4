"""What the cases of a session share, and what is not tried again for each of them."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import DataError, JudgeError, ModelLoadError
from evalsuite.harness import session as module
from evalsuite.harness.case import Case
from evalsuite.harness.plan import CannotRun, plan_case
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


def session_with_a_cache(dtype: str) -> EvaluationSession:
    session = bare_session(config=InferenceConfig(), execution=ExecutionOptions(kv_cache_dtype=dtype))
    loaded = SimpleNamespace(report=SimpleNamespace(got={"attention": "sdpa"}))
    session.pool = SimpleNamespace(get=lambda _: loaded, look_for=lambda _: None)
    session.data = lambda _: None
    return session


def planned(session: EvaluationSession, task: str, strategy: str, baseline: dict[str, object] | None = None) -> Case:
    return plan_case(session, "test_x", task, strategy, change={}, baseline=baseline)


def test_no_model_is_loaded_for_data_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise DataError("no such folder")

    monkeypatch.setattr(module, "get_task", lambda _: SimpleNamespace(read=read))
    options = {"data_source": lambda: None, "split": None, "shots": 0}
    session = bare_session(config=InferenceConfig(), execution=ExecutionOptions(), **options)
    looked_for = []
    session.pool = SimpleNamespace(get=lambda _: pytest.fail("a model was loaded"), look_for=looked_for.append)
    for baseline in (None, {"strategy": "unbatched"}):
        with pytest.raises(DataError, match="no such folder"):
            planned(session, "mmlu", "packed", baseline)
    assert looked_for == [InferenceConfig()] * 2


def test_no_data_are_read_for_a_model_that_is_none() -> None:
    def refuse(config: InferenceConfig) -> None:
        raise ModelLoadError("no such model")

    session = bare_session(config=InferenceConfig(), execution=ExecutionOptions())
    session.pool = SimpleNamespace(get=lambda _: pytest.fail("a model was loaded"), look_for=refuse)
    session.data = lambda _: pytest.fail("data were read")
    with pytest.raises(ModelLoadError, match="no such model"):
        planned(session, "mmlu", "packed")


@pytest.mark.parametrize("change", [{"attention": "flash_attention_2"}, {}], ids=["changed", "baseline"])
def test_what_the_machine_cannot_run_is_said_before_data_is_read(change: dict[str, object]) -> None:
    session = bare_session(config=InferenceConfig(device="cpu"), execution=ExecutionOptions())
    session.data = lambda _: pytest.fail("data was read")
    baseline: dict[str, object] = {"attention": "eager" if change else "flash_attention_2"}
    with pytest.raises(CannotRun, match=r"attention flash_attention_2: .*CUDA"):
        plan_case(session, "test_x", "mmlu", "padded", change=change, baseline=baseline)


def test_a_cache_of_another_dtype_is_the_paths_alone() -> None:
    """What the reference and a baseline keep is in the model's dtype, so the verdict tells what the other costs."""
    session = session_with_a_cache("int8")
    continuous = planned(session, "viquad", "continuous", {"strategy": "padded"})
    assert continuous.path.execution.kv_cache_dtype == "int8"
    assert continuous.baseline.execution.kv_cache_dtype == "auto"
    assert planned(session, "viquad", "continuous").baseline.execution.kv_cache_dtype == "auto"
    assert session.reference_path(InferenceConfig()).execution == ExecutionOptions()


@pytest.mark.parametrize("strategy", ["unbatched", "padded"])
def test_a_strategy_that_cannot_keep_the_cache_in_a_dtype_is_left_out(strategy: str) -> None:
    session = session_with_a_cache("fp8")
    with pytest.raises(CannotRun, match=f"kv_cache_dtype fp8: {strategy} keeps keys and values in the model's dtype"):
        planned(session, "viquad", strategy)
    assert planned(session, "mmlu", strategy).path.strategy == strategy, "scoring keeps none"
    assert planned(session_with_a_cache("auto"), "viquad", strategy).path.strategy == strategy


def test_a_judge_does_not_draw(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(module, "open_judge", lambda where, **settings: given.update(settings))
    judge = SimpleNamespace(where="local:nano", model=None, api_key=None, timeout_s=1.0, concurrency=1)
    execution = ExecutionOptions(temperature=1.0, ignore_eos=True, token_budget=99)
    bare_session(judge=judge, results=tmp_path, config=InferenceConfig(), execution=execution).judge()
    assert given["execution"] == ExecutionOptions(token_budget=99)


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
