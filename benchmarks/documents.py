"""Prompts of any length, made of a task's own: articles one after the other, and the last of them to be answered."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count, islice

from evalsuite.errors import ConfigError
from evalsuite.evaluation import Workload


def documents(workload: Workload, *, tokens: int, number: int, new_tokens: int) -> Workload:
    """`number` prompts of exactly `tokens` tokens, each to be continued by at most `new_tokens`.

    Each ends in a whole prompt of the task, spread over them all. Before it stand others as far as there is room: every
    one from the next on, round and round; in the second document that ends alike every second one, and so on. So no two
    documents have more than their first article in common at the beginning. They are the same for the same data.

    Raises:
        ConfigError: a prompt of the task alone is longer, or the task has too few for so many documents.
    """
    prompts = workload.prompts
    if number > len(prompts) * max(len(prompts) - 1, 1):
        raise ConfigError(f"{len(prompts)} prompts of {workload.task.name} do not make {number} different documents")
    made = []
    for i in range(number):
        at = i * len(prompts) // number if number < len(prompts) else i % len(prompts)
        last, stride = prompts[at], 1 + i // len(prompts)
        room = tokens - len(last.prompt_ids)
        if room < 0:
            raise ConfigError(f"{last.id} alone has {len(last.prompt_ids)} tokens; expected at most {tokens}")
        others = (prompts[(at + 1 + stride * step) % len(prompts)].prompt_ids for step in count())
        made.append(
            replace(
                last,
                id=f"{tokens} tokens, {i}",
                prompt_ids=(*islice(chain.from_iterable(others), room), *last.prompt_ids),
                max_new_tokens=new_tokens,
                truncated_tokens=0,
            )
        )
    return replace(workload, prompts=tuple(made))
