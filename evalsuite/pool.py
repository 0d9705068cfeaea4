"""Keeps models for reuse, one at a time unless the next one fits beside those that are there."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from evalsuite.config import InferenceConfig
from evalsuite.loading import LoadedModel, estimate_bytes, load, memory
from evalsuite.loading.report import logger

SHARE_OF_FREE = 0.5
"""A model joins others only if its weights take at most this share of the free memory: batches need the rest."""


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
    ) -> None:
        self._loader = loader
        self._estimate = estimate
        self._free_bytes = free_bytes
        self._models: dict[InferenceConfig, LoadedModel] = {}

    @property
    def resident(self) -> tuple[InferenceConfig, ...]:
        """The configurations whose models are loaded now, oldest first."""
        return tuple(self._models)

    def get(self, config: InferenceConfig) -> LoadedModel:
        """The model of `config`: the one there is, or a new one after others made room. Raises what `load` raises."""
        if config not in self._models:
            device, needed = self._estimate(config) if self._models else ("", 0)
            while self._models and not self._fits(device, needed):
                self._evict(next(iter(self._models)))
            self._models[config] = self._loader(config)
        return self._models[config]

    def bytes_beside(self, config: InferenceConfig) -> int:
        """Bytes of the weights of the other models on the device of `config`'s."""
        device = self._models[config].device
        others = (loaded for other, loaded in self._models.items() if other != config and loaded.device == device)
        return sum(p.numel() * p.element_size() for loaded in others for p in loaded.model.parameters())

    def clear(self) -> None:
        """Let every model go, and give the memory back."""
        while self._models:
            self._evict(next(iter(self._models)))

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
