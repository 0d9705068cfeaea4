"""Which requests a model cannot answer in one forward with others, and why.

A request's answer is what it gets alone. Two kinds of model break that where sequences share a forward:

- Rotary embeddings that depend on length. transformers takes their frequencies for a whole forward from its longest
  sequence (`dynamic_rope_update`): `longrope` changes over above `original_max_position_embeddings`, `dynamic` grows
  above `max_position_embeddings`. Up to there frequencies are fixed, and batching changes nothing.
- Layers that go through a sequence by a state. Those of some models are told of padding and pass over it; others take
  it for text, or keep their state where no row can leave it. Padding on the right comes after all that is read, so
  this concerns generation alone.

What is ruled out so is answered by `unbatched`, which always is right, and that is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from evalsuite.determinism import NotDeterministic
from evalsuite.types import EncodedChoices, EncodedPrompt, Fallback

if TYPE_CHECKING:
    from evalsuite.runner import ModelRunner

Request = TypeVar("Request")
Outcome = TypeVar("Outcome")

ATTENDING_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention", "indexed_attention"})
"""Layer types of transformers that keep nothing but what they know of single tokens."""

PASS_OVER_PADDING = frozenset(
    {
        "bamba",
        "falcon_h1",
        "granitemoehybrid",
        "jamba",
        "lfm2",
        "lfm2_moe",
        "nemotron_h",
        "olmo_hybrid",
        "qwen3_5_moe_text",
        "qwen3_5_text",
        "qwen3_next",
        "zamba2",
    }
)
"""Model types with a state whose answers, padded on the left, are those without padding; each is held to that in
`tests/apart/test_states.py`."""


def answer(
    runner: ModelRunner,
    strategy: str,
    requests: Sequence[Request],
    *,
    why_alone: Callable[[Request], str | None],
    together: Callable[[ModelRunner, Sequence[Request]], Iterator[Outcome]],
    alone: Callable[[ModelRunner, Sequence[Request]], Iterator[Outcome]],
) -> Iterator[Outcome]:
    """Outcomes of `strategy`: those `together` first, then one by one those that have to be answered alone.

    Args:
        why_alone: the reason why a request has to be, which may not name the request; None where it need not.
        alone: `unbatched` of the same kind.

    Raises:
        NotDeterministic: that is asked for, and some request would be answered by another strategy.
    """
    shared: list[Request] = []
    apart: list[Request] = []
    for request in requests:
        reason = why_alone(request)
        if reason is None:
            shared.append(request)
            continue
        if runner.options.deterministic:
            raise NotDeterministic(reason)
        apart.append(request)
        runner.step_down(Fallback(what="strategy", asked=strategy, got="unbatched", reason=reason))
    if shared:
        forget_lengths(runner.model)
        yield from together(runner, shared)
    for request in apart:
        forget_lengths(runner.model)
        yield from alone(runner, [request])


def choices_too_long(config: Any) -> Callable[[EncodedChoices], str | None]:
    """For `answer`: by the longest sequence that is fed for any of a request's choices."""
    bounds = _bounds(config)  # once: a run has thousands of requests, and most models have no bound
    return lambda request: _too_long(bounds, len(request.context_ids) + max(map(len, request.continuation_ids)) - 1)


def prompt_too_long(config: Any, *, beyond: int = 0) -> Callable[[EncodedPrompt], str | None]:
    """For `answer`: by a prompt and all the tokens to come but the last, which is not fed.

    Args:
        beyond: how many more positions a row may be fed after its last token, before it leaves its batch.
    """
    bounds = _bounds(config)
    return lambda request: _too_long(bounds, len(request.prompt_ids) + request.max_new_tokens - 1 + beyond)


def _too_long(bounds: Sequence[tuple[str, int]], tokens: int) -> str | None:
    """Why a sequence of so many tokens cannot share a forward, by its rotary embeddings; None if it can."""
    for kind, bound in bounds:
        if tokens > bound:
            return (
                f"requests of more than {bound:,} tokens cannot share a forward: rotary embeddings of type {kind} "
                "take their frequencies from its longest sequence"
            )
    return None


def why_not_padded_left(model: Any) -> str | None:
    """Why rows of this model cannot be padded on the left and leave a batch as they end; None if they can."""
    config, name = model.config.get_text_config(), type(model).__name__
    if config.model_type in PASS_OVER_PADDING:
        return None
    if odd := set(getattr(config, "layer_types", None) or ()) - ATTENDING_LAYERS:
        return f"layers of {', '.join(sorted(odd))} in {name} are not known to pass over padding"
    if keeps_a_state(model):
        return f"the state that {name} keeps is not known to pass over padding"
    return None


def keeps_a_state(model: Any) -> bool:
    """Whether transformers says that a model keeps more of a sequence than keys and values of its tokens."""
    return bool(getattr(model, "_is_stateful", False))


def forget_lengths(model: Any) -> None:
    """Make `dynamic` rotary embeddings forget the longest forward so far.

    transformers keeps the frequencies of that one until a forward is shorter than the original length: whatever comes
    between depends on what came before. It takes them back by itself in a forward of one position.
    """
    if not any("dynamic" in kind for kind, _ in _bounds(model.config)):
        return
    position = torch.zeros(1, 1, dtype=torch.int64, device=model.device)
    for module in model.modules():
        if not hasattr(module, "original_max_seq_len") or not hasattr(module, "rope_type"):
            continue
        if isinstance(module.rope_type, Mapping):
            for layer_type in module.rope_type:
                module(position.float(), position, layer_type)
        else:
            module(position.float(), position)


def _bounds(config: Any) -> list[tuple[str, int]]:
    """(type, most tokens of a forward in which its frequencies are those of the shortest one), where there is such."""
    text = config.get_text_config()
    given = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    # One for all layers, or one for each type of layer.
    each = [value for value in given.values() if isinstance(value, Mapping)] or [given]
    bounds = []
    for rope in each:
        kind = rope.get("rope_type") or rope.get("type") or "default"
        if kind == "longrope":
            bounds.append((kind, int(rope["original_max_position_embeddings"])))
        elif "dynamic" in kind:
            bounds.append((kind, int(text.max_position_embeddings)))
    return bounds
