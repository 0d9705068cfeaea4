"""A judge in this process: any model that the loader takes, asked in batches by our own engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import EvalsuiteError, first_line
from evalsuite.judge.grading import MAX_TOKENS, OnReply, Reply, short_name
from evalsuite.judge.reading import TOO_LONG
from evalsuite.loading import LoadedModel
from evalsuite.loading.loader import identify
from evalsuite.pool import ModelPool
from evalsuite.tasks.prompting import STOP, Prompting, user_turn
from evalsuite.types import EncodedPrompt, GenerationRequest

STRATEGY = "continuous"
"""The generation strategy by which a local judge answers."""


class LocalModel:
    """A model of `pool`, loaded when there is something to ask. An `evalsuite.judge.grading.Asker`."""

    def __init__(self, config: InferenceConfig, pool: ModelPool, execution: ExecutionOptions) -> None:
        """Raises what loading raises for a model that is not there: nothing of its weights is read yet."""
        self._config = config
        self._pool = pool
        self._execution = execution
        self.name = f"local:{config.model}"
        fingerprint, dtype, tokenizer = identify(config)
        self.identity: Mapping[str, str] = {
            "kind": "local",
            "model": short_name(config.model),
            "fingerprint": fingerprint,
            "dtype": dtype,
            "chat_template": "on" if _prompting(config, tokenizer).uses_chat else "off",
            "max_tokens": str(MAX_TOKENS),
        }

    def hide(self, text: str) -> str:
        """A local judge has no key."""
        return text

    def ask(self, prompts: Mapping[str, str], on_reply: OnReply) -> None:
        """Answer every prompt. What cannot be asked, because the model does not load or memory is out, is missing."""
        open_keys = dict.fromkeys(prompts)

        def reply(key: str, text: str | None, problem: str = "") -> None:
            del open_keys[key]
            on_reply(key, Reply(text=text, problem=problem))

        try:
            with TransformersEngine(self._pool.get(self._config), self._execution) as engine:
                encoded = engine.encode_prompts(self._requests(engine.loaded, prompts))
                for cut in (prompt for prompt in encoded if prompt.truncated_tokens):
                    reply(cut.id, None, f"{TOO_LONG}: by {cut.truncated_tokens} tokens")
                for answer in engine.generate(_whole(encoded), STRATEGY):
                    reply(answer.id, answer.text)
        except EvalsuiteError as error:
            for key in list(open_keys):
                reply(key, None, f"{type(error).__name__}: {first_line(error)}")

    def _requests(self, loaded: LoadedModel, prompts: Mapping[str, str]) -> list[GenerationRequest]:
        """As an endpoint would show it: one user turn where the model has a chat template, else plain text."""
        chat = _prompting(self._config, loaded.tokenizer).uses_chat
        return [
            GenerationRequest(
                id=key,
                prompt=user_turn(loaded.tokenizer, prompt) if chat else prompt,
                max_new_tokens=MAX_TOKENS,
                stop=() if chat else STOP,
                add_special_tokens=not chat,
            )
            for key, prompt in prompts.items()
        ]


def _prompting(config: InferenceConfig, tokenizer: object) -> Prompting:
    return Prompting(chat="auto", tokenizer=tokenizer, model_name=config.model)  # type: ignore[arg-type]


def _whole(encoded: Sequence[EncodedPrompt]) -> list[EncodedPrompt]:
    """Those that fit: a prompt cut on the left has lost its instructions."""
    return [prompt for prompt in encoded if not prompt.truncated_tokens]
