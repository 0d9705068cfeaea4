"""What forwards over a packed prefix tree have in common, whether keys and values stand in the pack or in a pool."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch

from evalsuite.attention.interface import NoTreeAttention, Pass, attention_configs, refusal
from evalsuite.determinism import NotDeterministic, has_experts
from evalsuite.errors import first_line
from evalsuite.last_layer import LastLayer
from evalsuite.loading.fusing import fused_layers, fusing_failure, give_up_fusing
from evalsuite.runner import ModelRunner
from evalsuite.types import Fallback

Result = TypeVar("Result")

MAX_SITES = 512
"""Most positions that are read in a pack on CUDA, where their number is fixed: a matrix product's kernel, and so its
rounding, may change with its shape. At 16,384 tokens that is a position every 32 tokens."""

MAX_TOKENS_ON_CPU = 4_096
"""A longer pack's activations leave the caches: nano on one core is quickest at 2,048 to 4,096, and a third slower at
16,384."""


class TreeForward:
    """A model that is as it was between forwards.

    On CUDA every pack has the same shape, layers are compiled for it, and attention is one fused kernel. Elsewhere a
    pack is as long as what it holds, and attention is plain torch. Everywhere the last layer is computed for what is
    read alone, where the model lets that be (`last_layer`).

    Raises:
        NoTreeAttention: the model cannot run on a tree.
        NotDeterministic: that is asked for, and what the model's tokens share is more than its weights.
    """

    def __init__(self, runner: ModelRunner) -> None:
        if (reason := refusal(runner.model)) is not None:
            raise NoTreeAttention(reason)
        self._runner = runner
        self._cuda = runner.device.type == "cuda"
        self._deterministic = runner.options.deterministic
        if self._deterministic and has_experts(runner.model.config):
            raise NotDeterministic("the model has experts, whose batches depend on which tokens come to them")
        self._configs = attention_configs(runner.model)
        self._last_layer = LastLayer(runner.model, self._configs)
        self._fused_kernel = self._cuda
        # Under --compile the layers are compiled already.
        self._fused_layers = self._cuda and runner.loaded.report.got["torch_compile"] != "on"
        if self._fused_layers and (reason := fusing_failure(runner.model)) is not None:
            self.drop_compiled(reason)
        self.token_budget = runner.options.token_budget
        if not self._cuda:
            self.token_budget = min(self.token_budget, MAX_TOKENS_ON_CPU)
        self.max_sites = MAX_SITES if self._cuda else None

    def drop_compiled(self, reason: str) -> bool:
        """Run the layers as they are from now on, if they were compiled."""
        if not self._fused_layers:
            return False
        self._refuse_if_deterministic(f"the compiled layers failed: {reason}")
        self._fused_layers = False
        give_up_fusing(self._runner.model, reason)
        self._runner.step_down(Fallback(what="fused_layers", asked="on", got="off", reason=reason))
        return True

    def _last_layer_in_full(self, reason: str) -> None:
        self._refuse_if_deterministic(f"the last layer's keys and values failed: {reason}")
        self._runner.step_down(Fallback(what="last_layer", asked="rows that are read", got="all rows", reason=reason))

    def padded_size(self, used: int) -> int:
        """Tokens that `used` ones are computed as: on CUDA halves of the budget as long as they fit, so that shapes
        stay few."""
        size = self.token_budget
        if not self._cuda or used > size:
            return used
        while self._runner.tokens_that_fit is not None and size > self._runner.tokens_that_fit and size // 2 >= used:
            size //= 2
        return size

    def _on_device(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self._runner.device) if self._cuda else nullcontext()

    def _layers(self, *, dynamic: bool = False) -> AbstractContextManager[None]:
        """Within, layers are compiled where that is what is done."""
        return fused_layers(self._runner.model, dynamic=dynamic) if self._fused_layers else nullcontext()

    def _logits_at(
        self, sites: torch.Tensor, token_ids: torch.Tensor, positions: torch.Tensor, run: Pass
    ) -> torch.Tensor:
        """Logits at `sites` of one sequence of tokens, [sites, vocab], where `run` attends. All tensors are flat. The
        last layer is computed for the sites alone but for its keys and values."""
        in_full = self._last_layer_in_full
        with self._last_layer.only_at(sites, len(token_ids), run, on_failure=in_full):
            return self._runner.logits_at(token_ids[None], torch.zeros_like(sites), sites, position_ids=positions[None])

    def _or_without_kernel(self, run: Callable[[], Result]) -> Result:
        """What `run` returns; where Triton is missing or fails in it, the kernel is dropped and it runs again."""
        try:
            return run()
        except Exception as error:
            missing = isinstance(error, ImportError) and (error.name or "").startswith("triton")
            if not self._fused_kernel or not (missing or type(error).__module__.startswith("triton")):
                raise
            self._drop_kernel(
                f"Triton cannot be imported: {error}" if missing else f"{type(error).__name__}: {first_line(error)}"
            )
        return run()

    def _refuse_if_deterministic(self, reason: str) -> None:
        if self._deterministic:
            raise NotDeterministic(reason)

    def _drop_kernel(self, reason: str) -> None:
        self._refuse_if_deterministic(f"the fused attention cannot run: {reason}")
        self._fused_kernel = False
        self._runner.step_down(Fallback(what="tree_attention", asked="fused", got="by segment", reason=reason))

    def _padded(self, values: np.ndarray[Any, Any], size: int, *, fill: int = 0) -> torch.Tensor:
        """[size], int64, on the device; as long as the values where these are more."""
        padded = np.full(max(size, len(values)), fill, dtype=np.int64)
        padded[: len(values)] = values
        return self._to_device(padded)

    def _to_device(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        host = torch.from_numpy(values)
        return (host.pin_memory() if self._cuda else host).to(self._runner.device, non_blocking=self._cuda)
