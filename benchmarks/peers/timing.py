"""The seconds until every answer is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

Outcome = TypeVar("Outcome")


def until_all_are_known(
    draw: Callable[[], Iterator[Outcome]], count: int, synchronize: Callable[[], None]
) -> tuple[list[Outcome], float]:
    """`count` outcomes, and the seconds from the call to the last of them.

    What an engine does after its last answer, such as counting the work that had to be done, is no answering, and
    comes when the clock has stopped.
    """
    start = time.perf_counter()
    stream = draw()
    outcomes = list(islice(stream, count))
    synchronize()
    seconds = time.perf_counter() - start
    if len(outcomes) < count or next(stream, None) is not None:
        raise RuntimeError(f"expected {count} answers, got {'more' if len(outcomes) == count else len(outcomes)}")
    return outcomes, seconds
