"""Tables and the other blocks that sections are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalsuite.report.html import Child, Html, element


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a table. `head` may be a plot's axis, and then `name` says what it is."""

    name: str
    kind: str = "number"
    """`number`, `text` or `plot`."""
    axis: Html | None = None


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Child]]) -> Html:
    """A row's first cell is its header. A table with a plot stacks its cells on a narrow screen; others scroll."""
    plotted = any(column.kind == "plot" for column in columns)
    head = element("tr", *(_head(column) for column in columns))
    body = [_row(columns, row) for row in rows]
    made = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        class_="plots" if plotted else "plain",
    )
    return made if plotted else element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption)


def section(identifier: str, title: str, *children: Child) -> Html:
    return element(
        "section",
        element("h2", title, id=f"{identifier}-title"),
        *children,
        id=identifier,
        aria_labelledby=f"{identifier}-title",
    )


def note(*children: Child) -> Html:
    return element("p", *children, class_="note")


def folded(summary: Child, *children: Child, open_: bool = False) -> Html:
    return element("details", element("summary", summary), *children, open=open_)


def badge(kind: str, words: str) -> Html:
    """A word with a sign beside it: see the classes `badge-*` of `page.css`."""
    return element("span", words, class_=f"badge badge-{kind}")


def facts(pairs: Iterable[tuple[str, Child]]) -> Html:
    """Names and values."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs), class_="facts"
    )


def _head(column: Column) -> Html:
    words: Child = column.name
    if column.axis is not None:
        words = [element("span", column.name, class_="axis-name"), column.axis]
    return element("th", words, scope="col", class_=column.kind)


def _row(columns: Sequence[Column], cells: Sequence[Child]) -> Html:
    first, *rest = cells
    named = zip(columns[1:], rest, strict=True)
    return element(
        "tr",
        element("th", first, scope="row"),
        *(element("td", cell, class_=column.kind, data_label=column.name) for column, cell in named),
    )
