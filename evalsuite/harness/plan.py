"""From what a benchmark file asks for to the paths that are run, or the named reason why this machine cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from evalsuite.capability import attention_reason, best_device, compile_reason, dtype_reason
from evalsuite.config import ExecutionOptions, InferenceConfig, why_not_cached_as
from evalsuite.determinism import why_not
from evalsuite.errors import ConfigError
from evalsuite.harness.case import Case, ExecutionPath
from evalsuite.tasks import get_task
from evalsuite.types import Fallback

if TYPE_CHECKING:
    from evalsuite.harness.session import EvaluationSession

_REQUIREMENTS = {
    "torch_compile": "compile",
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_3",
    "flex_attention": "flex",
    "bfloat16": "bf16",
}
_CONFIG_FIELDS = {field.name for field in dataclasses.fields(InferenceConfig)}
_EXECUTION_FIELDS = {field.name for field in dataclasses.fields(ExecutionOptions)}


class CannotRun(Exception):
    """This machine lacks what the case is about. The message names it and the reason."""

    def __init__(self, what: str, asked: object, reason: str) -> None:
        super().__init__(f"{what} {asked}: {reason}")
        self.requirement = _REQUIREMENTS.get(what if what == "torch_compile" else str(asked))
        """The name of what is missing for `--require`, if it has one."""


def plan_case(
    session: EvaluationSession,
    name: str,
    task: str,
    strategy: str,
    *,
    change: Mapping[str, object],
    baseline: Mapping[str, object] | None,
) -> Case:
    """The paths of a case, and the task's data read.

    Raises:
        CannotRun: before any data is read, or after a model turned out to have stepped down.
        EvalsuiteError: there is no such model, or the data cannot be read; no model has been loaded then.
    """
    changed = _path(session, strategy, change)
    _require_determinism(changed)
    _require_cache_dtype(task, changed)
    _require_able(changed, change)
    if baseline is not None:
        _require_able(_path(session, strategy, baseline), baseline)
    # What is wrong with the model's name or with the data is known in a second, and a model may load for minutes.
    session.pool.look_for(changed.config)
    session.data(task)
    if baseline is None:
        reference_config = session.plain(changed.config)
        baseline_path = session.reference_path(reference_config)
    else:
        baseline_path = _path(session, strategy, baseline)
        if why_not_cached_as(baseline_path.execution.kv_cache_dtype, baseline_path.strategy) is not None:
            plain = dataclasses.replace(baseline_path.execution, kv_cache_dtype=ExecutionOptions().kv_cache_dtype)
            baseline_path = dataclasses.replace(baseline_path, execution=plain)
        # Judged in its own dtype, since rounding is no infidelity; in all else by the plain baseline.
        reference_config = session.plain(baseline_path.config.replace(dtype=changed.config.dtype))
    for path, asked in ((changed, change), (baseline_path, baseline or {})):
        if about := _about(asked):
            refuse_steps_down(about, session.pool.get(path.config).report.fallbacks)
    return Case(
        name=name,
        task=task,
        path=changed,
        baseline=baseline_path,
        reference=reference_config,
        about=frozenset(change),
    )


def _path(session: EvaluationSession, strategy: str, change: Mapping[str, object]) -> ExecutionPath:
    if unknown := change.keys() - _CONFIG_FIELDS - _EXECUTION_FIELDS - {"strategy"}:
        raise ConfigError(
            f"expected strategy or fields of InferenceConfig or ExecutionOptions, got {', '.join(sorted(unknown))}"
        )
    execution = {name: value for name, value in change.items() if name in _EXECUTION_FIELDS}
    return ExecutionPath(
        config=session.options.config.replace(**{k: v for k, v in change.items() if k in _CONFIG_FIELDS}),
        execution=dataclasses.replace(session.options.execution, **execution),  # type: ignore[arg-type]
        strategy=str(change.get("strategy", strategy)),
    )


def _require_determinism(path: ExecutionPath) -> None:
    device = best_device() if path.config.device == "auto" else path.config.device
    if path.execution.deterministic and (reason := why_not(path.strategy, device)) is not None:
        raise CannotRun("deterministic", path.strategy, reason)


def _require_cache_dtype(task: str, path: ExecutionPath) -> None:
    """Scoring keeps no cache, so there the option says nothing."""
    dtype = path.execution.kv_cache_dtype
    if get_task(task).kind == "generation" and (reason := why_not_cached_as(dtype, path.strategy)) is not None:
        raise CannotRun("kv_cache_dtype", dtype, reason)


_ABOUT: Mapping[str, Callable[[InferenceConfig, str], str | None]] = {
    "dtype": lambda config, device: dtype_reason(config.dtype, device),
    "attention": lambda config, device: attention_reason(config.attention, device, config.dtype),
    "torch_compile": lambda config, device: compile_reason(device) if config.torch_compile else None,
}
"""What a case may be about that a machine may lack -> the reason, without a model."""


def _about(asked: Mapping[str, object]) -> list[str]:
    """A case about a dtype, an attention or compilation is worth nothing on a model that stepped down from it."""
    return [name for name in _ABOUT if name in asked]


def _require_able(path: ExecutionPath, asked: Mapping[str, object]) -> None:
    device = best_device() if path.config.device == "auto" else path.config.device
    for name in _about(asked):
        if (reason := _ABOUT[name](path.config, device)) is not None:
            raise CannotRun(name, asked[name], reason)


def refuse_steps_down(about: Collection[str], fallbacks: Iterable[Fallback]) -> None:
    """Raises `CannotRun` if one of the fallbacks gave up what a case is about: in loading, or in the first forward."""
    for step in fallbacks:
        if step.what in about:
            raise CannotRun(step.what, step.asked, step.reason)
