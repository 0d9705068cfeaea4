"""Every finished batch of a set of answers on disk, in the order finished, so that none is ever run again.

    RUN/journal/test_mmlu-padded.3f9c0d1e2a4b.jsonl      the name of the case, and the digest of its key
        {"journal": 1, "key": {...}}                     what the answers depend on
        {"part": {"pid": ..., "host": ..., "started": ...}}          a process begins to run batches
        {"begin": {"tokens_that_fit": null}}             the bound on batches in force when the first one was cut
        {"b": "9a...", "s": 0.021, "c": {...}, "r": [...]}           a batch: digest, seconds, work counters, results
        {"b": "77...", "s": 0.4, "c": {...}, "failure": "..."}       one that did not fit into memory, and was split
        {"measured": {...}}                              the case is measured: all that its record is made of

Batches, not questions, are what is kept. A later process makes the same plan over all questions and takes from here the
batches that it finds here; the others it runs. So a question has the same neighbours, the same numbers and the same
share of the counters as in an unbroken run. A plan over what is left would cut other batches, with other padding.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.measure.counters import WorkCounters
from evalsuite.measure.timing import CLOCK
from evalsuite.resume.codec import decode, encode
from evalsuite.resume.key import Key
from evalsuite.resume.storage import LineFile

if TYPE_CHECKING:
    from evalsuite.runner import KeptBatch

FORMAT = 1

logger = logging.getLogger("evalsuite")


class Journal:
    """One set of answers: what earlier processes kept of it, and a file for what this one adds.

    A batch that is recalled moves the clock on by the seconds that it took when it was run: a round of which a part
    is recalled takes what its parts took.
    """

    def __init__(self, path: Path, key: Key, *, recall_from: tuple[Path, ...] = ()) -> None:
        """
        Args:
            recall_from: files whose batches are recalled; `path` itself is started anew if it is not among them.

        Raises:
            ResultsError: the file cannot be written.
        """
        self.batches_recalled = 0
        self.batches_run = 0
        self._kept: dict[str, deque[dict[str, Any]]] = {}
        self._begin: dict[str, Any] | None = None
        self._began = False
        self.parts = 0
        """How many processes ran batches of it."""
        for file in recall_from:
            for line in read_lines(file):
                self._take_in(line)
        if path not in recall_from:
            path.unlink(missing_ok=True)
        self._file = LineFile(path)
        if self._file.is_empty:
            self._write({"journal": FORMAT, "key": dict(key.parts)})
        self._read_at = CLOCK()

    def begin(self, tokens_that_fit: int | None) -> int | None:
        """See `evalsuite.runner.BatchJournal`."""
        if self._began:
            return tokens_that_fit
        self._began = True
        if self._begin is None:
            self._write({"begin": {"tokens_that_fit": tokens_that_fit}})
        else:
            tokens_that_fit = self._begin["tokens_that_fit"]
        self._read_at = CLOCK()
        return tokens_that_fit

    def recall(self, batch: object) -> KeptBatch | None:
        """The results of a batch, each time that it was kept once."""
        if not self._kept:  # as in any run that nothing came before: nothing is done here while the clock runs
            return None
        from evalsuite.runner import KeptBatch

        with CLOCK.paused():
            lines = self._kept.get(digest := batch_digest(batch))
            if not lines:
                return None
            line = lines.popleft()
            if not lines:
                del self._kept[digest]
            self.batches_recalled += 1
            results = [decode(result) for result in line.get("r", ())]
            kept = KeptBatch(results=results, counters=WorkCounters(**line["c"]), failure=line.get("failure"))
        CLOCK.advance(line["s"])
        self._read_at = CLOCK()
        return kept

    def keep(self, batch: object, kept: KeptBatch) -> None:
        """Write a batch that this process ran; it survives the process when this returns."""
        seconds = CLOCK() - self._read_at
        with CLOCK.paused():
            if not self.batches_run:
                self._sign()
            self.batches_run += 1
            counters = {name: count for name, count in kept.counters.to_dict().items() if count}
            line: dict[str, Any] = {"b": batch_digest(batch), "s": seconds, "c": counters}
            if kept.failure is None:
                line["r"] = [encode(result) for result in kept.results]
            else:
                line["failure"] = kept.failure
            self._write(line)
        self._read_at = CLOCK()

    def finish(self, measured: Mapping[str, Any]) -> None:
        """Note that the case is measured."""
        self._write({"measured": dict(measured)})

    def close(self) -> None:
        """On disk, power loss included, when this returns."""
        self._file.close()

    def _sign(self) -> None:
        self.parts += 1
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"part": {"pid": os.getpid(), "host": socket.gethostname(), "started": started}})

    def _take_in(self, line: dict[str, Any]) -> None:
        if "b" in line:
            self._kept.setdefault(line["b"], deque()).append(line)
        elif "part" in line:
            self.parts += 1
        elif "begin" in line and self._begin is None:
            self._begin = line["begin"]

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


def batch_digest(batch: object) -> str:
    """16 hex digits over what a batch holds: ids, tokens and choices. A pack is known by its rows, and by where it
    goes on."""
    rows, pack = getattr(batch, "rows", batch), getattr(batch, "pack", None)
    cut = () if pack is None else (pack.used, pack.carried, len(pack.carry), pack.tokens.tobytes())
    return hashlib.sha256(repr((list(rows), cut)).encode("utf-8", "surrogatepass")).hexdigest()[:16]  # type: ignore[call-overload]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal. Damaged ones, as power loss leaves them, are left out and logged."""
    damaged = 0
    with path.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text) if text.endswith(b"\n") else None
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield line
            else:
                damaged += 1
    if damaged:
        logger.warning("%s: %d damaged lines are left out; their batches are run again", path, damaged)


def key_of(path: Path) -> Mapping[str, Any]:
    """What the answers in a journal depend on; empty where it was killed before it said so."""
    first = next(read_lines(path), {})
    key = first.get("key", {}) if first.get("journal") == FORMAT else {}
    return key if isinstance(key, Mapping) else {}


def measured_in(path: Path) -> Mapping[str, Any] | None:
    """What the case's record is made of, if it was measured to the end."""
    found = [line["measured"] for line in read_lines(path) if "measured" in line]
    return found[-1] if found else None


def holds_batches(path: Path) -> bool:
    return any("b" in line for line in read_lines(path))
