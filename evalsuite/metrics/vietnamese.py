"""Vietnamese text made comparable: Unicode form, case, the two ways to place a tone mark, syllables."""

from __future__ import annotations

import re
import unicodedata

_SYLLABLE = re.compile(r"[^\W_]+")

_TONED = {
    f"{first}{toned}": f"{accented}{second}"
    for first, second, accents, tones in (
        ("o", "a", "òóỏõọ", "àáảãạ"),
        ("o", "e", "òóỏõọ", "èéẻẽẹ"),
        ("u", "y", "ùúủũụ", "ỳýỷỹỵ"),
    )
    for accented, toned in zip(accents, tones, strict=True)
}
# Not before a combining mark: it belongs to the vowel that would lose its tone.
_TONE_PLACE = re.compile(f"(?:{'|'.join(_TONED)})(?![\u0300-\u036f])")


def fold(text: str) -> str:
    """Lower case in NFC, with tone marks where the older spelling has them: `hoà` and `hòa` both give `hòa`.

    The rewriting is applied to every occurrence (`hoàn` gives `hòan`), which is no spelling but keeps
    different syllables different; it is for comparing only.
    """
    text = unicodedata.normalize("NFC", text.lower())
    return _TONE_PLACE.sub(lambda match: _TONED[match.group()], text)


def syllables(text: str) -> list[str]:
    """Runs of letters and digits of the folded text, diacritics kept. `_`, which joins segmented words, separates."""
    return _SYLLABLE.findall(fold(text))
