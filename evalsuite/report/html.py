"""HTML elements from Python. What is not markup already is escaped, so that nobody has to remember to."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable


class Html(str):
    """Text that is markup."""

    __slots__ = ()


Child = Html | str | int | None | Iterable["Child"]

_VOID = frozenset({"meta", "link", "input", "br"})
_NOT_IN_HTML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """`element("a", text, href="#x")`. Names of attributes: `class_` is `class`, `data_find` is `data-find`.

    An attribute that is None or False is left out, one that is True has no value. Children that are no `Html` are
    escaped, iterables are flattened, None is nothing.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        parts.append(name if value is True else f'{name}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening) if tag in _VOID else Html(f"{opening}{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(map(_markup, children)))


def escape(text: str) -> Html:
    """Text as markup that shows it. Characters that HTML may not hold become U+FFFD."""
    return Html(html.escape(_NOT_IN_HTML.sub("\ufffd", text), quote=True))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int)):
        return escape(str(child))
    return join(child)
