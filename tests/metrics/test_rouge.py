"""ROUGE on Vietnamese syllables: against an independent count, and against rouge_score on ASCII text."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize as stock_tokenize

from evalsuite.metrics.rouge import ROUGE_TYPES, SyllableTokenizer, rouge_scores
from evalsuite.metrics.vietnamese import syllables

SYLLABLES = st.sampled_from(["hoà", "bình", "Huế", "đường", "sông", "3", "nước", "ở", "là"])
TEXTS = st.lists(SYLLABLES, max_size=9).map(" ".join)


def f_measure(shared: int, predicted: int, wanted: int) -> float:
    return 2 * shared / (predicted + wanted) if shared else 0.0


def reference_rouge_n(target: str, prediction: str, n: int) -> float:
    def grams(text: str) -> Counter[tuple[str, ...]]:
        tokens = text.lower().split()
        return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))

    wanted, predicted = grams(target), grams(prediction)
    return f_measure((wanted & predicted).total(), predicted.total(), wanted.total())


def reference_rouge_l(target: str, prediction: str) -> float:
    a, b = target.lower().split(), prediction.lower().split()

    def longest(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return f_measure(longest(0, 0), len(b), len(a))


@given(TEXTS, TEXTS)
def test_scores_equal_an_independent_count(target: str, prediction: str) -> None:
    assert rouge_scores(target, prediction) == pytest.approx(
        {
            "rouge1": reference_rouge_n(target, prediction, 1),
            "rouge2": reference_rouge_n(target, prediction, 2),
            "rougeL": reference_rouge_l(target, prediction),
        }
    )


@given(st.text(alphabet="abcXYZ 019.,-_'", max_size=40), st.text(alphabet="abcXYZ 019.,-_'", max_size=40))
def test_ascii_text_scores_as_with_the_stock_tokenizer(target: str, prediction: str) -> None:
    stock = RougeScorer(list(ROUGE_TYPES)).score(target, prediction)
    assert rouge_scores(target, prediction) == pytest.approx({name: stock[name].fmeasure for name in ROUGE_TYPES})


def test_the_stock_tokenizer_drops_diacritics_and_ours_keeps_them() -> None:
    assert stock_tokenize("Nước Việt", None) == ["n", "c", "vi", "t"]
    assert SyllableTokenizer().tokenize("Nước Việt") == ["nước", "việt"]


def test_syllables_that_differ_in_diacritics_alone_do_not_match() -> None:
    assert RougeScorer(["rouge1"]).score("mà", "mạ")["rouge1"].fmeasure == 1.0
    assert rouge_scores("mà", "mạ")["rouge1"] == 0.0


def test_segmentation_case_and_punctuation_do_not_matter() -> None:
    assert syllables("Công_an, TP. Huế") == ["công", "an", "tp", "huế"]
    assert rouge_scores("công an TP Huế", "Công_an TP. Huế")["rougeL"] == 1.0


def test_an_empty_summary_scores_zero() -> None:
    assert rouge_scores("tin vui", "") == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
