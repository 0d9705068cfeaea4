"""Keeps models for reuse, one at a time unless the next one fits beside those that are there."""

from __future__ import annotations

import gc
import textwrap
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from evalsuite.config import InferenceConfig
from evalsuite.errors import EvalsuiteError, ModelFilesError
from evalsuite.loading import LoadedModel, estimate_bytes, load, memory
from evalsuite.loading.report import logger
from evalsuite.loading.sources import refuse_absent

SHARE_OF_FREE = 0.5
"""A model joins others only if its weights take at most this share of the free memory: batches need the rest."""
SHOWN_CHARACTERS = 60
"""Of a reason that was told in full before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    """An error without its traceback, which would hold tensors."""

    kind: type[EvalsuiteError]
    text: str

    def again(self, config: InferenceConfig) -> EvalsuiteError:
        reason = textwrap.shorten(self.text, SHOWN_CHARACTERS, placeholder=" ...")
        return self.kind(f"{config.model} could not be loaded; the first case that needed it says why: {reason}")


class ModelPool:
    """Loaded models by configuration, oldest first.

    Memory comes back when a model leaves, provided nobody else holds it: keep the pool, not the `LoadedModel`, in
    whatever outlives a case. What is still held after it left is logged as a warning.
    """

    def __init__(
        self,
        *,
        loader: Callable[[InferenceConfig], LoadedModel] = load,
        estimate: Callable[[InferenceConfig], tuple[str, int]] = estimate_bytes,
        free_bytes: Callable[[str], int | None] = memory.free_bytes,
        look: Callable[[InferenceConfig], None] = refuse_absent,
    ) -> None:
        self._loader = loader
        self._look = look
        self._estimate = estimate
        self._free_bytes = free_bytes
        self._models: dict[InferenceConfig, LoadedModel] = {}
        self._failed: dict[InferenceConfig | tuple[str, str | None], _Failure] = {}

    @property
    def resident(self) -> tuple[InferenceConfig, ...]:
        """The configurations whose models are loaded now, oldest first."""
        return tuple(self._models)

    def get(self, config: InferenceConfig) -> LoadedModel:
        """The model of `config`: the one there is, or a new one after others made room.

        Raises what `load` raises. What failed is not tried again, nor another configuration of a model whose files
        are at fault: the error is then of the same kind, and one line.
        """
        if config not in self._models:
            with self._telling_once(config):
                self._models[config] = self._load(config)
        return self._models[config]

    def look_for(self, config: InferenceConfig) -> None:
        """Raise what `get` would, as far as a look at the model's configuration tells; nothing is loaded."""
        if config not in self._models:
            with self._telling_once(config):
                self._look(config)

    @contextmanager
    def _telling_once(self, config: InferenceConfig) -> Iterator[None]:
        files = (config.model, config.checkpoint)
        if (known := self._failed.get(config) or self._failed.get(files)) is not None:
            raise known.again(config)
        try:
            yield
        except EvalsuiteError as error:
            failure = _Failure(kind=type(error), text=str(error))
            told = failure in self._failed.values()
            self._failed[files if isinstance(error, ModelFilesError) else config] = failure
            if told:
                raise failure.again(config) from error
            raise

    def bytes_beside(self, config: InferenceConfig) -> int:
        """Bytes of the weights of the other models on the device of `config`'s."""
        device = self._models[config].device
        others = (loaded for other, loaded in self._models.items() if other != config and loaded.device == device)
        return sum(p.numel() * p.element_size() for loaded in others for p in loaded.model.parameters())

    def clear(self) -> None:
        """Let every model go, and give the memory back."""
        while self._models:
            self._evict(next(iter(self._models)))

    def _load(self, config: InferenceConfig) -> LoadedModel:
        device, needed = self._estimate(config) if self._models else ("", 0)
        while self._models and not self._fits(device, needed):
            self._evict(next(iter(self._models)))
        return self._loader(config)

    def _fits(self, device: str, needed: int) -> bool:
        free = self._free_bytes(device)
        return free is not None and needed <= SHARE_OF_FREE * free

    def _evict(self, config: InferenceConfig) -> None:
        loaded = self._models.pop(config)
        device, name, compiled = str(loaded.device), loaded.path, loaded.report.got["torch_compile"] == "on"
        model = weakref.ref(loaded.model)
        del loaded
        if compiled:
            import torch

            torch.compiler.reset()  # compiled code may hold the weights
        gc.collect()  # a module refers to itself through its hooks and a wrapped forward
        memory.give_back(device)
        if model() is not None:
            logger.warning("%s left the pool, but something still holds it, so its memory is not given back", name)
