"""Nothing that is no markup becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from evalsuite.report.html import Html, element, escape, join


class Reader(HTMLParser):
    """What an HTML parser makes of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


shown = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]))


@given(shown, shown)
def test_text_and_attributes_come_back_as_they_were(text, attribute):
    reader = read(element("p", text, data_find=attribute))
    assert (reader.tags, reader.text) == ([("p", [("data-find", attribute)])], text)


@given(st.text())
def test_any_text_is_one_element_that_can_be_written_as_utf_8(text):
    markup = element("p", text, title=text)
    assert [tag for tag, _ in read(markup).tags] == ["p"]
    assert not set(markup.encode().decode()) & {"\x00", "\x1b", "\ufffe"}


def test_markup_is_kept_and_what_is_beside_it_escaped():
    assert element("p", Html("<b>a</b>"), "<", ["&", None, 3]) == "<p><b>a</b>&lt;&amp;3</p>"
    assert join(["a", Html("<br>")]) == "a<br>"


def test_attributes_that_are_off_are_left_out():
    assert element("input", open_=True, id=None, hidden=False, aria_label="x") == '<input open aria-label="x">'


def test_what_html_may_not_hold_is_replaced():
    assert escape("a\x00b\ud800c\x1bd\n") == "a\ufffdb\ufffdc\ufffdd\n"
