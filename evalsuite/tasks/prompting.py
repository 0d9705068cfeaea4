"""Prompts: a description, solved shots, the question; as plain text or through a chat template.

Plain text is lm-evaluation-harness's layout (0.4.13, `ConfigurableTask.fewshot_context`): description,
then each shot as `body + " " + answer + "\\n\\n"`, then the body; continuations start with the space.

Under a chat template it is the harness's layout with `--apply_chat_template` (shots as turns, its
default there): the description is the system message, each shot a user and an assistant turn, the body
the last user turn, and the template's generation prompt follows. Continuations then have no leading
space, because the template has already opened the assistant's turn on a fresh line.

When to use it: an instruct model was trained on its template and is measured with it; a base model was
not, though its tokenizer often carries one (Qwen3's base models do), and is measured on plain text.
`auto` decides so: on where the tokenizer has a chat template and the model's name does not say *base*.
Qwen3's thinking is switched off (`enable_thinking=False`): choices are scored as the very next tokens,
and the generation tasks have no room for a train of thought.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, Protocol

from evalsuite.errors import ConfigError
from evalsuite.types import ChoiceRequest, GenerationRequest

if TYPE_CHECKING:
    from evalsuite.tasks.base import Example

SHOT_DELIMITER = "\n\n"
TARGET_DELIMITER = " "
STOP = ("\n",)

ChatMode = Literal["auto", "on", "off"]
_BASE_NAME = re.compile(r"(?:^|[-_.])(?:base|pt|pretrain(?:ed)?)(?:$|[-_.])", re.IGNORECASE)
_THINK_BLOCK = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


class ChatTokenizer(Protocol):
    """The part of a transformers tokenizer that prompts need."""

    name_or_path: str
    chat_template: Any

    def apply_chat_template(self, conversation: list[dict[str, str]], /, **kwargs: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompting:
    """How examples become prompts."""

    shots: int = 0
    chat: ChatMode = "off"
    tokenizer: ChatTokenizer | None = None
    """Needed for `on`; `auto` without one is `off`."""
    model_name: str | None = None
    """Read by `auto`; the tokenizer's own `name_or_path` for None."""

    def __post_init__(self) -> None:
        if self.shots < 0:
            raise ConfigError(f"shots: expected 0 or more, got {self.shots}")
        if self.chat not in ("auto", "on", "off"):
            raise ConfigError(f"chat: expected auto, on or off; got {self.chat!r}")
        if self.chat == "on" and (self.tokenizer is None or not self.tokenizer.chat_template):
            raise ConfigError(
                "chat: 'on' needs a tokenizer with a chat template and this one has none; use auto or off"
            )

    @property
    def uses_chat(self) -> bool:
        """Whether prompts go through the chat template, `auto` resolved."""
        if self.chat != "auto":
            return self.chat == "on"
        if self.tokenizer is None or not self.tokenizer.chat_template:
            return False
        return not names_base_model(self.model_name or self.tokenizer.name_or_path or "")


def names_base_model(name: str) -> bool:
    """Whether a hub name or a path says that the model is a base one: `Qwen3-4B-Base`, `gemma-3-1b-pt`.

    Only the model's own part counts (`/data/base/Qwen3-4B` is no base model); in the hub's cache that
    is the folder above `snapshots/`.
    """
    parts = PurePath(name).parts
    if len(parts) >= 3 and parts[-2] == "snapshots":
        parts = parts[:-2]
    return bool(parts) and _BASE_NAME.search(parts[-1].rsplit("--", 1)[-1]) is not None


def usable_shots(example: Example, pools: Mapping[str, Sequence[Example]], count: int) -> tuple[Example, ...]:
    """The first `count` solved shots of the example's pool that are not the example itself, known by its text.

    Takes what is there: some VMLU subjects have three.
    """
    if not count:
        return ()
    pool = pools.get(example.shot_key, ())
    others = (s for s in pool if s.answer is not None and s.body != example.body)
    return tuple(itertools.islice(others, count))


def choice_request(example: Example, shots: Sequence[Example], prompting: Prompting) -> ChoiceRequest:
    """Score the letters after the prompt."""
    chat = prompting.uses_chat
    return ChoiceRequest(
        id=example.id,
        context=render(example, shots, prompting),
        continuations=tuple(letter if chat else TARGET_DELIMITER + letter for letter in example.choices),
        add_special_tokens=not chat,
    )


def generation_request(
    example: Example, shots: Sequence[Example], prompting: Prompting, max_new_tokens: int
) -> GenerationRequest:
    """Write the answer after the prompt.

    Plain text stops at the end of the line, or a base model goes on with a next question. In a chat the
    model ends its own turn, and a line break may stand inside a think block that is yet to be stripped.
    """
    chat = prompting.uses_chat
    return GenerationRequest(
        id=example.id,
        prompt=render(example, shots, prompting),
        max_new_tokens=max_new_tokens,
        stop=() if chat else STOP,
        add_special_tokens=not chat,
    )


def render(example: Example, shots: Sequence[Example], prompting: Prompting) -> str:
    """The prompt of one example."""
    if prompting.uses_chat:
        return _render_chat(example, shots, prompting)
    solved = (f"{shot.body}{TARGET_DELIMITER}{shot.answer}{SHOT_DELIMITER}" for shot in shots)
    return "".join((example.description, *solved, example.body))


def user_turn(tokenizer: ChatTokenizer, text: str) -> str:
    """A conversation of one user turn, as a chat endpoint renders it, up to where the model begins to speak."""
    return _apply(tokenizer, [{"role": "user", "content": text}])


def strip_think(text: str) -> str:
    """Generated text without its `<think>...</think>` blocks, an unfinished one included, and stripped."""
    text = _THINK_BLOCK.sub("", text)
    # A template that opens the block itself leaves only its end in the generation.
    return text.rsplit("</think>", 1)[-1].strip()


def _render_chat(example: Example, shots: Sequence[Example], prompting: Prompting) -> str:
    assert prompting.tokenizer is not None  # uses_chat says so
    turns: list[dict[str, str]] = []
    for shot in shots:
        turns += [{"role": "user", "content": shot.body}, {"role": "assistant", "content": shot.answer or ""}]
    turns.append({"role": "user", "content": example.body})
    system = {"role": "system", "content": example.description}
    try:
        return _apply(prompting.tokenizer, [system, *turns])
    except Exception as error:
        if "TemplateError" not in {base.__name__ for base in type(error).__mro__}:
            raise
    # A template without a system role (Gemma's) raises. The harness drops the description then; it holds
    # the instructions, so here it opens the first user turn instead.
    turns[0] = {"role": "user", "content": example.description + turns[0]["content"]}
    return _apply(prompting.tokenizer, turns)


def _apply(tokenizer: ChatTokenizer, conversation: list[dict[str, str]]) -> str:
    text = tokenizer.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    return str(text)
