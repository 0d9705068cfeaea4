"""A tokenizer for `shape:` models: made by rule, encodes any text, and cuts it about as finely as Qwen3's does.

A model with random weights has no tokenizer of its own, and speed depends on how many tokens a text becomes. The
text is cut by Qwen3's own pre-tokenisation pattern; each piece is then covered by the fewest entries of a vocabulary
(a Unigram model in which each entry costs the same) that consists of

- frequent English words and word parts, with and without a leading space and a capital;
- English syllables, composed as onset + vowel + coda, and every string of up to three letters;
- Vietnamese syllables, composed as onset + rime + tone;
- digits one by one, punctuation with following line breaks, runs of spaces, and the 256 bytes for all else.

Ids say nothing about Qwen3's ids; token counts are near but not equal to its own: a real prompt has other counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from string import ascii_lowercase
from typing import Any

END_OF_TEXT = "<|endoftext|>"

PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The pre-tokenisation pattern of Qwen2 and Qwen3."""

_BYTE_COST = 3.0
"""Against 1 for any other entry: bytes are the last resort."""

_WORDS = ["the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "was", "on", "are", "be", "by", "this", "have", "from", "or", "had", "which", "not", "but", "what", "can", "were", "all", "when", "there", "an", "one", "their", "more", "has", "been", "they", "who", "may", "most", "will", "about", "would", "these", "some", "into", "other", "than", "two", "time", "only", "then", "its", "such", "also", "any", "up", "between", "if", "do", "many", "over", "no", "after", "first", "same", "used", "new", "people", "each", "even", "because", "where", "both", "through", "how", "those", "make", "made", "during", "years", "well", "under", "different", "often", "before", "work", "according", "should", "found", "number", "against", "part", "following", "system", "state", "world", "states", "three", "must", "however", "being", "another", "within", "without", "use", "life", "called", "while", "group", "government", "social", "political", "economic", "process", "power", "water", "change", "could", "law", "rights", "example", "order", "cell", "cells", "energy", "body", "between", "result", "results", "form", "increase", "decrease", "rate", "large", "small", "higher", "lower", "level", "high", "low", "point", "total", "value", "function", "information", "theory", "history", "human", "public", "court", "question", "answer", "statement", "statements", "true", "false", "none", "above", "below", "correct", "incorrect", "best", "describes", "likely", "least", "except", "based", "which", "primarily", "considered", "known", "associated", "cause", "caused", "causes", "effect", "effects", "disease", "treatment", "patient", "patients", "blood", "children", "child", "women", "woman", "men", "man", "year", "old", "day", "war", "country", "countries", "company", "business", "market", "price", "product", "cost", "income", "policy", "international", "national", "local", "general", "person", "population", "study", "research", "data", "test", "model", "method", "analysis", "type", "types", "case", "cases", "problem", "right", "left", "force", "mass", "temperature", "pressure", "volume", "field", "electric", "current", "light", "speed", "time", "distance", "equation", "solution", "given", "let", "find", "set", "element", "elements", "group", "ring", "real", "number", "numbers", "positive", "negative", "equal", "average", "probability", "sample", "mean", "standard", "choose", "choice", "choices", "multiple", "about", "does", "did", "not", "we", "you", "your", "he", "she", "his", "her", "him", "them", "our", "my", "me", "us", "very", "much", "way", "just", "like", "know", "see", "think", "say", "said", "take", "get", "come", "go", "back", "good", "great", "long", "little", "own", "off", "down", "out", "here", "now", "still", "through", "think", "development", "theory", "natural", "moral", "argument", "principle", "action", "act", "evidence", "property", "contract", "party", "state", "federal", "constitution", "congress", "president", "section", "structure", "language", "learning", "behavior", "memory", "mental", "computer", "program", "network", "security", "memory", "software", "algorithm", "code", "file", "user", "access", "air", "earth", "sun", "star", "stars", "gas", "oil", "food", "plant", "plants", "animal", "animals", "species", "gene", "genes", "protein", "acid", "reaction", "molecule", "atom", "atoms", "electron", "electrons", "bond", "compound", "nuclear", "century", "early", "late", "period", "culture", "society", "religion", "religious", "church", "empire", "king", "trade", "production", "labor", "growth", "investment", "tax", "bank", "interest", "rate", "rates", "demand", "supply", "firm", "consumers", "consumer", "management", "organization", "employees"]
_PARTS = ["tion", "tions", "sion", "sions", "ation", "ations", "ition", "ment", "ments", "ness", "less", "able", "ible", "ally", "ical", "ically", "ical", "ology", "ological", "ographic", "ance", "ances", "ence", "ences", "ency", "ancy", "ious", "eous", "ative", "itive", "ively", "ity", "ities", "ivity", "ility", "ified", "ifies", "ized", "izes", "izing", "ising", "ing", "ings", "ering", "ening", "eting", "ting", "ding", "ning", "ling", "ring", "sing", "ters", "ders", "ters", "ered", "ened", "ated", "ates", "ating", "ators", "ator", "ative", "ular", "ular", "ical", "inter", "trans", "under", "over", "super", "anti", "counter", "micro", "macro", "hydro", "photo", "electro", "therm", "graph", "graphy", "phobia", "genesis", "struct", "ported", "ports", "form", "formed", "forms", "ship", "hood", "ward", "wards", "wise", "like", "self", "some", "where", "what", "ever", "body", "times", "teen", "ther", "ight", "ough", "ould", "ound", "ount", "ence", "ense", "able", "ique", "iest", "ster", "ture", "tures", "tural", "cial", "tial", "cious", "tious", "ician", "icians", "istic", "istics"]
_ONSETS = ["b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "l", "m", "n", "p", "ph", "pl", "pr", "qu", "r", "s", "sc", "sch", "sh", "sl", "sm", "sn", "sp", "st", "str", "t", "th", "tr", "tw", "v", "w", "wh", "x", "y", "z"]
_VOWELS = ["a", "e", "i", "o", "u", "y", "ai", "au", "ea", "ee", "ei", "eu", "ia", "ie", "io", "oa", "oi", "oo", "ou"]
_CODAS = ["", *["b", "c", "ch", "ck", "ct", "d", "f", "ft", "g", "ght", "l", "ld", "ll", "lt", "m", "mp", "n", "nd", "ng", "ns", "nt", "p", "pt", "r", "rd", "rk", "rm", "rn", "rs", "rt", "s", "sh", "ss", "st", "t", "th", "ve", "x"]]
_VIETNAMESE_ONSETS = ["", *["b", "c", "ch", "d", "đ", "g", "gh", "gi", "h", "k", "kh", "l", "m", "n", "ng", "ngh", "nh", "p", "ph", "qu", "r", "s", "t", "th", "tr", "v", "x"]]
_RIMES = ["a", "ac", "ach", "ai", "am", "an", "ang", "anh", "ao", "ap", "at", "au", "ay", "ăc", "ăm", "ăn", "ăng", "ăp", "ăt", "âc", "âm", "ân", "âng", "âp", "ât", "âu", "ây", "e", "ec", "em", "en", "eng", "eo", "ep", "et", "ê", "êch", "êm", "ên", "ênh", "êp", "êt", "êu", "i", "ia", "ich", "iêc", "iêm", "iên", "iêng", "iêp", "iêt", "iêu", "im", "in", "inh", "ip", "it", "iu", "o", "oa", "oac", "oach", "oai", "oan", "oang", "oanh", "oat", "oay", "oăn", "oăng", "oc", "oe", "oi", "om", "on", "ong", "op", "ot", "ô", "ôc", "ôi", "ôm", "ôn", "ông", "ôp", "ôt", "ơ", "ơi", "ơm", "ơn", "ơp", "ơt", "u", "ua", "uân", "uât", "uây", "uc", "uê", "ui", "um", "un", "ung", "uôc", "uôi", "uôm", "uôn", "uông", "uôt", "up", "ut", "uy", "uya", "uyên", "uyêt", "uynh", "ư", "ưa", "ưc", "ưi", "ưng", "ươc", "ươi", "ươm", "ươn", "ương", "ươp", "ươt", "ưt", "ưu", "y", "yên", "yêu"]
_TONES = ("", "\u0300", "\u0301", "\u0309", "\u0303", "\u0323")
_PUNCTUATION = ["!", '"', "#", "$", "%", "&", "'", "(", ")", "*", "+", ",", "-", ".", "/", ":", ";", "<", "=", ">", "?", "@", "[", "\\", "]", "^", "_", "`", "{", "|", "}", "~", "–", "—", "‘", "’", "“", "”", "…", "×", "÷", "°", "·"]
_PUNCTUATION_RUNS = ["...", "..", "--", "---", "----", "__", "___", "____", "_____", "______", "________", "()", ").", "),", ".)", '."', ',"', '?"', '".', '",', "://", "**"]


@lru_cache(maxsize=1)
def shape_tokenizer() -> Any:
    """The tokenizer as a `PreTrainedTokenizerFast`; it ends and pads with `<|endoftext|>`, and adds no token itself."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = [(END_OF_TEXT, 0.0), *((f"<0x{byte:02X}>", -_BYTE_COST) for byte in range(256))]
    vocabulary += [(entry, -1.0) for entry in entries()]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=int(1e30),
        clean_up_tokenization_spaces=False,
    )


def entries() -> list[str]:
    """Every entry that is not a byte or special, once, in a fixed order."""
    return list(dict.fromkeys(entry for source in (_marks(), _words(), _letters(), _syllables()) for entry in source))


def _marks() -> Iterator[str]:
    yield from "0123456789"
    for run in (*_PUNCTUATION, *_PUNCTUATION_RUNS):
        yield from (space + run + after for space, after in product(("", " "), ("", "\n", "\n\n")))
    yield from (line * count for line, count in product(("\n", "\r\n", " ", "\t"), range(1, 9)))


def _words() -> Iterator[str]:
    for word in (*_WORDS, *_PARTS):
        yield from (word, " " + word, word.capitalize(), " " + word.capitalize())
    yield from ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def _letters() -> Iterator[str]:
    """Strings of one to three letters, in every place that a word can have them; two capitals for acronyms."""
    for count in (1, 2, 3):
        for letters in map("".join, product(ascii_lowercase, repeat=count)):
            yield from (letters, " " + letters)
            if count < 3:
                yield from (letters.capitalize(), " " + letters.capitalize(), letters.upper(), " " + letters.upper())


def _syllables() -> Iterator[str]:
    for syllable in map("".join, product(_ONSETS, _VOWELS, _CODAS)):
        yield from (syllable, " " + syllable)
    for onset, rime, tone in product(_VIETNAMESE_ONSETS, _RIMES, _TONES):
        syllable = onset + _toned(rime, tone)
        yield from (" " + syllable, syllable.capitalize())


def _toned(rime: str, tone: str) -> str:
    """The tone mark on its vowel: the one that carries a diacritic, else the last before a coda, else the first of two."""
    marked = [index for index, letter in enumerate(rime) if letter in "ăâêôơư"]
    vowels = [index for index, letter in enumerate(rime) if letter in "aăâeêioôơuưy"]
    closed = vowels[-1] < len(rime) - 1
    index = marked[-1] if marked else vowels[-1] if closed or len(vowels) == 1 else vowels[-2]
    return unicodedata.normalize("NFC", rime[: index + 1] + tone + rime[index + 1 :])
