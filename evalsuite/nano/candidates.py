"""Answers to be graded: right and wrong ones of every kind, for a question or a story whose gold is known.

A kind is a way of making a candidate; whether it came out right is asked of SQuAD's exact match afterwards, since a
gold cut short may be another gold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evalsuite.metrics.squad import squad_scores
from evalsuite.nano.news import retell

_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str.lower,
    lambda text: text[0].upper() + text[1:],
    lambda text: text[0].lower() + text[1:],
    lambda text: text.rstrip(".") + ".",
    lambda text: text.rstrip("."),
    lambda text: f"{text}!",
    lambda text: f'"{text}"',
    lambda text: f"“{text}”",
    lambda text: text.replace(" ", "_"),
)
"""What the normalisation of exact match takes back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gradable:
    """A question, or a story to be summarised, and what candidates are made from."""

    task: str
    """`viquad` or `vietnews`."""
    fields: Mapping[str, str]
    """As `evalsuite.judge.prompts.render` wants them."""
    gold: tuple[str, ...]
    """Every accepted answer; `("",)` where the passage has none."""
    others: tuple[str, ...]
    """Answers to other questions, of this text or another; summaries of other stories."""

    @property
    def text(self) -> str:
        """The passage or the article."""
        return self.fields["context" if self.task == "viquad" else "article"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One answer to be graded."""

    kind: str
    text: str
    """Empty for a refusal."""
    exact: bool
    """Whether SQuAD's exact match holds with one of the golds."""
    f1: float
    """Over syllables, the best over the golds."""


RETOLD = ("other story", "like story", "one detail")
"""Wrong summaries that read like the right one; of nano's own stories alone."""


def draw_candidate(rng: random.Random, of: Gradable, *, right: bool, among: tuple[str, ...] | None = None) -> Candidate:
    """A candidate that is right, or wrong, by exact match; of a random kind among those (default: `kinds`)."""
    while True:
        kind = rng.choice(among or kinds(of, right=right))
        candidate = assess(kind, " ".join(_MAKERS[kind](rng, of).split()), of)
        if candidate.exact == right:
            return candidate


def assess(kind: str, text: str, of: Gradable) -> Candidate:
    """That text as an answer, with what the metrics say of it."""
    scores = squad_scores(text, of.gold)
    return Candidate(kind=kind, text=text, exact=scores["exact_match"] == 1, f1=scores["f1"])


def kinds(of: Gradable, *, right: bool) -> tuple[str, ...]:
    """What can be made of any question or story."""
    answerable = any(of.gold)
    if right:
        several = ("another gold",) if len(of.gold) > 1 else ()
        return ("gold", "respelt", *several) if answerable else ("right refusal",)
    foreign = ("other answer", "piece of the text", "words at random")
    if not answerable:
        return foreign
    shorter = ("shorter",) if " " in of.gold[0] else ()
    return (*foreign, "changed", "longer", *shorter, "wrong refusal")


def _respelt(rng: random.Random, of: Gradable) -> str:
    return rng.choice(_SPELLINGS)(rng.choice(of.gold))


def _changed(rng: random.Random, of: Gradable) -> str:
    """One or two words replaced, numbers by numbers."""
    words = of.gold[0].split()
    pool = " ".join(of.others).split()
    for at in rng.sample(range(len(words)), min(len(words), rng.randint(1, 2))):
        words[at] = _renumbered(rng, words[at]) if any(map(str.isdigit, words[at])) else rng.choice(pool)
    return " ".join(words)


def _renumbered(rng: random.Random, word: str) -> str:
    """One of its digits changed."""
    at = rng.choice([i for i, character in enumerate(word) if character.isdigit()])
    return f"{word[:at]}{rng.choice('123456789')}{word[at + 1 :]}"


def _longer(rng: random.Random, of: Gradable) -> str:
    """With up to four words of the text before it or after it, as an answer that quotes too much has them."""
    added = _piece(rng, of, 4)
    return f"{added} {of.gold[0]}" if rng.random() < 0.5 else f"{of.gold[0]} {added}"


def _shorter(rng: random.Random, of: Gradable) -> str:
    words = of.gold[0].split()
    keep = rng.randint(max(1, len(words) - 4), len(words) - 1)
    return " ".join(words[:keep] if rng.random() < 0.5 else words[-keep:])


def _piece(rng: random.Random, of: Gradable, most: int) -> str:
    """Up to `most` consecutive words of the text."""
    words = of.text.split()
    start = rng.randrange(len(words))
    return " ".join(words[start : start + rng.randint(1, most)])


def _at_random(rng: random.Random, of: Gradable) -> str:
    """Words of the text and of other answers in no order, as a model that has learnt nothing puts them."""
    return " ".join(rng.choices([*of.text.split(), *" ".join(of.others).split()], k=rng.randint(1, 24)))


_MAKERS: Mapping[str, Callable[[random.Random, Gradable], str]] = {
    "gold": lambda rng, of: of.gold[0],
    "another gold": lambda rng, of: rng.choice(of.gold[1:]),
    "respelt": _respelt,
    "right refusal": lambda rng, of: "",
    "wrong refusal": lambda rng, of: "",
    "other answer": lambda rng, of: rng.choice(of.others),
    "changed": _changed,
    "longer": _longer,
    "shorter": _shorter,
    "piece of the text": lambda rng, of: _piece(rng, of, 12),
    "words at random": _at_random,
    "other story": lambda rng, of: retell(rng, of.gold[0], 4),
    "like story": lambda rng, of: retell(rng, of.gold[0], rng.randint(2, 3)),
    "one detail": lambda rng, of: retell(rng, of.gold[0], 1),
}
KINDS = tuple(_MAKERS)
