"""SQuAD 2.0's exact match and F1, with an answer normalisation that suits Vietnamese.

The rules are those of the official evaluate-v2.0 script but for normalisation: Vietnamese has no articles
to drop, its letters come in two Unicode forms and its tone marks in two places (`fold`), quotation marks
and dashes are not all ASCII, and `_` may join segmented syllables. F1 is over syllables, which white space
separates in Vietnamese.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

from evalsuite.metrics.vietnamese import fold

REFUSALS = (
    "không có câu trả lời",
    "không có câu trả lời trong đoạn văn",
    "không có câu trả lời trong đoạn văn này",
    "không có câu trả lời cho câu hỏi này",
    "không có câu trả lời cho câu hỏi này trong đoạn văn",
    "không tìm thấy câu trả lời",
    "không tìm thấy câu trả lời trong đoạn văn",
    "không có đáp án",
    "không có thông tin",
    "không có thông tin trong đoạn văn",
    "không thể trả lời",
    "không thể trả lời câu hỏi này",
    "không trả lời được",
    "không được đề cập",
    "không được đề cập trong đoạn văn",
    "không được nhắc đến",
    "không được nhắc đến trong đoạn văn",
    "không đề cập",
    "đoạn văn không có câu trả lời",
    "đoạn văn không đề cập",
    "đoạn văn không đề cập đến",
    "đoạn văn không có thông tin",
    "đoạn văn không cung cấp thông tin",
    "trong đoạn văn không có câu trả lời",
    "câu hỏi không có câu trả lời",
    "no answer",
    "unanswerable",
)
"""What counts as declining to answer, when it is the whole answer. The first is the phrase the prompt asks for."""


def normalise_answer(text: str) -> str:
    """Folded, `_` to a space, punctuation deleted (ASCII's and every Unicode P category), blanks squeezed."""
    text = unicodedata.normalize("NFC", text).replace("_", " ")
    text = "".join(c for c in text if c not in string.punctuation and unicodedata.category(c)[0] != "P")
    return " ".join(fold(text).split())


_REFUSALS = frozenset(map(normalise_answer, REFUSALS))


def is_refusal(text: str) -> bool:
    """Whether the whole answer is empty or one of `REFUSALS`, case and punctuation aside."""
    answer = normalise_answer(text)
    return not answer or answer in _REFUSALS


def squad_scores(prediction: str, golds: Sequence[str]) -> dict[str, float]:
    """`exact_match` and `f1`, each the best over the golds; `("",)` asks for an empty answer.

    As in the official script, golds that normalise to nothing are dropped while another is left.
    """
    answers = [gold for gold in golds if normalise_answer(gold)] or [""]
    return {
        "exact_match": max(exact_match(prediction, gold) for gold in answers),
        "f1": max(f1(prediction, gold) for gold in answers),
    }


def exact_match(prediction: str, gold: str) -> float:
    """1 where both normalise to the same text."""
    return float(normalise_answer(prediction) == normalise_answer(gold))


def f1(prediction: str, gold: str) -> float:
    """Harmonic mean of syllable precision and recall; where either side is empty, 1 if both are."""
    predicted, wanted = normalise_answer(prediction).split(), normalise_answer(gold).split()
    if not predicted or not wanted:
        return float(predicted == wanted)
    shared = (Counter(predicted) & Counter(wanted)).total()
    return 2 * shared / (len(predicted) + len(wanted))
