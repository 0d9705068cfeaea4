"""Grades kept on disk, so that no answer is paid for twice.

One file of JSON lines for each judge and wording, `GRADES/JUDGE-PROMPT-DIGEST.jsonl`. Its first line says what the
digest covers; each further line is one grade, under a hash of the prompt that the judge was shown. So another answer,
another wording and another judge never find it. Missing grades are not kept: they are asked for again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import ConfigError
from evalsuite.results import file_stem

logger = logging.getLogger("evalsuite")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptGrade:
    """A grade as it was given."""

    value: float
    reply: str


class GradeStore:
    """The grades by one judge under one wording: a file and what is known of it; without a file, memory alone.

    Each grade is appended in one write, so several processes may share a file; what others append after this one has
    read it is not seen.
    """

    def __init__(self, path: Path | None, about: Mapping[str, str]) -> None:
        """Raises `ConfigError` where the file cannot be read or begun."""
        self._path = path
        self._known: dict[str, KeptGrade] = {}
        self._torn = False
        if path is not None:
            try:
                _begin(path, about)
                self._read(path)
                path.open("ab").close()
            except OSError as error:
                raise _unusable(path.parent, error) from error

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> KeptGrade | None:
        return self._known.get(key)

    def add(self, key: str, grade: KeptGrade) -> None:
        """Keep one grade; it is in the file when this returns."""
        self._known[key] = grade
        if self._path is None:
            return
        line = json.dumps({"key": key, "value": grade.value, "reply": grade.reply}, ensure_ascii=False) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(("\n" if self._torn else "").encode() + line.encode("utf-8", "replace"))
        self._torn = False

    def _read(self, path: Path) -> None:
        content = path.read_bytes().decode("utf-8", "replace")
        self._torn = content != "" and not content.endswith("\n")
        damaged = 0
        for line in filter(None, content.split("\n")):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if _is_grade(row):
                self._known[row["key"]] = KeptGrade(value=float(row["value"]), reply=row["reply"])
            elif not (isinstance(row, dict) and "about" in row):
                damaged += 1
        if damaged:
            logger.warning("%s: %d damaged lines are left out; their grades are asked for again", path, damaged)


def check_folder(folder: Path) -> None:
    """Make the folder, and see that files can be written there. Raises `ConfigError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise _unusable(folder, error) from error


def store_file(folder: Path, label: str, about: Mapping[str, str]) -> Path:
    """Where the grades of one judge and wording are kept; `about` is all that they depend on but the answers."""
    digest = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{file_stem(label)}-{digest}.jsonl"


def prompt_key(prompt: str) -> str:
    """32 hex digits over what the judge is shown."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _unusable(folder: Path, error: OSError) -> ConfigError:
    where = f" ({error.filename})" if error.filename and Path(error.filename).parent == folder else ""
    return ConfigError(
        f"grades: expected a folder that can be written to, got {folder}: {error.strerror or error}{where}; "
        "choose another place for the results"
    )


def _begin(path: Path, about: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Appending: another process may have written a grade before this one's first line.
        with open(
            path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_APPEND, 0o666)
        ) as file:
            file.write((json.dumps({"about": dict(about)}, ensure_ascii=False) + "\n").encode())
    except FileExistsError:
        return


def _is_grade(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("key"), str) or not isinstance(row.get("reply"), str):
        return False
    value = row.get("value")
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
