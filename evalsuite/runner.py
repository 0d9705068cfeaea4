"""The model at work: counted forwards, and batches that survive running out of memory.

Strategies talk to a `ModelRunner` and never to the model, so what they do is counted in one place.
"""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch

from evalsuite.attention.ungrouped import without_all_scores
from evalsuite.config import ExecutionOptions
from evalsuite.determinism import NotDeterministic
from evalsuite.errors import RequestError
from evalsuite.loading import drop_compile
from evalsuite.measure.counters import ModelShape, WorkCounters
from evalsuite.types import Fallback

if TYPE_CHECKING:
    from evalsuite.loading import LoadedModel

logger = logging.getLogger("evalsuite")

Item = TypeVar("Item")
Batch = TypeVar("Batch")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptBatch:
    """A batch that an earlier process has run."""

    results: Sequence[Any]
    counters: WorkCounters
    """Of this batch alone."""
    failure: str | None = None
    """Why it did not fit into memory; it has no results then, and its parts come as batches of their own."""


class BatchJournal(Protocol):
    """Where finished batches are kept, so that a later process need not run them again."""

    def begin(self, tokens_that_fit: int | None) -> int | None:
        """Called before the first batch with the bound in force; returns the one that was when the journal began."""

    def recall(self, batch: object) -> KeptBatch | None: ...
    def keep(self, batch: object, kept: KeptBatch) -> None: ...


class ModelRunner:
    """One loaded model, how to cut batches for it, and what it has done so far.

    Use as a context manager, or call `close`, to take its hooks off the model again: one that counts, and one
    that lets only the positions that are read reach the vocabulary projection.
    """

    def __init__(self, loaded: LoadedModel, options: ExecutionOptions) -> None:
        self.loaded = loaded
        self.model: Any = loaded.model
        self.tokenizer: Any = loaded.tokenizer
        self.options = options
        self.device = torch.device(self.model.device)
        self.shape = model_shape(self.model)
        self._heads = max(config.num_attention_heads for config in _layer_configs(self.model.config.get_text_config()))
        self.window = context_window(self.model)
        self.eos_ids = frozenset() if options.ignore_eos else frozenset(loaded.eos_token_ids)
        """Tokens that end an answer."""
        # What stands in a padded position is masked, so any id does; the window of ids always holds 0.
        self.pad_id = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        self.counters = WorkCounters()
        self.fallbacks: list[Fallback] = []
        self.journal: BatchJournal | None = None
        """While set, batches are kept there, and those that it holds are not run."""
        self.recomputed_tokens = 0
        """Tokens that kept batches had computed and that had to be computed again to go on from them; in no counter."""
        self._accepted = inspect.signature(type(self.model).forward).parameters
        self.tokens_that_fit: int | None = None
        """Most tokens in a batch, once a larger one has run out of memory."""
        self.kept: dict[str, Any] = {}
        """What strategies keep for their next call, such as captured graphs, until `close`."""
        self._sites: tuple[torch.Tensor, torch.Tensor] | None = None
        self._hooks = [self.model.register_forward_hook(self._count, with_kwargs=True)]
        if (head := self.model.get_output_embeddings()) is not None:
            self._hooks.append(head.register_forward_pre_hook(self._narrow))

    def __enter__(self) -> ModelRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.kept.clear()
        for hook in self._hooks:
            hook.remove()

    def forward(self, input_ids: torch.Tensor, *, logits_to_keep: int = 0, **inputs: Any) -> Any:
        """Run the model on `input_ids` [rows, tokens].

        Args:
            logits_to_keep: project only the last so many positions; 0 for all.
            inputs: attention_mask [rows, cached + tokens], position_ids [rows, tokens], cache, use_cache. None
                values are left out, and position ids are left out for a model that has none (ALiBi).

        Returns:
            The model's output; its `logits` are [rows, kept, vocab] in the model's dtype.
        """
        given = {name: value for name, value in inputs.items() if value is not None}
        if "position_ids" not in self._accepted:
            given.pop("position_ids", None)
        if "cache" in given and "cache" not in self._accepted:  # its name before transformers 5.24
            given["past_key_values"] = given.pop("cache")
        if logits_to_keep and "logits_to_keep" in self._accepted:
            given["logits_to_keep"] = logits_to_keep
        with self._without_all_scores(input_ids):
            output = self.model(input_ids=input_ids, **given)
        if logits_to_keep:
            output.logits = output.logits[:, -logits_to_keep:]
        return output

    def logits_at(
        self,
        input_ids: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        *,
        position_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits at (row, column) sites alone, [sites, vocab]: nothing else is projected onto the vocabulary.

        No mask is given: attention is causal, so a row padded on the right never sees its padding.

        Args:
            input_ids: [rows, tokens].
            rows, columns: [sites], int64, on the device.
            position_ids: [rows, tokens]; None where they count from 0 in every row.
        """
        positions = {} if position_ids is None else {"position_ids": position_ids}
        self._sites = rows, columns
        try:
            with self._without_all_scores(input_ids):
                logits: torch.Tensor = self.model(input_ids=input_ids, use_cache=False, **positions).logits
            narrowed = self._sites is None
        finally:
            self._sites = None
        # A model that projects by other means than its output embedding has projected everything.
        return logits[0] if narrowed else logits[rows, columns]

    def run_batches(
        self,
        batches: Iterable[Batch],
        compute: Callable[[Batch], Iterable[Result]],
        tokens: Callable[[Batch], int],
        *,
        split: Callable[[Batch], Sequence[Batch]] | None = None,
        bounds_later: bool = True,
        ahead: int = 0,
        drop_compiled: Callable[[str], bool] | None = None,
    ) -> Iterator[Result]:
        """Results of `compute` over `batches`, batch by batch; the next batch is drawn when this one is under way.

        A batch that runs out of memory is split and run again, and later batches as large are split
        before they run; a compiled forward that fails is replaced by the eager one. Both are logged
        once and recorded; no finished result is lost or computed twice.

        Args:
            tokens: size of a batch in tokens, padding included.
            split: a batch in smaller ones, or as one where it cannot be split; halves of a sequence by default. None
                at all where `batches` will bring them.
            bounds_later: whether a batch that ran out of memory bounds all later ones; False where `split` sees to it.
            ahead: results are drawn so many batches late, so that a `compute` which returns before the device is
                done keeps it busy.
            drop_compiled: called with the reason when something compiled has failed, before the model's own compiled
                forward is dropped; whether it had anything to drop.

        Raises:
            RequestError: a single item does not fit into memory.
        """
        divide: Callable[[Any], Sequence[Any]] = split or _halves
        source, queue = iter(batches), deque[Batch]()
        under_way: deque[tuple[Batch, Iterable[Result], WorkCounters | None]] = deque()
        if self.journal is not None and bounds_later:
            self.tokens_that_fit = self.journal.begin(self.tokens_that_fit)
        while (batch := queue.popleft() if queue else next(source, None)) is not None:
            if bounds_later and self.tokens_that_fit is not None and tokens(batch) > self.tokens_that_fit:
                parts = divide(batch)
                if len(parts) != 1:
                    queue.extendleft(reversed(parts))
                    continue
            failure: str | None = None
            kept = None if self.journal is None else self.journal.recall(batch)
            before, self.counters = self.counters, WorkCounters()
            try:
                if kept is None:
                    with torch.inference_mode():
                        results = compute(batch)
                else:
                    results, failure, self.counters = kept.results, kept.failure, kept.counters
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = _brief(error)
                if not (drop_compiled and drop_compiled(reason)) and not self._drop_compile(reason):
                    raise
                queue.appendleft(batch)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                failure = _brief(error)
            finally:
                own, self.counters = self.counters, before
                self.counters.add(own)
            # Outside the handler, where the traceback no longer holds the tensors of the failed batch.
            if failure is not None:
                parts = self._split_after(failure, batch, tokens(batch), divide, bounds_later)
                queue.extendleft(reversed(parts))
                if self.journal is not None and kept is None:
                    self.journal.keep(batch, KeptBatch(results=(), counters=own, failure=failure))
                continue
            under_way.append((batch, results, own if kept is None else None))
            if len(under_way) > ahead:
                yield from self._drawn(*under_way.popleft())
        for drawing in under_way:
            yield from self._drawn(*drawing)

    def _drawn(self, batch: Batch, results: Iterable[Result], own: WorkCounters | None) -> Iterable[Result]:
        """The results of a batch; where there is a journal, it holds them first. `own` is None for a recalled one."""
        if self.journal is None or own is None:
            return results
        done = list(results)
        self.journal.keep(batch, KeptBatch(results=done, counters=own))
        return done

    @contextmanager
    def uncounted(self) -> Iterator[WorkCounters]:
        """Within, work is counted apart, and in none of the run's counters."""
        counters, self.counters = self.counters, WorkCounters()
        try:
            yield self.counters
        finally:
            self.counters = counters

    def step_down(self, fallback: Fallback) -> None:
        """Log a step down once and record it."""
        if fallback not in self.fallbacks:
            self.fallbacks.append(fallback)
            logger.warning("%s: %s -> %s: %s", fallback.what, fallback.asked, fallback.got, fallback.reason)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def _without_all_scores(self, input_ids: torch.Tensor) -> AbstractContextManager[Any]:
        rows, tokens = input_ids.shape
        return without_all_scores(self.model, heads=self._heads, rows=rows, tokens=tokens)

    # Between two graphs: within one, a compiled forward would be compiled anew for each number of sites.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _narrow(self, _: object, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the vocabulary projection: [rows, tokens, hidden] becomes [1, sites, hidden], once a request."""
        if self._sites is None:
            return None
        rows, columns = self._sites
        self._sites = None
        return args[0][rows, columns][None], *args[1:]

    def _count(self, _: object, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        input_ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        self.counters.forward_passes += 1
        self.counters.tokens_computed += input_ids.numel()
        self.counters.logit_rows += output.logits.shape[:-1].numel()

    def _split_after(
        self, failure: str, batch: Batch, tokens: int, divide: Callable[[Any], Sequence[Any]], bounds_later: bool
    ) -> Sequence[Any]:
        """The parts of a batch that ran out of memory."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        parts = divide(batch)
        if len(parts) == 1:
            raise RequestError(
                f"out of memory on a single request of {tokens} tokens ({failure}); "
                "use a smaller model or dtype, a shorter prompt, or a device with more memory"
            )
        if bounds_later:
            self.tokens_that_fit = tokens // 2
        if not any(fallback.what == "batch" for fallback in self.fallbacks):
            asked, got = f"{tokens} tokens", f"halved, to at most {tokens // 2} tokens"
            self.step_down(Fallback(what="batch", asked=asked, got=got, reason=f"out of memory: {failure}"))
        return parts

    def _drop_compile(self, reason: str) -> bool:
        if self.loaded.report.got["torch_compile"] != "on":
            return False
        if self.options.deterministic:
            raise NotDeterministic(f"the compiled forward failed: {reason}")
        drop_compile(self.loaded, reason)
        return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host's allocator ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def context_window(model: Any) -> int | None:
    """Most positions that the model was built for; None where its configuration names no bound."""
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def model_shape(model: Any) -> ModelShape:
    """Read the figures that cost formulas need off a transformers model."""
    config = model.config.get_text_config()
    widths = [_attention_widths(layer) for layer in _layer_configs(config)]
    embeddings = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m}
    return ModelShape(
        query_width=sum(query for query, _ in widths),
        kv_width=sum(kv for _, kv in widths),
        hidden=config.hidden_size,
        vocab=config.vocab_size,
        body_parameters=sum(p.numel() for p in model.parameters()) - sum(w.numel() for w in embeddings.values()),
        bytes_per_value=model.dtype.itemsize,
    )


def _layer_configs(config: Any) -> list[Any]:
    """One configuration a layer: transformers keeps them apart where layers differ in width, as Gemma 4's do."""
    if getattr(config, "is_heterogeneous", False):
        return list(config.per_layer_config)
    return [config] * config.num_hidden_layers


def _attention_widths(config: Any) -> tuple[int, int]:
    """Query heads and key heads of one layer, each times the dimension of a head."""
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return heads * head_dim, (getattr(config, "num_key_value_heads", None) or heads) * head_dim


def _halves(batch: Sequence[Item]) -> list[Sequence[Item]]:
    middle = (len(batch) + 1) // 2
    return [batch[:middle], batch[middle:]] if len(batch) > 1 else [batch]


def _brief(error: BaseException) -> str:
    """The first two lines of a message: errors of compilers name the stage in one and the cause in the next."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
