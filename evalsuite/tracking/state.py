"""What has been evaluated: one JSON line a checkpoint, written when its run has ended well.

A checkpoint is done if a line has its fingerprint and the options of now, and its run can still be read. So one that
was written anew is evaluated again, and so are all under other options. A torn last line, as a kill leaves it, counts
as none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import DataError
from evalsuite.tracking.checkpoints import Checkpoint

STATE = "done.jsonl"
_SECRET = "--judge-api-key"
_TALK = frozenset({"-v", "-vv", "--verbose", "-q", "-qq", "--quiet"})
"""Options that change no result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """One evaluated checkpoint."""

    name: str
    step: int
    unit: str
    fingerprint: str
    """Of weights, architecture and tokenizer."""
    options: str
    """See `options_key`."""
    run: str
    """The run's folder, from the state's folder."""
    seconds: float


def read_done(folder: Path) -> list[Done]:
    """All lines, in the order written; empty where there is no file. Raises `DataError` for a line that is none."""
    path = folder / STATE
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    done = []
    for number, line in enumerate(lines, 1):
        try:
            done += [Done(**json.loads(line))] if line else []
        except (ValueError, TypeError) as error:
            if number == len(lines):
                break
            raise DataError(f"{path}:{number}: expected a line of evalsuite track; {error}") from error
    return done


def add_done(folder: Path, done: Done) -> None:
    """On disk when this returns."""
    path = folder / STATE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]  # without what a kill has torn
    part = path.with_name(f"{STATE}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(whole + json.dumps(dataclasses.asdict(done), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def options_key(options: Sequence[str]) -> str:
    """Twelve hex digits over the options that a result depends on. A key to a server is none of them."""
    kept = [
        option
        for before, option in zip(["", *options], options, strict=False)
        if option not in _TALK and _SECRET not in (before, option) and not option.startswith(f"{_SECRET}=")
    ]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:12]


def current(
    done: Sequence[Done], checkpoints: Sequence[tuple[Checkpoint, str]], options: str, folder: Path
) -> list[Done]:
    """What to show: by step, the evaluation of each checkpoint as it is now, or as it was when it was deleted.

    Args:
        checkpoints: those that are there, with their fingerprints.
    """
    usable = [entry for entry in done if entry.options == options and (folder / entry.run).is_dir()]
    by_fingerprint = {entry.fingerprint: entry for entry in usable}
    shown = {
        checkpoint.name: dataclasses.replace(
            by_fingerprint[fingerprint], name=checkpoint.name, step=checkpoint.step, unit=checkpoint.unit
        )
        for checkpoint, fingerprint in checkpoints
        if fingerprint in by_fingerprint
    }
    there = {checkpoint.name for checkpoint, _ in checkpoints} | {fingerprint for _, fingerprint in checkpoints}
    shown |= {entry.name: entry for entry in usable if not {entry.name, entry.fingerprint} & there}
    return sorted(shown.values(), key=lambda entry: entry.step)
