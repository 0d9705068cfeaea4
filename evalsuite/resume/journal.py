"""Every finished batch of a set of answers on disk, in the order finished, so that none is ever run again.

    RUN/journal/test_mmlu-padded.3f9c0d1e2a4b.jsonl      the name of the case, and the digest of its key
        {"journal": 2, "key": {...}}                     what the answers depend on
        {"part": {"pid": ..., "host": ..., "started": ...}}          a process begins to run batches
        {"begin": {"tokens_that_fit": null}}             the bound on batches in force when the first one was cut
        {"b": "9a...", "s": 0.021, "c": {...}, "r": [...]}           a batch: digest, seconds, work counters, results
        {"b": "77...", "s": 0.4, "c": {...}, "failure": "..."}       one that did not fit into memory, and was split
        {"measured": {...}}                              the case is measured: all that its record is made of

Batches, not questions, are what is kept. A later process makes the same plan over all questions and takes from here the
batches that it finds here; the others it runs. So a question has the same neighbours, the same numbers and the same
share of the counters as in an unbroken run. A plan over what is left would cut other batches, with other padding.

Each line ends with `"sum"`, a checksum over its other bytes. A line that it does not fit, or that has none, counts as
not written: its batch is run again. (Versions that wrote no checksum had other code, so other keys and other files.)
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
from evalsuite.resume.storage import LineFile, replace_file

if TYPE_CHECKING:
    from evalsuite.runner import KeptBatch

FORMAT = 2
_SUM_BYTES = 8
_SUM = len(',"sum":""}') + 2 * _SUM_BYTES
"""How long a line's end is, from the comma before the checksum."""

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
        self.damaged: dict[Path, int] = {}
        """Lines that were left out because their checksum did not fit, by the file that they stood in."""
        for file in recall_from:
            if damaged := drop_damaged(file):
                self.damaged[file] = damaged
                logger.warning("%s: %s; their batches are run again", file, left_out(damaged))
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
        self._file.append(with_checksum(json.dumps(line, ensure_ascii=False, separators=(",", ":"))))


def with_checksum(line: str) -> str:
    """A JSON object with the checksum of its text as its last field."""
    return f'{line[:-1]},"sum":"{_checksum(line[:-1].encode("utf-8", "surrogatepass"))}"}}'


def batch_digest(batch: object) -> str:
    """16 hex digits over what a batch holds: ids, tokens and choices. A pack is known by its rows, and by where it
    goes on."""
    rows, pack = getattr(batch, "rows", batch), getattr(batch, "pack", None)
    cut = () if pack is None else (pack.used, pack.carried, len(pack.carry), pack.tokens.tobytes())
    return hashlib.sha256(repr((list(rows), cut)).encode("utf-8", "surrogatepass")).hexdigest()[:16]  # type: ignore[call-overload]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal but for torn and damaged ones, as power loss or a failing disk leaves them."""
    with path.open("rb") as file:
        for text in file:
            if _is_whole(text):
                yield json.loads(text)


def drop_damaged(path: Path) -> int:
    """Take damaged lines out of a file, in one step; how many. A torn last line is none: it was never kept.

    Raises:
        ResultsError: the file cannot be written; the old one stays.
    """
    with path.open("rb") as file:
        lines = [text for text in file if text.endswith(b"\n")]
    whole = [text for text in lines if _is_whole(text)]
    if len(whole) < len(lines):
        replace_file(path, b"".join(whole).decode("utf-8", "surrogatepass"))
    return len(lines) - len(whole)


def left_out(damaged: int) -> str:
    return f"{damaged:,} damaged {'line is' if damaged == 1 else 'lines are'} left out"


def key_of(path: Path) -> Mapping[str, Any]:
    """What the answers in a journal of any version depend on, to be shown; empty where it does not say so."""
    with path.open("rb") as file:
        try:
            first = json.loads(file.readline())
        except ValueError:
            return {}
    key = first.get("key") if isinstance(first, dict) else None
    return key if isinstance(key, Mapping) else {}


def measured_in(path: Path) -> Mapping[str, Any] | None:
    """What the case's record is made of, if it was measured to the end."""
    found = [line["measured"] for line in read_lines(path) if "measured" in line]
    return found[-1] if found else None


def holds_batches(path: Path) -> bool:
    return any("b" in line for line in read_lines(path))


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_SUM_BYTES).hexdigest()


def _is_whole(text: bytes) -> bool:
    """Whether a line ends with the checksum of what stands before it."""
    line = text.rstrip(b"\n")
    return text.endswith(b"\n") and line[-_SUM:] == f',"sum":"{_checksum(line[:-_SUM])}"}}'.encode()
