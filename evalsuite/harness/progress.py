"""Progress bars on the terminal itself, so that pytest's capture of stdout and stderr stays undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

DELAY_SECONDS = 5.0
"""Work that is done sooner shows no bar."""


class Terminal(Protocol):
    """The part of pytest's TerminalWriter that a bar needs."""

    def write(self, msg: str, *, flush: bool = False) -> None: ...
    def flush(self) -> None: ...


class Progress:
    """Draws on `terminal`; on None (no terminal, or a worker process) it counts in silence."""

    def __init__(self, terminal: Terminal | None) -> None:
        self._terminal = terminal

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Callable[[], object]]:
        """Yields the function to call once per finished question."""
        if self._terminal is None:
            yield _silent_tick
            return
        from tqdm import tqdm

        with tqdm(
            total=total,
            desc=label,
            unit="q",
            delay=DELAY_SECONDS,
            leave=False,
            file=_Flushing(self._terminal),
            dynamic_ncols=True,
        ) as bar:
            yield bar.update


class _Flushing:
    """tqdm writes without a newline; the terminal writer would hold that back."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def write(self, text: str) -> None:
        self._terminal.write(text, flush=True)

    def flush(self) -> None:
        self._terminal.flush()


def _silent_tick() -> None:
    pass
