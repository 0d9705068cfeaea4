"""Generation strategies: one a file, one signature. A new one is a module and a line in `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from evalsuite.generation import continuous, padded, unbatched
from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt, Generation

GenerationStrategy = Callable[[ModelRunner, Sequence[EncodedPrompt]], Iterator[Generation]]
"""Yields one outcome for each request, each as soon as it is known, in any order."""

STRATEGIES: Mapping[str, GenerationStrategy] = {
    "unbatched": unbatched.generate,
    "padded": padded.generate,
    "continuous": continuous.generate,
}
