"""Token ids of many texts, in which each part that texts share is tokenised once.

An evaluation's texts are mostly the same text: every question of a subject follows the same shots, and every choice
the same question. A tokenizer that first cuts a text into pieces by a left-to-right pattern, and then looks at each
piece alone, needs no more of a text than a place where it always cuts. Such places are line breaks before a letter or
a digit: the text is cut at blank lines and at the last line break, and its ids are those of its parts, one after the
other.

`why_not_in_parts` says of a tokenizer whether that holds, from its own description and by trying it; some whole texts
are tokenised besides and compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Text = tuple[str, bool]
"""A text, and whether the tokenizer adds its special tokens (BOS and the like)."""

Part = tuple[str, str]
"""A part of a text, and the character that follows it, or none."""

FEW = 64
"""Fewer texts are tokenised as they are."""
WORTH_IT = 0.75
"""Nor are texts taken apart whose distinct parts have more than this share of their characters."""
COMPARED = 64
"""Texts that are tokenised as a whole, too, spread evenly."""

_BLANK_LINE = re.compile(r"\n\n(?=[^\W_])")
_LINE = re.compile(r"\n(?=[^\W_])")
_CHARACTER_BY_CHARACTER = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase"})
_LEFT_TO_RIGHT = frozenset({"Split", "ByteLevel", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"})
_BY_PIECE = frozenset({"BPE", "Unigram", "WordPiece", "WordLevel"})
_LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAGzZK]|[\^$.]")
"""In a pattern without its character classes: what depends on more than the text from here on, or may run over a line
break."""
_NO_BLANK_FOLLOWS = r"(?!\S)"
_LOOKS_AHEAD = re.compile(r"\(\?[=!]")
"""In one without `_NO_BLANK_FOLLOWS`: what may depend on more than the character that follows."""
_CLASS = re.compile(r"\\?\[(?:\\.|[^\]\\])*\]")
_ESCAPED = re.compile(r"\\[\\^$\[.]")
_BEFORE = (*"aZé字7.\"(-_' \t\r\n😀", "  ", "\n\n", "e\u0301", '"a', "<a", "(a")
_FIRST = ("A", "z", "Đ", "字", "1", "é")
_AFTER = ("", "b", "2", ".", " b", "\n", "'s", "\u0301", '"', ">", ")")


class EncodedTexts(Sequence[list[int]]):
    """Ids of texts by their index, put together from those of their parts when they are asked for."""

    def __init__(self, parts: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> None:
        """`texts` holds for each text the numbers of its parts."""
        self._parts = parts
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> list[int]:  # type: ignore[override]
        return self.after(index, 0)

    def after(self, index: int, tokens: int) -> list[int]:
        """Ids of a text without its first `tokens` ones; what comes before them is not put together."""
        ids: list[int] = []
        for number in self._texts[index]:
            part = self._parts[number]
            if tokens >= len(part):
                tokens -= len(part)
            else:
                ids += part[tokens:]
                tokens = 0
        return ids


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], *, on_mismatch: Callable[[str], object]
) -> EncodedTexts:
    """Ids of each text, as `tokenizer` gives them for the whole of it. One that begins with BOS gets no second one.

    Args:
        on_mismatch: called with the reason where parts turn out not to give what a whole text gives; all texts are
            tokenised whole then.
    """
    if len(texts) < FEW:
        return _whole(tokenizer, texts)
    parts: dict[Part, int] = {}
    numbers = [[parts.setdefault(part, len(parts)) for part in _parts(text)] for text, _ in texts]
    shared = sum(len(part) for part, _ in parts) <= WORTH_IT * sum(len(text) for text, _ in texts)
    if not shared or why_not_in_parts(tokenizer) is not None:
        return _whole(tokenizer, texts)
    encoded = _in_parts(tokenizer, texts, list(parts), numbers)
    some = range(0, len(texts), max(1, len(texts) // COMPARED))
    whole = _whole(tokenizer, [texts[index] for index in some])
    wrong = [index for index, ids in zip(some, whole, strict=True) if encoded is None or encoded[index] != ids]
    if encoded is not None and not wrong:
        return encoded
    text = texts[wrong[0]][0]
    on_mismatch(f"ids of the parts of a text are not those of the text, which begins {text[:40]!r}")
    return _whole(tokenizer, texts)


def why_not_in_parts(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Why the ids of a text are not those of its parts, as far as is known; None where they are."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.pre_tokenizer is None:
        return "it does not cut a text into pieces"
    try:
        made_of = json.loads(backend.to_str())
    except Exception as error:  # of this very type, for steps written in Python
        return f"it does not say what it is made of: {error}"
    for step in _steps(made_of["normalizer"], "normalizers"):
        if step["type"] not in _CHARACTER_BY_CHARACTER:
            return f"its normalizer {step['type']} may look at more than a character"
    for step in _steps(made_of["pre_tokenizer"], "pretokenizers"):
        if (reason := _why_not_left_to_right(step)) is not None:
            return reason
    model = made_of["model"]
    if model.get("type") not in _BY_PIECE or model.get("dropout"):
        return f"its model {model.get('type')} may answer otherwise the next time, or look at more than a piece"
    for added in made_of["added_tokens"]:
        content = added["content"]
        # Before an added token a text ends, and blanks at an end are cut otherwise than before a letter.
        if "\n" in content or _LINE.match(f"\n{content}"):
            return f"its token {content!r} may reach over a line break, or begin behind it"
    if _around(tokenizer) is None:
        return "its special tokens are not added at the ends alone"
    for before, first, after in product(_BEFORE, _FIRST, _AFTER):
        cut = len(before) + 1
        pieces = backend.pre_tokenizer.pre_tokenize_str(f"{before}\n{first}{after}")
        if all(begin != cut for _, (begin, _) in pieces):
            return f"it does not cut at the line break of {f'{before}{chr(10)}{first}{after}'!r}"
    return None


def _why_not_left_to_right(step: Mapping[str, Any]) -> str | None:
    """Why a step of cutting cannot start in the midst of a text as it does at its beginning."""
    kind = step["type"]
    if kind not in _LEFT_TO_RIGHT or step.get("add_prefix_space"):
        return f"its pre-tokenizer {kind} treats the beginning of a text otherwise, or may"
    if kind == "Split":
        pattern = step["pattern"].get("Regex")
        bare = _CLASS.sub("", _ESCAPED.sub("", pattern or ""))
        if pattern is None or step["behavior"] not in ("Isolated", "Removed") or _LOOKS_BACK.search(bare):
            return f"what it cuts at depends on what comes before: {step['pattern']}"
        if _LOOKS_AHEAD.search(bare.replace(_NO_BLANK_FOLLOWS, "")):
            return f"what it cuts at may depend on more than the next character: {step['pattern']}"
    return None


def _steps(step: Mapping[str, Any] | None, name: str) -> Iterator[Mapping[str, Any]]:
    """The steps of a sequence, which may hold sequences."""
    if step is None:
        return
    if step["type"] != "Sequence":
        yield step
        return
    for inner in step[name]:
        yield from _steps(inner, name)


def _in_parts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], parts: Sequence[Part], numbers: list[list[int]]
) -> EncodedTexts | None:
    """None where a part does not end in the ids of what follows it. `numbers` holds those of each text's parts."""
    around = _around(tokenizer)
    if around is None:
        return None
    following = sorted({follows for _, follows in parts if follows})
    tail = dict(zip(following, _tokenised(tokenizer, following, special=False), strict=True))
    ids: list[list[int]] = []
    for (_, follows), part in zip(
        parts, _tokenised(tokenizer, [part + follows for part, follows in parts], special=False), strict=True
    ):
        end = len(part) - len(tail.get(follows, ()))
        if part[end:] != tail.get(follows, []):
            return None
        ids.append(part[:end])
    before, after = len(ids), len(ids) + 1
    for (text, wanted), own in zip(texts, numbers, strict=True):
        if _special(tokenizer, text, wanted):
            own[:] = [before, *own, after]
    return EncodedTexts([*ids, *around], numbers)


def _parts(text: str) -> Iterator[Part]:
    """A text cut at blank lines and at its last line break."""
    cuts = [match.end() for match in _BLANK_LINE.finditer(text)]
    # Where a choice's letter or an answer's cue stands in a line of its own, all before it is shared.
    last = text.rfind("\n")
    if last >= 0 and (match := _LINE.match(text, last)) is not None and match.end() not in cuts[-1:]:
        cuts.append(match.end())
    begin = 0
    for cut in cuts:
        yield text[begin:cut], text[cut]
        begin = cut
    yield text[begin:], ""


def _around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]] | None:
    """The special tokens that are added before and after a text; None where that is not what is done."""
    found = set()
    for text in ("a", "b c"):
        [bare], [whole] = (_tokenised(tokenizer, [text], special=special) for special in (False, True))
        places = [i for i in range(len(whole) - len(bare) + 1) if whole[i : i + len(bare)] == bare]
        if len(places) != 1:
            return None
        found.add((tuple(whole[: places[0]]), tuple(whole[places[0] + len(bare) :])))
    if len(found) != 1:
        return None
    before, after = found.pop()
    return list(before), list(after)


def _whole(tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> EncodedTexts:
    """Every different text as it is, in at most two batched calls."""
    numbers: dict[Text, int] = {}
    of_texts = [[numbers.setdefault((text, _special(tokenizer, text, wanted)), len(numbers))] for text, wanted in texts]
    ids: list[Sequence[int]] = [()] * len(numbers)
    for special in (True, False):
        chosen = [text for text, has in numbers if has is special]
        for text, row in zip(chosen, _tokenised(tokenizer, chosen, special=special), strict=True):
            ids[numbers[text, special]] = row
    return EncodedTexts(ids, of_texts)


def _special(tokenizer: PreTrainedTokenizerBase, text: str, wanted: bool) -> bool:
    bos = tokenizer.bos_token
    return wanted and not (isinstance(bos, str) and bos != "" and text.startswith(bos))


def _tokenised(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, special: bool) -> list[list[int]]:
    texts = list(texts)
    if not texts:
        return []
    batch: Any = tokenizer(
        texts,
        add_special_tokens=special,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [list(row) for row in batch["input_ids"]]
