"""Which work a benchmark did, by what it recorded: a time says something only beside another of the same work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEASURED = "measured"
"""Stands alone, and only where what was timed is not what was meant to be."""
ASKED = ("questions", "data", "prompts")
"""What was asked. Where one differs, so do those behind it, which then say nothing more."""
RAN_ON = ("weights", "model", "device", "GPU", "dtype")
TOKENS = "tokens"
"""Of the longest document, where a benchmark says so."""

Work = Mapping[str, Any]
"""Name out of those above to a plain value; what a benchmark does not record is left out."""
Difference = tuple[str, Any, Any]
"""Name, and the values of the saved run and of this one; None for one that is not recorded."""


def work_of(extra_info: Mapping[str, Any]) -> Work:
    """From a benchmark's `extra_info`: of a case that is its record (`harness.record`), others say less.

    Tokens that were computed are no part of it: to do with fewer is how a path gets faster at the same work, and how
    many were generated is up to the answers.
    """
    if "not_measured" in extra_info:
        return {MEASURED: f"no: {extra_info['not_measured']}"}
    prints, got = _part(extra_info, "fingerprints"), _part(extra_info, "load_report", "got") or _part(extra_info, "got")
    device = got["device"].split(":")[0] if "device" in got else None
    ways = list(_part(extra_info, "counts").values())  # of several ways in turns the last is timed: claims/turns.py
    work = {
        "questions": extra_info.get("questions", ways[-1] if ways else None),
        "data": prints.get("data"),
        "prompts": prints.get("prompts"),
        "weights": prints.get("model"),
        "model": None if "model" in prints else extra_info.get("model"),
        "device": device,
        "GPU": _part(extra_info, "versions").get("device_name") if device == "cuda" else None,
        "dtype": got.get("dtype"),
        TOKENS: extra_info.get("tokens"),
    }
    return {name: value for name, value in work.items() if value is not None}


def differences(was: Work, now: Work) -> list[Difference]:
    """What makes `now` other work than `was`; empty where times of the two may be compared."""

    def differing(*names: str) -> list[Difference]:
        return [(name, was.get(name), now.get(name)) for name in names if was.get(name) != now.get(name)]

    if MEASURED in {*was, *now}:
        before, here = was.get(MEASURED, "yes"), now.get(MEASURED, "yes")
        return [(MEASURED, before, here)] if before != here else []
    return [*differing(*ASKED)[:1], *differing(*RAN_ON)] or differing(TOKENS)


def shown(value: Any) -> str:
    """`4,000` for a number."""
    if value is None:
        return "not recorded"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _part(record: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A mapping within a record; empty where there is none. Any plugin may write into `extra_info`."""
    for name in names:
        inner = record.get(name)
        if not isinstance(inner, Mapping):
            return {}
        record = inner
    return record
