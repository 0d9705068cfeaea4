"""The expected file, one fact a line, and beside it the answers themselves.

    {
     "format": 1,
     "nano on sample, cpu, bfloat16, 16384 tokens": {
      "benchmarks/test_mmlu.py::test_mmlu[padded] answers": "3f1c...",
      "benchmarks/test_mmlu.py::test_mmlu[padded] counters.tokens_computed": 6000,

Each line says by itself what it is about, and lines are sorted, so that a diff reads well. The answers stand in
`expected.answers.json`, by digest: cases that answer alike share them. Without that file a change of answers is still
seen, and only which ones changed is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.errors import DataError
from evalsuite.gate.facts import Facts

FORMAT = 1


@dataclass(kw_only=True, slots=True)
class Expected:
    """Settings to cases (node ids) to facts, and the answers by digest."""

    settings: dict[str, dict[str, Facts]] = field(default_factory=dict)
    answers: dict[str, dict[str, str]] = field(default_factory=dict)


def answers_file(path: Path) -> Path:
    """The file beside the expected one that holds the answers."""
    return path.with_suffix(".answers.json")


def read_expected(path: Path) -> Expected:
    """Raises `DataError` for a file that is missing or of another format. The answers' file may be missing."""
    document = _read(path)
    if document.get("format") != FORMAT:
        raise DataError(
            f"{path}, field 'format': expected {FORMAT}, got {document.get('format')!r}; "
            "make it anew with --update-expected"
        )
    settings: dict[str, dict[str, Facts]] = {}
    for setting, lines in document.items():
        if setting == "format":
            continue
        cases: dict[str, Facts] = {}
        for line, value in _object(path, setting, lines).items():
            case, _, name = line.rpartition(" ")
            if not case:
                raise DataError(f"{path}, {setting}: expected 'CASE FACT', got {line!r}")
            cases.setdefault(case, {})[name] = value
        settings[setting] = cases
    beside = answers_file(path)
    answers = (
        {digest: _object(beside, digest, those) for digest, those in _read(beside).items()} if beside.exists() else {}
    )
    return Expected(settings=settings, answers=answers)


def write_expected(path: Path, expected: Expected) -> None:
    """Both files; answers that no case refers to any more are dropped. Each is replaced in one step."""
    used = {facts.get("answers") for cases in expected.settings.values() for facts in cases.values()}
    settings = {
        setting: {f"{case} {name}": value for case, facts in cases.items() for name, value in facts.items()}
        for setting, cases in expected.settings.items()
        if cases
    }
    _write(path, {"format": FORMAT}, settings)
    _write(answers_file(path), {}, {digest: those for digest, those in expected.answers.items() if digest in used})


def _write(path: Path, head: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]) -> None:
    """JSON with one line for each entry of a section, sorted."""
    entries = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    for section, lines in sorted(sections.items()):
        body = ",\n".join(f"  {_text(name)}: {_text(value)}" for name, value in sorted(lines.items()))
        entries.append(f" {_text(section)}: {{\n{body}\n }}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text("{\n" + ",\n".join(entries) + "\n}\n", encoding="utf-8")
    os.replace(part, path)


def _text(value: Any) -> str:
    """Vietnamese stays readable; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: expected what runs are compared with; {error.strerror or error}. Make it with --update-expected"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: expected JSON as --update-expected writes it; {error}") from error
    return _object(path, "the whole file", document)


def _object(path: Path, where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}, {where}: expected a JSON object, got {type(value).__name__}")
    return value
