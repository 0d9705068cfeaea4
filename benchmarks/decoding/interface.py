"""What a candidate is handed, what it gives, and how it says that it cannot run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.decoding.workloads import Case
from evalsuite.errors import EvalsuiteError


class Unavailable(EvalsuiteError):
    """A candidate that cannot run here. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A candidate with everything laid out."""

    call: Callable[[], torch.Tensor]
    """[rows, heads, dim]."""
    keys_planned: int | None = None
    """Keys that a head loads over all rows; None where the library does not say."""


Candidate = Callable[[Case], Prepared]
