"""Steps of decoding as CUDA graphs: a step is captured once for each size of batch and then replayed.

A step has a thousand kernels, which take longer to launch one by one than to run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from evalsuite.errors import first_line
from evalsuite.loading.memory import give_back
from evalsuite.runner import ModelRunner, is_out_of_memory
from evalsuite.types import Fallback

Step = Callable[[int], None]
"""Runs one step for a batch of so many places. All that changes from one step to the next stands in tensors that keep
their addresses, and to be captured it has the host look at none of them."""

_SIDE_STREAM = "stream of captures"


class StepGraphs:
    """The graphs of one object's steps.

    Steps are handed over call by call: a reference back to that object would keep it, with the pool that its graphs
    read, in memory for a while after it was dropped.

    Args:
        number: [1], int64: how many steps of a round were run, to which a step adds 1.
    """

    def __init__(self, runner: ModelRunner, number: torch.Tensor) -> None:
        self._runner = runner
        self._number = number
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        """By places of the batch."""
        self._memory: Any = None
        self._without_room: set[int] = set()
        """Sizes of batches for whose graphs there was no room."""
        self.failed = False
        """Whether a capture has failed for another reason than memory, so that none is to be tried again."""

    def settled(self, size: int) -> bool:
        """Whether the step for batches of `size` is captured, or there was no room for that."""
        return size in self._graphs or size in self._without_room

    def run(self, size: int, step: Step) -> None:
        """One step for a batch of `size`, replayed if it was captured; counted by the runner either way."""
        graph = self._graphs.get(size)
        if graph is None:
            step(size)
            return
        graph.replay()
        counters = self._runner.counters  # which the model's hook does not see
        counters.forward_passes += 1
        counters.tokens_computed += size
        counters.logit_rows += size

    def forget(self) -> None:
        """Drop all graphs, and the memory that they share."""
        self._graphs.clear()
        self._memory = None

    def warm_up(self, size: int, step: Step) -> None:
        """Compile, tune, load and allocate what a capture may not."""
        with self._beside():
            for _ in range(2):
                self._number.zero_()
                step(size)

    def capture(self, size: int, step: Step, *, step_bytes: int) -> None:
        """Keep a step, which was warmed up, as a graph; where that fails, it is launched kernel by kernel.

        Args:
            step_bytes: what its intermediate numbers take at most.
        """
        try:
            self._graphs[size] = self._captured(size, step, step_bytes)
        except RuntimeError as error:
            if isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise
            # What a failed capture gives back, others on its stream may read.
            self.forget()
            off = "off"
            if is_out_of_memory(error):
                off = f"off for batches of {size}"
                self._without_room.add(size)
            else:
                self.failed = True
            reason = first_line(error.__context__ or error)
            self._runner.step_down(Fallback(what="cuda_graph", asked="on", got=off, reason=reason))
        if size in self._without_room:  # outside the handler, whose traceback holds what the capture took
            give_back(str(self._runner.device))

    def _captured(self, size: int, step: Step, step_bytes: int) -> torch.cuda.CUDAGraph:
        """A step, whose kernels were compiled and loaded, and whose workspace stands.

        Not by `torch.cuda.graph`, which always waits for the device and gives back the memory that is not in use.
        """
        if torch.cuda.mem_get_info(self._runner.device)[0] < step_bytes:
            give_back(str(self._runner.device))  # what is cached is not given back within a capture
        graph = torch.cuda.CUDAGraph()
        memory = {} if self._memory is None else {"pool": self._memory}
        self._number.zero_()
        with self._beside():
            # Other threads, such as a data loader's, may use CUDA meanwhile.
            graph.capture_begin(**memory, capture_error_mode="thread_local")
            try:
                step(size)
            finally:
                graph.capture_end()
        self._memory = self._memory or graph.pool()
        return graph

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """On the runner's other stream, in turn with this one: none is captured on the one that is everybody's."""
        kept = self._runner.kept
        if _SIDE_STREAM not in kept:
            kept[_SIDE_STREAM] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side: torch.cuda.Stream = kept[_SIDE_STREAM]
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                yield
        finally:  # what was launched before a failure still reads the tables
            torch.cuda.current_stream().wait_stream(side)
