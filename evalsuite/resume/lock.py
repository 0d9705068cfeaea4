"""One process at a time in a run's folder.

The lock is the system's (flock), so it ends with the process that holds it, whatever ended that. The file names the
holder for whoever is refused. Where a file system has no such locks, the file's word is taken: the process it names is
looked for on this machine; on another one it cannot be, and the file has to be deleted by hand.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from evalsuite.errors import ResultsError
from evalsuite.resume.storage import unwritable

if sys.platform != "win32":
    import fcntl

LOCK = "lock"


class RunLock:
    """Held from its making until `release` or the end of the process.

    Raises:
        ResultsError: another process holds it, or the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritable(self.path, error) from error
        holder = _read(self._descriptor)
        if not self._take(holder):
            os.close(self._descriptor)
            raise ResultsError(
                f"{folder.parent}: another process works on this run: {_named(holder)}. Wait for it, or end it first; "
                f"if it has ended, delete {self.path}"
            )
        try:
            self._sign()
        except OSError as error:
            os.close(self._descriptor)
            raise unwritable(self.path, error) from error

    def release(self) -> None:
        """The file stays, empty: another process may have opened it already, and would lock one that is gone."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _take(self, holder: dict[str, Any]) -> bool:
        if sys.platform == "win32":
            return not holder
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            here = holder.get("host") == socket.gethostname()
            return not holder or (here and not _is_alive(int(holder.get("pid", 0))))
        return True

    def _sign(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)


def _read(descriptor: int) -> dict[str, Any]:
    """Who signed; empty for nobody, or a process that died while signing."""
    try:
        holder = json.loads(os.pread(descriptor, 1 << 12, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "it has not signed"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
