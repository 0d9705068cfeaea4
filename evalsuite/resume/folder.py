"""The journals of one run's folder: which file a set of answers goes into, and which it may be recalled from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalsuite.resume.journal import Journal, holds_batches, key_of, left_out, measured_in
from evalsuite.resume.key import Key, differences
from evalsuite.resume.lock import RunLock

FOLDER = "journal"


class Journals:
    """`RUN/journal`, locked for this process until `close`.

    Raises:
        ResultsError: another process works on this run, or the folder cannot be written to.
    """

    def __init__(self, run: Path, *, resumed: bool = False) -> None:
        self.resumed = resumed
        """Whether another process began this run. Where not, nothing is recalled: two cases of one run that would give
        the same answers both give them."""
        self._folder = run / FOLDER
        self._lock = RunLock(self._folder)
        self._opened: set[Path] = set()
        self._new: set[Path] = set()
        self._damaged: dict[Path, int] = {}

    def open(self, stem: str, key: Key, *, shared: bool = False) -> Journal:
        """The journal of a set of answers, with what earlier processes kept of it.

        Args:
            stem: a file name's beginning.
            shared: recall from whatever has the same key, as a reference may from the case that answered by it.
        """
        path = self._path(stem, key)
        earlier = tuple(sorted(self._folder.glob(f"*.{key.digest}.jsonl"))) if shared else (path,)
        usable = tuple(file for file in earlier if self.resumed and file not in self._opened and file.exists())
        if not path.exists():
            self._new.add(path)
        self._opened.add(path)
        journal = Journal(path, key, recall_from=usable)
        self._damaged |= journal.damaged
        return journal

    def holds(self, stem: str, key: Key) -> bool:
        """Whether an earlier process answered some of it."""
        path = self._path(stem, key)
        return self._is_earlier(path) and holds_batches(path)

    def measured(self, stem: str, key: Key) -> Mapping[str, Any] | None:
        """What an earlier process measured, if it came to the end of the case."""
        path = self._path(stem, key)
        return measured_in(path) if self._is_earlier(path) else None

    def not_used(self, stem: str, key: Key) -> str:
        """Why the newest answers under this name are not used, or some of them; empty where there are none, or all
        are used."""
        others = [path for path in self._folder.glob(f"{stem}.*.jsonl") if path not in self._opened]
        path = self._path(stem, key)
        if damaged := self._damaged.get(path):
            return f"{left_out(damaged)} of {path}; what stood there was done again"
        if not self.resumed or not others or (path.exists() and path not in self._new):
            return ""
        return "; ".join(differences(key_of(max(others, key=lambda path: path.stat().st_mtime)), key.parts))

    def close(self) -> None:
        self._lock.release()

    def _is_earlier(self, path: Path) -> bool:
        return self.resumed and path not in self._opened and path.exists()

    def _path(self, stem: str, key: Key) -> Path:
        return self._folder / f"{stem}.{key.digest}.jsonl"
