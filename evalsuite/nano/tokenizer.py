"""The tokenizer: byte-level BPE trained on the base's stream, and a quick encoder for documents."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalsuite.nano.documents import Document
from evalsuite.nano.stream import draw_document

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
VOCABULARY = 3072
MODEL_MAX_LENGTH = 4096
_PIECES = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenisation, as the tokenizers library's ByteLevel does it."""


def train_tokenizer(folder: Path, *, documents: int = 40_000, seed: int = 0, vocabulary: int = VOCABULARY) -> None:
    """Write tokenizer.json and tokenizer_config.json to `folder`; deterministic in its arguments."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(documents, seed), trainer=trainer)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        model_max_length=MODEL_MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)


def _texts(documents: int, seed: int) -> Iterator[str]:
    rng = random.Random(f"tokenizer/{seed}")
    for index in range(documents):
        yield "".join(draw_document(rng, "late" if index % 4 else "early").parts)


class Encoder:
    """Encodes documents with a cache of pre-tokenised pieces; equal to the tokenizer's own encoding."""

    def __init__(self, folder: Path) -> None:
        import regex  # type: ignore[import-untyped]
        from tokenizers import Tokenizer

        self._bpe: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._pieces: Any = regex.compile(_PIECES)
        self._cache: dict[str, list[int]] = {}
        self.end_of_text = self._special(END_OF_TEXT)
        self.pad = self._special(PAD)
        self.vocabulary: int = self._bpe.get_vocab_size()

    def _special(self, token: str) -> int:
        return int(self._bpe.token_to_id(token))

    def text(self, text: str) -> list[int]:
        """Token ids, no special ones added."""
        ids: list[int] = []
        for piece in self._pieces.findall(text):
            found = self._cache.get(piece)
            if found is None:
                found = self._cache[piece] = self._bpe.encode(piece, add_special_tokens=False).ids
            ids += found
        return ids

    def parts(self, document: Document) -> list[list[int]]:
        """Token ids of each part, the end-of-text token last of all.

        Parts begin where the pre-tokeniser cuts anyway (a blank and a word, or a line break), so encoding them
        apart equals encoding the whole.
        """
        encoded = [self.text(part) for part in document.parts]
        if len(encoded) % 2:
            encoded[-1].append(self.end_of_text)
        else:
            encoded.append([self.end_of_text])
        return encoded
