"""Runs written by hand, as a run leaves them: what a comparison reads, without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SETTINGS: Mapping[str, Any] = {
    "strategy": "padded",
    "config": {"model": "nano", "checkpoint": None, "dtype": "bfloat16"},
    "execution": {"batch_size": None},
    "prompting": {"shots": 0, "chat_template": False},
    "fingerprints": {"data": "d", "model": "m"},
    "data": {"split": "test"},
    "judge": None,
    "timed": False,
}


def question(
    number: int, answer: str, gold: str | None = "A", *, prompt: str = "", metric: str = "accuracy", **more: Any
) -> dict[str, Any]:
    """One line of a run's answers; right where the answer is the gold."""
    scores = more.pop("scores", None)
    if scores is None:
        scores = {} if gold is None else {metric: float(answer == gold)}
    return {
        "id": f"q/{number}",
        "group": "g",
        "prompt_hash": prompt or f"{number:016x}",
        "prediction": answer,
        "gold": None if gold is None else [gold],
        "score": scores.get(metric),
        "scores": scores,
        **more,
    }


def answers(text: str) -> list[dict[str, Any]]:
    """`"AAB"`: three questions whose gold is A, answered so."""
    return [question(number, letter) for number, letter in enumerate(text)]


def write_run(
    folder: Path,
    cases: Mapping[str, Sequence[Mapping[str, Any]]],
    records: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """A run with these questions a case; a record is `SETTINGS` but for what is given of it."""
    folder.mkdir(parents=True)
    summary: dict[str, Any] = {"run": folder.name, "cases": {}}
    for number, (name, lines) in enumerate(cases.items()):
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        main = next((metric for line in lines for metric in line["scores"]), None)
        summary["cases"][name] = {
            **SETTINGS,
            "case": name,
            "task": name.removeprefix("test_").split("[")[0],
            "score": None if main is None else {"name": main},
            "answers": f"{number}.jsonl",
            **(records or {}).get(name, {}),
        }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder
