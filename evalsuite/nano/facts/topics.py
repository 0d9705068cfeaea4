"""Topics: a table of facts and the ways of asking for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evalsuite.nano.facts import tables_en as en
from evalsuite.nano.facts import tables_vi as vi


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """Facts of one kind. Any answer of the table can stand as a wrong choice for another."""

    name: str
    wordings: tuple[str, ...]
    """With `{x}` where the subject goes."""
    facts: tuple[tuple[str, str], ...]
    """(subject, answer) pairs."""
    answers: tuple[str, ...]
    """The distinct answers, in order of first appearance."""


def _parse(table: str) -> tuple[tuple[str, str], ...]:
    pairs = [entry.rsplit(":", 1) for entry in table.split("|")]
    return tuple((subject, answer) for subject, answer in pairs)


def _topic(name: str, table: str, *wordings: str) -> Topic:
    facts = _parse(table)
    return Topic(name=name, wordings=wordings, facts=facts, answers=tuple(dict.fromkeys(a for _, a in facts)))


def _sums() -> str:
    return "|".join(f"{a} + {b}:{a + b}" for a in range(2, 11) for b in range(a, 11))


def _products() -> str:
    return "|".join(f"{a} \\times {b}:{a * b}" for a in range(2, 10) for b in range(a, 10))


def _differences() -> str:
    return "|".join(f"{a} - {b}:{a - b}" for a in range(8, 17) for b in range(2, 7))


_ALL = (
    _topic("en.capitals", en.CAPITALS, "What is the capital of {x}?", "The capital of {x} is",
           "Which city is the capital of {x}?", "Complete the sentence.\nThe capital city of {x} is called"),
    _topic("en.continents", en.CONTINENTS, "On which continent is {x}?", "{x} is a country in",
           "Which continent does {x} belong to?"),
    _topic("en.currencies", en.CURRENCIES, "What is the currency of {x}?", "People in {x} pay with the",
           "Which currency is used in {x}?"),
    _topic("en.symbols", en.ELEMENT_SYMBOLS, "What is the chemical symbol of {x}?", "The chemical symbol for {x} is",
           "Which symbol stands for the element {x}?"),
    _topic("en.atomic_numbers", en.ATOMIC_NUMBERS, "What is the atomic number of {x}?", "The atomic number of {x} is",
           "How many protons does an atom of {x} have?"),
    _topic("en.sums", _sums(), "What is {x}?", "Compute {x}.", "The value of {x} is"),
    _topic("en.products", _products().replace("\\times", "x"), "What is {x}?", "Compute {x}.", "The value of {x} is"),
    _topic("en.differences", _differences(), "What is {x}?", "Compute {x}.", "The value of {x} is"),
    _topic("en.opposites", en.OPPOSITES, "What is the opposite of \"{x}\"?", "The opposite of \"{x}\" is",
           "Which word is opposite in meaning to \"{x}\"?"),
    _topic("en.young", en.YOUNG_ANIMALS, "What is a young {x} called?", "A young {x} is called a",
           "Which word names the young of a {x}?"),
    _topic("en.animals", en.ANIMAL_CLASSES, "What kind of animal is a {x}?", "A {x} is a kind of",
           "To which group of animals does the {x} belong?"),
    _topic("en.legs", en.LEGS, "How many legs does a {x} have?", "The number of legs of a {x} is",
           "Count the legs of a {x}. How many are there?"),
    _topic("en.authors", en.AUTHORS, "Who wrote \"{x}\"?", "The author of \"{x}\" is", "\"{x}\" was written by"),
    _topic("en.next", en.DAYS_AND_MONTHS, "What comes right after {x}?", "{x} is followed by",
           "Which one comes next after {x}?"),
    _topic("en.past", en.PAST_TENSES, "The past form of \"{x}\" is", "Yesterday she _______ (to {x}).",
           "Choose the past tense of the verb \"{x}\"."),
    _topic("en.plurals", en.PLURALS, "The plural of \"{x}\" is", "Choose the plural form of \"{x}\".",
           "One {x}, two _______."),
    _topic("en.synonyms", en.SYNONYMS, "Choose the word CLOSEST in meaning to \"{x}\".",
           "Which word has nearly the same meaning as \"{x}\"?", "A synonym of \"{x}\" is"),
    _topic("en.prepositions", en.PREPOSITIONS, "Fill in the blank: {x} _______ something.",
           "Which preposition follows \"{x}\"?", "\"{x}\" is followed by the preposition"),
    _topic("vi.capitals", vi.CAPITALS, "Thủ đô của {x} là gì?", "Thủ đô của {x} là",
           "Thành phố nào là thủ đô của {x}?"),
    _topic("vi.continents", vi.CONTINENTS, "{x} thuộc châu lục nào?", "Nước {x} nằm ở", "{x} là một nước ở"),
    _topic("vi.symbols", vi.ELEMENT_SYMBOLS, "Kí hiệu hóa học của {x} là gì?", "Nguyên tố {x} có kí hiệu hóa học là",
           "Kí hiệu nào là của nguyên tố {x}?"),
    _topic("vi.atomic_numbers", vi.ATOMIC_NUMBERS, "Số hiệu nguyên tử của {x} là bao nhiêu?",
           "Nguyên tử {x} có số proton là", "Nguyên tố {x} đứng ở ô số mấy trong bảng tuần hoàn?"),
    _topic("vi.sums", _sums(), "Tính ${x}$.", "Kết quả của phép tính ${x}$ là", "Giá trị của ${x}$ bằng bao nhiêu?"),
    _topic("vi.products", _products(), "Tính ${x}$.", "Kết quả của phép tính ${x}$ là",
           "Giá trị của ${x}$ bằng bao nhiêu?"),
    _topic("vi.opposites", vi.OPPOSITES, "Từ trái nghĩa với \"{x}\" là từ nào?", "Trái nghĩa với \"{x}\" là",
           "Tìm từ trái nghĩa với từ \"{x}\"."),
    _topic("vi.translations", vi.TRANSLATIONS, "Từ \"{x}\" trong tiếng Anh nghĩa là gì?", "\"{x}\" có nghĩa là",
           "Chọn nghĩa tiếng Việt của từ \"{x}\"."),
    _topic("vi.animals", vi.ANIMAL_CLASSES, "Loài {x} thuộc nhóm động vật nào?", "Về phân loại, {x} thuộc",
           "Nhóm động vật nào có loài {x}?"),
    _topic("vi.events", vi.EVENT_YEARS, "Sự kiện \"{x}\" diễn ra vào năm nào?", "Năm diễn ra sự kiện \"{x}\" là",
           "Mốc thời gian của sự kiện \"{x}\" là năm nào?"),
    _topic("vi.people", vi.PEOPLE, "Ai là người {x}?", "Nhân vật {x} là", "Người {x} là ai?"),
    _topic("vi.places", vi.PLACES, "Địa danh {x} thuộc tỉnh, thành nào?", "Nơi có {x} là",
           "Muốn đến {x} thì phải đến tỉnh, thành nào?"),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = MappingProxyType({topic.name: topic for topic in _ALL})
"""By name, `language.topic`."""
