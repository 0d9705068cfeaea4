"""Folding: what becomes equal, and what must not."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.metrics.vietnamese import fold


@given(st.text())
def test_folding_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet="oòaàảạeuyỳúừđăê\u0300\u0301\u0323H ", max_size=10))
def test_folding_is_idempotent_on_stacked_marks_and_blind_to_unicode_form(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(("new", "old"), [("hoà", "hòa"), ("khoẻ", "khỏe"), ("thuý", "thúy"), ("HOẠ", "họa")])
def test_both_places_of_the_tone_mark_are_one_syllable(new: str, old: str) -> None:
    assert fold(new) == fold(old)


@pytest.mark.parametrize(("one", "other"), [("hoá", "hoà"), ("hoà", "hoa"), ("quý", "quy"), ("toán", "toàn")])
def test_tones_are_kept_apart(one: str, other: str) -> None:
    assert fold(one) != fold(other)
