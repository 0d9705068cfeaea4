"""Texts in parts have the ids of whole texts, for tokenizers of the kinds in use; others are tokenised whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from benchmarks import tokenising
from evalsuite import text_parts
from evalsuite.nano import DATA_DIR, MODEL_DIR
from evalsuite.shape_tokenizer import PIECES, shape_tokenizer
from evalsuite.text_parts import EncodedTexts, Text, encode_texts, why_not_in_parts

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SAMPLE = [
    "Question: 12 is\n\nA. what?\nAnswer: A\n\nQuestion:  it's  34\n\n\nB.\n",
    "Câu hỏi: Đáp án nào?\n\nĐáp án: A\n\n",
]


def fast(pre_tokenizer: Any, *, normalizer: Any = None, model: Any = None, **settings: Any) -> Any:
    tokenizer = Tokenizer(model or models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    kind = {"WordPiece": trainers.WordPieceTrainer}.get(type(model).__name__, trainers.BpeTrainer)
    special = ["<s>", "</s>", "[UNK]"]
    trainer = kind(vocab_size=420, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SAMPLE * 3, trainer)
    made: Any = PreTrainedTokenizerFast
    return made(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="[UNK]", **settings)


def split(pattern: str, behavior: str = "isolated") -> Any:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior), byte_level])


def with_bos() -> Any:
    tokenizer = fast(split(GPT4))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


def in_words() -> Any:
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    lower = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    return fast(words, normalizer=lower, model=models.WordPiece(unk_token="[UNK]"))


def by_digits() -> Any:
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return fast(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]))


IN_PARTS = {
    "Qwen": fast(split(PIECES), normalizer=normalizers.NFC()),
    "Llama 3": with_bos(),
    "GPT-2": fast(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "SmolLM": by_digits(),
    "words": in_words(),
    "shape": shape_tokenizer(),
}

characters = st.sampled_from(
    [*"aZ1 .'\n\n\n\t\r-", "é", "e\u0301", "\u0301", "Đ", "字", "😀", "'s", "<s>", "\n\n", "\nA"]
)
texts_ = st.lists(st.lists(characters, max_size=12).map("".join), min_size=1, max_size=4).flatmap(
    lambda pieces: st.lists(
        st.tuples(st.lists(st.sampled_from(pieces), max_size=6).map("\n\n".join), st.booleans()), min_size=1, max_size=8
    )
)


def failing(reason: str) -> None:
    raise AssertionError(reason)


def whole(tokenizer: Any, text: Text) -> list[int]:
    bos = tokenizer.bos_token
    special = text[1] and not (bos and text[0].startswith(bos))
    ids: list[int] = tokenizer(text[0], add_special_tokens=special, verbose=False)["input_ids"]
    return ids


@pytest.mark.parametrize("name", IN_PARTS)
@given(texts=texts_)
def test_parts_give_the_ids_of_the_whole(name: str, texts: list[Text]) -> None:
    tokenizer = IN_PARTS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_parts, "FEW", 0)
        patch.setattr(text_parts, "WORTH_IT", 9)
        patch.setattr(text_parts, "why_not_in_parts", lambda _: None)  # asked once, below
        encoded = encode_texts(tokenizer, texts, on_mismatch=failing)
    for index, text in enumerate(texts):
        expected = whole(tokenizer, text)
        assert encoded[index] == expected
        assert all(encoded.after(index, n) == expected[n:] for n in (1, 3, len(expected)))


def test_tokenizers_of_these_kinds_take_texts_in_parts() -> None:
    nano = PreTrainedTokenizerFast.from_pretrained(MODEL_DIR)  # type: ignore[no-untyped-call]
    assert {name: why_not_in_parts(tokenizer) for name, tokenizer in {**IN_PARTS, "nano": nano}.items()} == {
        name: None for name in (*IN_PARTS, "nano")
    }


class Counting:
    """A tokenizer that counts the characters which it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.characters = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, texts: list[str], **settings: Any) -> Any:
        self.characters += sum(map(len, texts))
        return self.tokenizer(texts, **settings)


def test_what_texts_share_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_parts, "COMPARED", 1)
    shots = "".join(f"Question {n}\nA. one\nAnswer: A\n\n" for n in range(50))
    bodies = [f"Question about {n}\nA. one\nB. two\n" for n in range(100)]
    texts = [(f"{shots}{body}Answer:{choice}", True) for body in bodies for choice in ("", " A", " B")]
    tokenizer = Counting(IN_PARTS["Qwen"])
    encode_texts(tokenizer, texts, on_mismatch=failing)  # type: ignore[arg-type]
    distinct = len(shots) + sum(map(len, bodies))
    compared = 2 * max(len(text) for text, _ in texts)
    assert tokenizer.characters < 1.2 * distinct + compared


class InPython:
    """A step that tokenizers cannot describe."""

    def pre_tokenize(self, pieces: Any) -> None:
        pieces.split(lambda _, piece: [piece])


def with_a_step_in_python() -> Any:
    tokenizer = fast(split(PIECES))
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(InPython())
    return tokenizer


OTHERS = {
    "a step in Python": (with_a_step_in_python, "does not say what it is made of"),
    "Metaspace": (lambda: fast(pre_tokenizers.Metaspace()), "pre-tokenizer Metaspace"),
    "prefix space": (lambda: fast(pre_tokenizers.ByteLevel(add_prefix_space=True)), "pre-tokenizer ByteLevel"),
    "Prepend": (lambda: fast(split(PIECES), normalizer=normalizers.Prepend("▁")), "normalizer Prepend"),
    "lookbehind": (lambda: fast(split(r"(?<=\s)\p{L}+|\s+")), "depends on what comes before"),
    "lookahead": (lambda: fast(split(r"\s+(?=\p{Lu}\p{Ll})|\s|\S")), "more than the next character"),
    "anchor": (lambda: fast(split(r"^a|\p{L}+|\s+")), "depends on what comes before"),
    "merged": (lambda: fast(split(PIECES, "merged_with_previous")), "depends on what comes before"),
    "break and word": (lambda: fast(split(r"\s?\p{L}+|\s")), "does not cut at the line break"),
    "so many": (lambda: fast(split(r"(?m:.{1,4})|\s")), "depends on what comes before"),
    "quoted": (lambda: fast(split(r'"[^"]*"|\p{L}+|\s|[^\s\p{L}]')), "does not cut at the line break"),
    "dropout": (lambda: fast(split(r"[^\s]+|\s"), model=models.BPE(dropout=0.1)), "may answer otherwise"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others_are_tokenised_whole(name: str) -> None:
    made, reason = OTHERS[name]
    tokenizer = made()
    assert reason in (why_not_in_parts(tokenizer) or "")


def test_texts_that_share_little_are_left_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_parts, "_in_parts", lambda *_: failing("in parts"))
    texts = [(f"{f'Text {n} of its own. ' * 9}\n\nAnswer:", True) for n in range(100)]
    encoded = encode_texts(IN_PARTS["Qwen"], texts, on_mismatch=failing)
    assert encoded[7] == whole(IN_PARTS["Qwen"], texts[7])


def test_a_token_over_a_line_break_forbids_parts() -> None:
    tokenizer = fast(split(PIECES))
    tokenizer.add_tokens([AddedToken("\n\nAnswer")])
    assert "reach over a line break" in (why_not_in_parts(tokenizer) or "")
    texts = [("one\n\nAnswer: A", False)] * 100
    assert list(encode_texts(tokenizer, texts, on_mismatch=failing)[0]) == whole(tokenizer, texts[0])


@pytest.mark.parametrize(("content", "settings"), [("Answer", {}), ("B", {"single_word": True}), ("7", {})])
def test_a_token_that_may_begin_behind_a_line_break_forbids_parts(content: str, settings: dict[str, bool]) -> None:
    tokenizer = fast(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.add_tokens([AddedToken(content, **settings)])
    assert "begin behind it" in (why_not_in_parts(tokenizer) or "")
    # Among so many that none of those which are compared holds the token.
    texts = [(f"one {'a' * n}\n\nC", False) for n in range(300)]
    texts[1:4] = [(f"one\n\n{begin}", False) for begin in ("Answer: A", "But", "7 B")]
    encoded = encode_texts(tokenizer, texts, on_mismatch=failing)
    assert all(encoded[index] == whole(tokenizer, text) for index, text in enumerate(texts))


def test_parts_that_are_wrong_are_noticed_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = fast(split(r"\s?\p{L}+|\s"))
    tokenizer.add_tokens([AddedToken("\nAnswer")])
    monkeypatch.setattr(text_parts, "why_not_in_parts", lambda _: None)
    monkeypatch.setattr(text_parts, "WORTH_IT", 9)
    texts = [(f"one {'a' * n}\n\nAnswer: A", False) for n in range(100)]
    reasons: list[str] = []
    encoded: EncodedTexts = encode_texts(tokenizer, texts, on_mismatch=reasons.append)
    assert len(reasons) == 1
    assert all(encoded[index] == whole(tokenizer, text) for index, text in enumerate(texts))


def test_the_command_that_times_it_finds_the_same_ids(capsys: pytest.CaptureFixture[str]) -> None:
    tokenising.main(["--data", str(DATA_DIR), "--shots", "5", "--tokenizer", str(MODEL_DIR)])
    assert capsys.readouterr().out.endswith("\n0 of them have other ids\n")
