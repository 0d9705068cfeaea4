"""The last decoder layer, computed for those rows alone that are read.

Of a pack's 16,384 tokens some hundred are read. Keys and values of a token are needed in every layer, since others
attend to it; but what the last layer makes of it is needed only where it is read: queries, output projection and MLP,
and so the norm behind the layers.

It goes by hooks, which stand outside of what is compiled. Before the last layer, keys and values are computed for all
tokens, compiled where layers are: one more graph. What the layer is called with is narrowed to the rows, for which it
runs as it is; its attention gets the rows' queries and all keys and values (`RowsOfLayer`); and what it returns is
spread over all tokens again, zeros where nothing is read. So the model, its attention and whoever reads see the shapes
that they know, and each row is computed as it would be among the others.

A model whose layers have no name (`decoder_layers`), or whose last layer is called with something of which it cannot be
told what belongs to which token, is computed in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from evalsuite.attention.interface import Pass, RowsOfLayer, attend_by, forward_ends_at_attention, keys_and_values
from evalsuite.errors import first_line
from evalsuite.loading.fusing import decoder_layers, part_of_layer, run_as_it_is

MOST_ROWS = 1 / 4
"""Of the tokens. With more of them it is hardly worth doing what comes before the attention twice."""
_PLAIN = bool | int | float | str | torch.dtype | None


class LastLayer:
    """The last layer of a model, and the norms behind it.

    Args:
        configs: `attention_configs(model)`.
    """

    def __init__(self, model: Any, configs: Sequence[Any]) -> None:
        self._count = model.config.get_text_config().num_hidden_layers
        self._configs = configs
        named = decoder_layers(model)
        within = {part for layer in named for part in layer.modules() if part is not layer}
        # Not what is compiled along with a layer. Which one is the last is seen when it is called: some models have
        # others, for images.
        self._layers = [layer for layer in named if layer not in within]
        outside = [module for module in model.modules() if module not in within]
        self._norms = [module for module in outside if "norm" in type(module).__name__.lower()]

    @contextmanager
    def only_at(
        self, sites: torch.Tensor, tokens: int, run: Pass, *, on_failure: Callable[[str], object]
    ) -> Iterator[None]:
        """Within `attention_from(model, configs, run)`, for one forward of [1, tokens] that is read at `sites` alone.

        Args:
            sites: [sites], int64 on the device, in any order, some perhaps several times.
            on_failure: called with the reason where keys and values alone cannot be compiled, which no sound layer
                does; from then on the layer is computed in full. Handed over call by call: what it belongs to would
                otherwise be held in a cycle, with all its memory.
        """
        if not self._layers or len(sites) > MOST_ROWS * tokens:
            yield
            return
        rows = sites if len(sites) else sites.new_zeros(1)  # experts may not take none
        forward = _NarrowedForward(rows, tokens, run, self._count, self._configs)
        hooks: list[RemovableHandle] = []
        try:
            # Last before and first behind: other hooks of these modules see all tokens.
            for layer in self._layers:
                hooks.append(layer.register_forward_pre_hook(forward.before_layer, with_kwargs=True))
                hooks.append(layer.register_forward_hook(forward.after_layer, prepend=True))
            for norm in self._norms:
                hooks.append(norm.register_forward_pre_hook(forward.before_norm))
                hooks.append(norm.register_forward_hook(forward.after_norm, prepend=True))
            yield
        finally:
            run_as_it_is(None)
            for hook in hooks:
                hook.remove()
        if forward.failure is not None:
            self._layers = []
            on_failure(forward.failure)
        if forward.last is not None:
            self._layers = [forward.last]


class _NarrowedForward:
    """The hooks of one forward."""

    def __init__(self, rows: torch.Tensor, tokens: int, run: Pass, layers: int, configs: Sequence[Any]) -> None:
        self._rows, self._tokens, self._run, self._layers, self._configs = rows, tokens, run, layers, configs
        self.last: Any = None
        """The layer that was the last one, if it was narrowed."""
        self.failure: str | None = None
        """Why it was not, though it could be."""
        self._module: Any = None
        """What runs on the rows alone."""
        self._narrow: torch.Tensor | None = None
        """[1, rows, hidden]: what came of it."""
        self._spread: torch.Tensor | None = None
        """[1, tokens, hidden]: the same, as the model has it."""

    def before_layer(
        self, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._module is not None or self.failure is not None or self._run.layers != self._layers - 1:
            return None
        hidden = args[0] if args else kwargs.get("hidden_states")
        given = [*args, *kwargs.values()]
        if not _of_tokens(hidden, self._tokens) or not all(_can_be_narrowed(each, self._tokens) for each in given):
            return None
        self._module = layer
        # Before anything is computed: a layer may write on what it is given.
        narrowed = (
            tuple(_narrowed(each, self._rows, self._tokens) for each in args),
            {name: _narrowed(each, self._rows, self._tokens) for name, each in kwargs.items()},
        )
        try:
            with forward_ends_at_attention(self._configs):
                kept = part_of_layer(keys_and_values, layer)(args, kwargs)
        except torch._dynamo.exc.TorchDynamoException as error:
            self.failure = first_line(error)
            kept = None
        if kept is None:  # or a module that is named with the layers
            self._module = None
            return None
        self.last = layer
        attend_by(RowsOfLayer(self._run, self._rows, kept[0][0], kept[1][0]))
        run_as_it_is(layer)
        return narrowed

    def after_layer(self, layer: Any, _: object, output: Any) -> Any:
        if layer is not self._module:
            return None
        self._module = None
        attend_by(self._run)
        run_as_it_is(None)
        if isinstance(output, tuple):
            return self._over_all_tokens(output[0]), *output[1:]
        return self._over_all_tokens(output)

    def before_norm(self, norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or args[0] is not self._spread:
            return None
        self._module = norm
        return self._narrow, *args[1:]

    def after_norm(self, norm: Any, _: object, output: torch.Tensor) -> torch.Tensor | None:
        if norm is not self._module:
            return None
        self._module = None
        return self._over_all_tokens(output)

    def _over_all_tokens(self, narrow: torch.Tensor) -> torch.Tensor:
        self._narrow = narrow
        self._spread = narrow.new_zeros(1, self._tokens, narrow.shape[-1]).index_copy_(1, self._rows, narrow)
        return self._spread


def _of_tokens(given: Any, tokens: int) -> bool:
    """Whether it is [1, tokens, numbers]."""
    return isinstance(given, torch.Tensor) and given.dim() == 3 and given.shape[:2] == (1, tokens)


def _can_be_narrowed(given: Any, tokens: int) -> bool:
    """Whether it is plain which of its parts belong to which of the tokens, or none do."""
    if isinstance(given, torch.Tensor):
        return tokens not in given.shape or _token_dim(given, tokens) is not None
    if type(given) in (tuple, list):
        return all(_can_be_narrowed(each, tokens) for each in given)
    if type(given) is dict:
        return all(_can_be_narrowed(each, tokens) for each in given.values())
    if isinstance(given, Mapping):
        return not given
    return isinstance(given, _PLAIN)


def _token_dim(tensor: torch.Tensor, tokens: int) -> int | None:
    """Which dimension counts the tokens, in one that has as many as them somewhere: of positions ([1, tokens] or
    [tokens]) or of numbers for each ([1, tokens, numbers]); None for others, such as [1, heads, tokens, dim]."""
    if tensor.shape == (tokens,):
        return 0
    return 1 if tensor.dim() in (2, 3) and tensor.shape[:2] == (1, tokens) else None


def _narrowed(given: Any, rows: torch.Tensor, tokens: int) -> Any:
    """What can be narrowed, at the rows alone."""
    if isinstance(given, torch.Tensor):
        dim = _token_dim(given, tokens)
        return given if dim is None else given.index_select(dim, rows)
    if type(given) in (tuple, list):
        return type(given)(_narrowed(each, rows, tokens) for each in given)
    if type(given) is dict:
        return {name: _narrowed(each, rows, tokens) for name, each in given.items()}
    return given
