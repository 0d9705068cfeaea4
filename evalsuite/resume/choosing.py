"""Which run `--resume` goes on with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalsuite.errors import ConfigError
from evalsuite.results import SUMMARY
from evalsuite.resume.folder import FOLDER
from evalsuite.resume.key import differences

LATEST = "latest"
"""What `--resume` without a value stands for: the latest run that was not finished and was asked for the same."""
SHOWN = 3


def choose(results: Path, resume: str, provenance: Mapping[str, Any]) -> tuple[Path | None, str]:
    """The run to go on with, or None for a new one; and a sentence for the terminal.

    Args:
        results: the folder of all runs.
        resume: `LATEST`, or a run's folder.
        provenance: of this process.

    Raises:
        ConfigError: the folder is no run's, or its run was asked for something else.
    """
    if resume != LATEST:
        return _named(Path(resume), provenance)
    reason = f"there is none in {results}"
    for path in sorted((summary.parent for summary in results.glob(f"*/{SUMMARY}")), reverse=True):
        document = _document(path)
        if document is None or document.get("finished") or "provenance" not in document:
            continue
        changed = _changed(document["provenance"], provenance, names=("options", "code"))
        if not changed:
            return path, f"goes on with {path}"
        if reason.startswith("there is none"):
            reason = f"{path} differs: {_some(changed)}"
    return None, f"no unfinished run to go on with ({reason}), so this is a new one"


def _named(path: Path, provenance: Mapping[str, Any]) -> tuple[Path, str]:
    document = _document(path)
    if document is None and (path / SUMMARY).is_file():
        return _by_its_journal(path)
    if document is None:
        raise ConfigError(
            f"--resume: expected a run's folder, one with {SUMMARY} in it; got {path}. For the latest run, "
            "put --resume at the end of the command line"
        )
    changed = _changed(document.get("provenance", {}), provenance, names=("options",))
    if changed:
        raise ConfigError(
            f"--resume: {path} was asked for something else: {_some(changed)}. Give the options that it was given "
            f"(they stand in its {SUMMARY}), or leave out --resume"
        )
    return path, f"goes on with {path}"


def _by_its_journal(path: Path) -> tuple[Path, str]:
    """A run whose summary is there and damaged. What it was asked cannot be compared, and need not be: batches are
    recalled by their own key."""
    if not any((path / FOLDER).glob("*.jsonl")):
        raise ConfigError(
            f"--resume: {path / SUMMARY} is there, but damaged, and the run has no journal that it could be made anew "
            "from; leave out --resume"
        )
    return path, f"goes on with {path}; its damaged {SUMMARY} is made anew, and kept as {SUMMARY}.damaged"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], *, names: tuple[str, ...]) -> list[str]:
    return differences({name: before.get(name) for name in names}, {name: now[name] for name in names})


def _some(changed: list[str]) -> str:
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return ", ".join(changed[:SHOWN]) + more


def _document(path: Path) -> dict[str, Any] | None:
    """A run's summary; None where there is none that can be read."""
    try:
        document = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and isinstance(document.get("cases"), dict) else None
