"""Appending lines so that whatever ends the process leaves whole ones.

A line is handed to the system in one unbuffered write, so that SIGKILL loses nothing that `append` returned from.
Power loss is another matter: the disk is asked to have it (fsync) at most every `SYNC_SECONDS`, and when a file is
closed, since asking for each line would cost milliseconds a batch, and seconds of work are cheap to do again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from evalsuite.errors import ResultsError

SYNC_SECONDS = 5.0


class LineFile:
    """A file of lines, open for appending. A torn last line, as power loss or a full disk leaves it, is cut off first.

    Raises:
        ResultsError: it cannot be opened or written to; what was there before stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self._length = _whole_lines(path)
            os.ftruncate(self._descriptor, self._length)
        except OSError as error:
            raise unwritable(path, error) from error
        self._synced = time.monotonic()

    @property
    def is_empty(self) -> bool:
        return self._length == 0

    def append(self, line: str) -> None:
        """Write one line; it survives the process's death when this returns."""
        content = line.encode("utf-8", "surrogatepass") + b"\n"
        try:
            written = 0
            while written < len(content):
                written += os.write(self._descriptor, content[written:])
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()
        except OSError as error:
            os.ftruncate(self._descriptor, self._length)
            raise unwritable(self.path, error) from error
        self._length += len(content)

    def sync(self) -> None:
        """Return when the disk has it: it survives power loss then."""
        os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def close(self) -> None:
        try:
            self.sync()
        except OSError as error:
            raise unwritable(self.path, error) from error
        finally:
            os.close(self._descriptor)


def replace_file(path: Path, text: str) -> None:
    """Put `text` in place of a file in one step: whoever looks sees the old one or the new one, power loss included.

    Raises:
        ResultsError: it cannot be written; the old one stays.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> ResultsError:
    """The error to raise where results cannot be written."""
    return ResultsError(
        f"{path}: could not be written: {error.strerror or error}. What was written before is kept: "
        "make room or make the folder writable, and go on with --resume"
    )


def _whole_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            block = file.read(end - start)
            if (newline := block.rfind(b"\n")) >= 0:
                return start + newline + 1
            end = start
    return 0
