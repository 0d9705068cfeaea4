"""Exact match and F1 against the rules of the official evaluate-v2.0 script, and where Vietnamese departs from it."""

from __future__ import annotations

import collections
import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.metrics.squad import REFUSALS, is_refusal, normalise_answer, squad_scores

# English without articles, underscores and letters that tone marks could move: here the two normalisations coincide.
WORDS = st.sampled_from(["Red", "fox", "U.S.", "1,934", "well-known", "river's", "$5", "NIGHT", "river", "fox."])
PHRASES = st.lists(WORDS, max_size=6).map(" ".join)


def official_normalise(text: str) -> str:
    """Lower case, delete ASCII punctuation, delete articles, squeeze white space."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def official_scores(prediction: str, golds: list[str]) -> dict[str, float]:
    """evaluate-v2.0's `get_raw_scores` for one question."""
    golds = [gold for gold in golds if official_normalise(gold)] or [""]
    return {
        "exact_match": max(float(official_normalise(g) == official_normalise(prediction)) for g in golds),
        "f1": max(official_f1(g, prediction) for g in golds),
    }


def official_f1(gold: str, prediction: str) -> float:
    gold_tokens, predicted = official_normalise(gold).split(), official_normalise(prediction).split()
    common = collections.Counter(gold_tokens) & collections.Counter(predicted)
    same = sum(common.values())
    if len(gold_tokens) == 0 or len(predicted) == 0:
        return float(gold_tokens == predicted)
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


@given(PHRASES, st.lists(PHRASES, max_size=3))
def test_scores_equal_the_official_script_on_english(prediction: str, golds: list[str]) -> None:
    assert squad_scores(prediction, golds) == pytest.approx(official_scores(prediction, golds))


@given(st.text())
def test_normalisation_is_idempotent(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once


@given(st.text(alphabet="oòaàảạeuyừđăê\u0300\u0323.,_ -", max_size=12))
def test_normalisation_is_idempotent_where_deleting_punctuation_joins_letters(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        pytest.param(unicodedata.normalize("NFD", "Hồ Chí Minh"), "Hồ Chí Minh", id="decomposed"),
        pytest.param("Hoà Bình", "Hòa Bình", id="tone-mark-place"),
        pytest.param("“Truyện Kiều”", '"Truyện Kiều"', id="typographic-quotes"),
        pytest.param("1802 – 1945", "1802 - 1945", id="dash"),
        pytest.param("thành_phố Huế", "thành phố Huế", id="segmented"),
        pytest.param("  Nguyễn\u00a0Du.", "nguyễn du", id="case-blank-period"),
    ],
)
def test_spellings_of_one_answer_match(prediction: str, gold: str) -> None:
    assert squad_scores(prediction, [gold])["exact_match"] == 1.0


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        pytest.param("ma", "má", id="tone"),
        pytest.param("dân", "đân", id="d-bar"),
        pytest.param("cô", "co", id="circumflex"),
        pytest.param("con voi", "voi", id="no-article-is-dropped"),
        pytest.param("an", "", id="an-is-a-syllable-not-an-article"),
    ],
)
def test_different_answers_stay_different(prediction: str, gold: str) -> None:
    assert squad_scores(prediction, [gold])["exact_match"] == 0.0


def test_f1_counts_shared_syllables_with_multiplicity_and_takes_the_best_gold() -> None:
    scores = squad_scores("sông sông Hương", ["núi Ngự", "sông Hương"])
    assert scores == {"exact_match": 0.0, "f1": pytest.approx(2 * 2 / (3 + 2))}


def test_no_answer_scores_only_for_no_answer() -> None:
    assert squad_scores("", [""]) == {"exact_match": 1.0, "f1": 1.0}
    assert squad_scores("Huế", [""]) == {"exact_match": 0.0, "f1": 0.0}
    assert squad_scores("", ["Huế"]) == {"exact_match": 0.0, "f1": 0.0}


@pytest.mark.parametrize("phrase", REFUSALS)
def test_every_listed_phrase_is_a_refusal_in_any_case_and_with_a_period(phrase: str) -> None:
    assert is_refusal(f" {phrase.upper()}. ")


@pytest.mark.parametrize("text", ["không", "không có câu trả lời nào đúng hơn Huế", "Huế"])
def test_an_answer_that_only_resembles_a_refusal_is_none(text: str) -> None:
    assert not is_refusal(text)
