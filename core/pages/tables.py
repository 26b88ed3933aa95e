"""Tables, texts and times of pages, as HTML in which nothing but our own tags is a tag."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

LONGEST_TEXT = 300
"""Characters of a text that are shown unfolded, so that one error does not fill the screen."""

WIDE = 6
"""Columns from which on a table needs a wide window; in others its rows become cards."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: the key of its subject, and its cells in HTML."""

    key: str
    cells: Sequence[str]


def row_of(key: str, *cells: object) -> Row:
    """Return a row of plain texts."""
    return Row(key, [long_text(str(one)) for one in cells])


def table_section(title: str, columns: Sequence[str], rows: Iterable[Row], level: int = 2) -> str:
    """Return a table, empty without rows. Roles are explicit, because a style may remove those that tables have.

    `level` is that of the heading.
    """
    body = "".join(_table_row(columns, one) for one in rows)
    if not body:
        return ""
    head = "".join(f'<th scope="col" role="columnheader">{one}</th>' for one in columns)
    wide = ' class="wide"' if len(columns) >= WIDE else ""
    return (
        f'<section data-key="{title}"><table role="table" aria-label="{title}"{wide}>'
        f"<caption><h{level}>{title}</h{level}></caption>"
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
        "</section>"
    )


def _table_row(columns: Sequence[str], row: Row) -> str:
    first, *others = row.cells
    cells = "".join(
        f'<td role="cell" data-column="{column}">{cell}</td>' for column, cell in zip(columns[1:], others, strict=True)
    )
    return f'<tr role="row" data-key="{escaped(row.key)}"><th scope="row" role="rowheader">{first}</th>{cells}</tr>'


def empty_section(title: str, text: str) -> str:
    """Return a section that says why it has no table."""
    return f'<section data-key="{title}"><h2>{title}</h2><p>{text}</p></section>'


def long_text(text: str) -> str:
    """Return a text, with its rest folded when it is long."""
    if len(text) <= LONGEST_TEXT:
        return escaped(text)
    return f"<details><summary>{escaped(text[:LONGEST_TEXT])} …</summary>{escaped(text[LONGEST_TEXT:])}</details>"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_tag(text: str) -> str:
    """Return a moment of the document, for people and for programs."""
    shown = moment(text).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f'<time datetime="{escaped(text)}">{shown}</time>'


def escaped(value: object) -> str:
    """Return a value as text in HTML."""
    return html.escape(str(value))


def moment(text: str) -> datetime:
    """Read a moment of the document."""
    return datetime.fromisoformat(text)
