"""What two cases' records say of how each was made: what the comparison is about, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from evalsuite.compare.sides import SideCase
from evalsuite.config import ExecutionOptions

_COMPARED = ("model", "checkpoint", "dtype", "attention", "torch_compile", "device", "seed")
_SETUP = {
    "shots": ("prompting", "shots"),
    "chat template": ("prompting", "chat_template"),
    "split": ("data", "split"),
    "data": ("fingerprints", "data"),
}


def subject(a: SideCase, b: SideCase) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, which the comparison is about: name to (A's, B's)."""
    found = dict(_differing(a.record.get("config"), b.record.get("config"), _COMPARED))
    found |= dict(_differing(_execution(a), _execution(b)))
    return found | _both_known(a, b, {"strategy": ("strategy",), "weights": ("fingerprints", "model")})


def setup(a: SideCase, b: SideCase) -> dict[str, tuple[Any, Any]]:
    """What should be the same and is not: shots, template, data."""
    return _both_known(a, b, _SETUP)


def _both_known(a: SideCase, b: SideCase, paths: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Any, Any]]:
    """What differs of the named places in the records, where both say something."""
    values = {name: (_value(a, path), _value(b, path)) for name, path in paths.items()}
    return {name: both for name, both in values.items() if None not in both and both[0] != both[1]}


def _execution(case: SideCase) -> Mapping[str, Any] | None:
    """As recorded; an option that there was not yet is at its default."""
    recorded = case.record.get("execution")
    return None if recorded is None else asdict(ExecutionOptions()) | recorded


def judges(a: SideCase, b: SideCase) -> tuple[str, str] | None:
    """Who graded each side and in which words, where that is not the same; None where it is, or where one has none."""
    one, other = (_judge(case.record.get("judge")) for case in (a, b))
    return (one, other) if one is not None and other is not None and one != other else None


def in_words(differing: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{name} {_word(a)} / {_word(b)}" for name, (a, b) in differing.items())


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    return str(value)


def _judge(judge: Mapping[str, Any] | None) -> str | None:
    if not judge or "name" not in judge:
        return None
    prompt = judge.get("prompt", {})
    return f"{judge['name']}, prompt {prompt.get('version')} ({prompt.get('hash')})"


def _differing(
    one: Mapping[str, Any] | None, other: Mapping[str, Any] | None, names: tuple[str, ...] | None = None
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if one is None or other is None:
        return
    for name in names or dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            yield name, (one.get(name), other.get(name))


def _value(case: SideCase, path: tuple[str, ...]) -> Any:
    value: Any = case.record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
